//! Ephemeral events, to the store and from its feed.

use bytes::Bytes;

use super::{
    mirror::Mirror,
    remote::{Remote, readers_of},
};
use crate::{
    backend::Ephemeral,
    error::{PublishError, PublishErrorKind},
    hub::{engine::Hub, sent::Sent, wait::Wakeups},
    wire::{
        cursor::Offset,
        encode::is_whole,
        event::Event,
        name::{ChannelName, ClientId},
    },
};

impl Remote {
    /// Has the store pass an ephemeral event to all nodes, including this one.
    pub(crate) async fn pass(
        &self,
        hub: &Hub,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
    ) -> Result<Sent, PublishError> {
        let mut draft = hub.draft(event)?;
        if hub.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        if hub.look_at(name, |state| state.is_finishing()).unwrap_or(false) {
            return Err(PublishErrorKind::Finished.into());
        }
        let except = draft.take_except().map(|except| *except);
        let reached = readers_of(hub, name, target, except.as_ref());
        let (bytes, ..) = draft.into_parts();
        let event = Ephemeral { channel: name.clone(), client: target.cloned(), except, bytes };
        self.link.within("pass", self.link.backend.pass(event)).await.map_err(PublishErrorKind::Unavailable)?;
        hub.counters.ephemeral.add(1);
        Ok(Sent::new(self.link.known(), None, reached, false))
    }
}

impl Mirror {
    /// Passes an ephemeral event of the feed to the readers. The feed has brought everything up to `position`. If the
    /// mirror is not whole, its readers are behind and lose the event.
    pub(super) fn pass(&self, hub: &Hub, position: Offset, event: Ephemeral) -> Wakeups {
        if !is_whole(&event.bytes) {
            return Wakeups::default();
        }
        let mut state = self.channel.change();
        if !state.coverage().is_some_and(|coverage| coverage.is_whole()) {
            let lost = state.readers.live();
            drop(state);
            self.channel.count_dropped(u64::try_from(lost).unwrap_or(u64::MAX));
            return Wakeups::default();
        }
        let Ephemeral { client, except, bytes, .. } = event;
        let whole = Bytes::from([&bytes[..], b"\n"].concat());
        hub.pass_to(&mut state, client.as_ref(), position, except.map(Box::new), whole).1
    }
}
