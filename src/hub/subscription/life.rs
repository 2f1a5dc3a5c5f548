//! What a subscription notes in its record, if somebody watches.

use super::{Ending, Subscription};

impl Subscription {
    /// Begins the record, once nothing can refuse the subscription any more.
    pub(crate) fn begin_life(&mut self) {
        let Some(life) = &mut self.life else { return };
        let channels = self.positions.as_slice().iter().map(|position| position.channel.name.clone()).collect();
        let (client, last) = (self.positions.client(), self.hub.memory.last());
        let cursor = super::Cursor { epoch: self.epoch, offset: self.cursor };
        life.begin(channels, client, self.resumed, cursor, last);
        self.hub.settings.watch.opened(life);
    }

    /// Notes that these events, up to the cursor, were delivered.
    #[inline]
    pub(crate) fn delivered(&mut self, events: usize) {
        if let Some(life) = &mut self.life {
            life.delivered(events as u64, self.cursor);
        }
    }

    /// Notes that bytes were taken.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(life) = &mut self.life {
            life.sent(bytes as u64);
        }
    }

    /// Notes how the body ends. An end of the subscription says more than that the body is complete.
    pub(crate) fn ends(&mut self, ending: Ending) {
        if let Some(life) = &mut self.life
            && (ending != Ending::Completed || self.end.is_none())
        {
            life.ends(ending);
        }
    }

    /// Tells those who watch that the stream is over.
    pub(super) fn close_life(&mut self) {
        let cursor = self.cursor();
        if let Some((closed, span)) = self.life.take().and_then(|life| life.over(self.end, cursor)) {
            self.hub.settings.watch.closed(&closed, &span);
        }
    }

    /// Does something that belongs to the stream's span, if it has one.
    pub(super) fn in_span<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.life {
            Some(life) => life.span.in_scope(work),
            None => work(),
        }
    }
}
