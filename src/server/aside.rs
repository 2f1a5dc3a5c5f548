//! What only some streams have, and none for long.

use bytes::Bytes;

use super::chunk::Unsent;

/// Boxed, because most streams are idle: they have sent everything, and their clients have sent nothing.
pub(super) struct Aside<D>(Option<Box<Parts<D>>>);

struct Parts<D> {
    /// What the socket has not taken.
    unsent: Option<Unsent<D>>,
    /// What the client has sent after its request. It is for hyper, once the stream has ended.
    early: Bytes,
}

impl<D> Aside<D> {
    pub(super) fn new(unsent: Unsent<D>, early: Bytes) -> Self {
        Self(Some(Box::new(Parts { unsent: Some(unsent), early })))
    }

    fn parts(&mut self) -> &mut Parts<D> {
        self.0.get_or_insert_with(|| Box::new(Parts { unsent: None, early: Bytes::new() }))
    }

    /// Frees the memory, if nothing is there.
    fn tidy(&mut self) {
        self.0.take_if(|parts| parts.unsent.is_none() && parts.early.is_empty());
    }

    pub(super) fn unsent(&mut self) -> Option<&mut Unsent<D>> {
        self.0.as_mut()?.unsent.as_mut()
    }

    pub(super) fn take_unsent(&mut self) -> Option<Unsent<D>> {
        let unsent = self.0.as_mut()?.unsent.take();
        self.tidy();
        unsent
    }

    pub(super) fn set_unsent(&mut self, unsent: Unsent<D>) {
        self.parts().unsent = Some(unsent);
    }

    pub(super) fn has_early(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| !parts.early.is_empty())
    }

    pub(super) fn set_early(&mut self, early: Bytes) {
        self.parts().early = early;
    }

    pub(super) fn take_early(&mut self) -> Bytes {
        let early = self.0.as_mut().map(|parts| std::mem::take(&mut parts.early)).unwrap_or_default();
        self.tidy();
        early
    }
}
