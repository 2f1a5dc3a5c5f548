//! The state that few logs have, in one box: a log without it holds a pointer.

use super::{
    Log, exceptions::Exceptions, history::History, remains::Remains, retention::Retention, tombstone::Bequest,
    written::Written,
};
use crate::wire::cursor::Offset;

/// The state that a log has only if its retention or one of its writers needs it.
#[derive(Default)]
pub(super) struct Rare {
    /// The number of events held for connected readers beyond the history.
    pub(super) lag: usize,
    /// For how long all events are held after the end, if they are held until then.
    pub(super) after_finish_millis: Option<u64>,
    /// Which of the held events are history. `None` if all of them are.
    pub(super) history: Option<History>,
    /// `None` while every event was for everybody in its lane.
    pub(super) exceptions: Option<Box<Exceptions>>,
    /// The highest fence of an append.
    pub(super) fence: Option<u64>,
    /// `None` if no held event has an idempotency key.
    pub(super) written: Option<Box<Written>>,
}

impl Rare {
    /// Returns `None` if neither the retention nor what a tombstone remembers needs it.
    pub(super) fn of(retention: Retention, before: Option<Box<Bequest>>) -> Option<Box<Self>> {
        let Bequest { exceptions, fence } = before.map_or_else(Bequest::default, |before| *before);
        let mut rare = Self { exceptions, fence, ..Self::default() };
        rare.retain(retention);
        rare.begin_history();
        (!rare.is_void()).then(|| Box::new(rare))
    }

    fn retain(&mut self, retention: Retention) {
        (self.lag, self.after_finish_millis) = (retention.lag, retention.after_finish_millis);
    }

    /// Begins an empty history, if not all events are history.
    fn begin_history(&mut self) {
        let is_lag_apart = self.lag > 0 && self.after_finish_millis.is_none();
        self.history = is_lag_apart.then(History::default);
    }

    /// Forgets what it knows of the oldest event, which is evicted.
    pub(super) fn evict(&mut self, gone: Offset) {
        if let Some(exceptions) = &mut self.exceptions {
            exceptions.evict(gone);
        }
        if let Some(history) = &mut self.history {
            history.evict(gone);
        }
        if let Some(written) = &mut self.written {
            written.forget(gone);
            self.written.take_if(|written| !written.holds_keys());
        }
    }

    /// Returns what a tombstone remembers of it. The rest is to be freed.
    pub(super) fn bury(mut self, remains: &mut Remains) -> Option<Box<Bequest>> {
        let exceptions = self.exceptions.as_mut().and_then(|exceptions| exceptions.bury());
        remains.add_exceptions(self.exceptions);
        self.written.into_iter().for_each(|written| remains.add_written(*written));
        Bequest::of(exceptions, self.fence)
    }

    /// Returns whether the log can do without it.
    pub(super) fn is_void(&self) -> bool {
        let follows_retention = self.lag > 0 || self.after_finish_millis.is_some();
        !follows_retention && self.exceptions.is_none() && self.fence.is_none() && self.written.is_none()
    }

    /// Returns how many bytes it takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        let history = self.history.as_ref().map_or(0, History::footprint);
        let written = self.written.as_ref().map_or(0, |written| written.footprint());
        let exceptions = self.exceptions.as_ref().map_or(0, |exceptions| exceptions.footprint());
        size_of::<Self>() + exceptions + history + written
    }
}

impl Log {
    /// `None` while every event was for everybody in its lane.
    #[inline]
    pub(super) fn exceptions(&self) -> Option<&Exceptions> {
        self.rare.as_ref()?.exceptions.as_deref()
    }

    /// Begins anew with the exceptions that a tombstone remembers.
    pub(super) fn restart_rare(&mut self, before: Option<Box<Bequest>>, remains: &mut Remains) {
        let exceptions = before.and_then(|before| before.exceptions);
        if self.rare.is_none() && exceptions.is_none() {
            return;
        }
        let rare = self.rare.get_or_insert_default();
        remains.add_exceptions(std::mem::replace(&mut rare.exceptions, exceptions));
        rare.begin_history();
        self.rare.take_if(|rare| rare.is_void());
    }

    /// Applies the part of a retention that few logs have. Its history is put together anew if `is_anew` says so.
    pub(super) fn retain_rarely(&mut self, retention: Retention, is_anew: bool) {
        if self.rare.is_none() && Rare::of(retention, None).is_none() {
            return;
        }
        let rare = self.rare.get_or_insert_default();
        rare.retain(retention);
        if is_anew {
            rare.begin_history();
            let held = if rare.history.is_some() { self.all_offsets() } else { Vec::new() };
            held.into_iter().for_each(|offset| self.add_to_history(offset));
        }
        self.rare.take_if(|rare| rare.is_void());
    }
}
