//! What a subscription notes in its record, if somebody watches.

use std::sync::Arc;

use super::{Ending, Life, Subscription};
use crate::{hub::engine::now, meter::Meter};

impl Subscription {
    #[inline]
    pub(super) fn life(&mut self) -> Option<&mut Life> {
        self.aside.as_mut()?.life.as_deref_mut()
    }

    /// Begins the record, once nothing can refuse the subscription any more.
    pub(crate) fn begin_life(&mut self) {
        if self.life().is_none() {
            return;
        }
        let (resumed, cursor, hub) = (self.resumed, self.cursor(), self.hub.clone());
        let (mut channels, mut client) = (Vec::new(), None);
        if hub.settings.watch.wants_names() {
            channels.extend(self.positions.as_slice().iter().map(|position| position.channel.name.clone()));
            client = self.positions.client();
        }
        let last = hub.memory.last();
        self.change_aside(|aside| {
            if let Some(life) = aside.life.as_deref_mut() {
                life.begin(channels, client, resumed, cursor, last);
                hub.settings.watch.opened(life);
            }
        });
    }

    /// Notes that these events, up to the cursor, were delivered.
    #[inline]
    pub(crate) fn delivered(&mut self, events: usize) {
        let Some(life) = self.aside.as_mut().and_then(|aside| aside.life.as_mut()) else { return };
        let (meter, replayed) = (&self.hub.meter, life.delivered(events as u64, self.cursor));
        meter.delivered(events as u64);
        if replayed > 0 {
            meter.replayed(replayed);
        }
        if Meter::KEEPS_RECORDS
            && let Some(before) = life.woken(self.cursor)
        {
            let positions = self.positions.as_slice();
            let reads = |address| positions.iter().any(|position| position.channel.address() == address);
            meter.woken(Arc::as_ptr(&self.seat).addr(), (before, self.cursor), reads, now);
        }
    }

    /// Notes that bytes were taken.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        let Some(first) = self.life().map(|life| life.sent(bytes as u64)) else { return };
        self.hub.meter.sent(bytes as u64);
        first.into_iter().for_each(|after| self.hub.meter.first_byte(after));
    }

    /// Notes how the body ends. An end of the subscription says more than that the body is complete.
    pub(crate) fn ends(&mut self, ending: Ending) {
        let says_more = ending != Ending::Completed || self.end.is_none();
        if let Some(life) = self.life()
            && says_more
        {
            life.ends(ending);
        }
    }

    /// Tells those who watch that the stream is over.
    pub(super) fn close_life(&mut self) {
        if self.aside.is_none() {
            return;
        }
        let cursor = self.cursor();
        let aside = self.change_aside(std::mem::take);
        if let Some((closed, span)) = aside.life.and_then(|life| life.over(self.end, cursor)) {
            self.hub.meter.ended(closed.ending.as_str(), closed.duration);
            self.hub.settings.watch.closed(&closed, &span);
        }
    }

    /// Does something that belongs to the stream's span, if it has one.
    pub(super) fn in_span<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.aside.as_ref().and_then(|aside| aside.life.as_ref()) {
            Some(life) => life.span.in_scope(work),
            None => work(),
        }
    }
}
