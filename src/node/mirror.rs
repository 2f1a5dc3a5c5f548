//! A mirror: a node's copy of one channel's log, and how events get into it.
//!
//! A read from the store fills a mirror, and the feed keeps it up to date. Each event of the feed names its predecessor
//! in the channel. If that predecessor is not the mirror's last event, something was lost on the way, and the mirror is
//! *broken* until the channel has been read again. A read contains every event that arrived before it began. The mirror
//! keeps the events that arrive during a read, up to a limit, and appends them after the read. Events beyond the limit
//! are in the next read.

use std::{sync::Arc, time::Instant};

use crate::{
    backend::{Entry, Head, Held},
    hub::{
        coverage::Coverage,
        engine::{Hub, now},
        state::{Shared, State},
        wait::Wakeups,
    },
    log::{BROADCAST, LaneId, Log, Tombstone},
    wire::{
        cursor::{Epoch, Offset},
        encode::Sealed,
        notice::EndReason,
    },
};

/// The events that are kept while one channel is read take at most about one part in this many of the hub's byte limit.
/// For all channels that are read at once, that is about a sixteenth.
const EARLY_PART: usize = 512;

/// One channel's mirror. The driver owns it. Readers find what they need to know about it in the channel's
/// [`Coverage`].
pub(crate) struct Mirror {
    pub(crate) channel: Arc<Shared>,
    /// The last event that the feed brought while the mirror was broken, and that the mirror therefore did not take in.
    seen: Offset,
    /// The value of `seen` for which the channel was last read again.
    sought: Offset,
}

/// What `push` did with an event of the feed.
pub(crate) enum Pushed {
    /// The event is in the log.
    In(Wakeups),
    /// The mirror already has the event, a read will bring it, or it will be appended after the read.
    Known,
    /// Events before this one are missing.
    Broken,
}

/// The outcome of a read.
pub(crate) enum Filled {
    /// The mirror is whole.
    Whole,
    /// The channel has to be read again, after this offset.
    Again(Offset),
    /// The store has lost events that it acknowledged.
    Lost,
}

/// How a mirror compares with its channel in the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The mirror is whole: the channel has not changed.
    Whole,
    /// The channel has to be read.
    Behind,
    /// The store has lost events that it acknowledged.
    Lost,
}

impl Mirror {
    pub(crate) fn new(channel: Arc<Shared>) -> Self {
        Self { channel, seen: Offset::START, sought: Offset::START }
    }

    /// Marks the mirror as broken until it is known to be whole, because the feed may have lost something. Returns
    /// whether the mirror has been loaded. If it has, readers may be ahead of what is missing.
    pub(crate) fn interrupt(&self, hub: &Hub) -> bool {
        // Readers of several channels have to look at the channel before they read on in the others.
        let mut state = self.channel.change();
        let Some(coverage) = state.coverage_mut() else { return false };
        coverage.breaks(hub.memory.last());
        coverage.early = None;
        coverage.loaded
    }

    /// Discards the events that were kept during a read, because the read failed.
    pub(crate) fn read_failed(&self) {
        if let Some(coverage) = self.channel.look().coverage_mut() {
            coverage.early = None;
        }
    }

    /// Returns whether the channel has been read in this epoch.
    pub(crate) fn is_loaded(&self) -> bool {
        self.channel.look().loaded().is_some()
    }

    /// Returns the offset after which the channel has to be read.
    pub(crate) fn read_after(&self) -> Offset {
        let state = self.channel.look();
        state.coverage().filter(|coverage| coverage.loaded).map_or(Offset::START, |coverage| coverage.whole_up_to())
    }

    /// Returns the channel's last event that the mirror has, if the mirror is whole.
    pub(crate) fn tail(&self) -> Option<Offset> {
        let state = self.channel.look();
        state.coverage().filter(|coverage| coverage.is_whole()).map(|coverage| coverage.tail)
    }

    /// Takes in an event of the feed.
    pub(crate) fn push(&mut self, hub: &Hub, epoch: Epoch, entry: Entry) -> Pushed {
        let channel = self.channel.clone();
        let mut state = channel.change();
        if let Some(pushed) = self.refuse(hub, &mut state, entry.offset, entry.previous) {
            if let Some(early) = state.coverage_mut().and_then(|coverage| coverage.early.as_mut()) {
                early.keep(entry, hub.settings.limits.hub_bytes / EARLY_PART);
            }
            return pushed;
        }
        let (now, offset) = (now(), entry.offset);
        if entry.client.is_none() && entry.except.is_none() {
            hub.meter.broadcast(channel.address(), offset, now);
        }
        Pushed::In(take_in(hub, &mut state, epoch, entry, now))
    }

    /// Takes in a message of the feed that the channel was finished without an event.
    pub(crate) fn push_end(&mut self, hub: &Hub, offset: Offset, previous: Offset) -> Pushed {
        let channel = self.channel.clone();
        let mut state = channel.change();
        if let Some(pushed) = self.refuse(hub, &mut state, offset, previous) {
            return pushed;
        }
        state.log.end(now());
        Pushed::In(state.readers.wake_all())
    }

    /// Returns why the mirror can't take in what the feed brought. Returns `None` if it can, and moves its tail to
    /// `offset`.
    fn refuse(&mut self, hub: &Hub, state: &mut State, offset: Offset, previous: Offset) -> Option<Pushed> {
        let Some(coverage) = state.coverage_mut() else { return Some(Pushed::Known) };
        if !coverage.is_whole() {
            self.seen = self.seen.max(offset);
            return Some(Pushed::Known);
        }
        if offset <= coverage.tail {
            return Some(Pushed::Known);
        }
        if previous > coverage.tail {
            self.seen = offset;
            coverage.breaks(hub.memory.last());
            return Some(Pushed::Broken);
        }
        coverage.tail = offset;
        None
    }

    /// Returns whether the store has events that this mirror, which is whole, does not have. They may be on their way.
    /// If there are none, the mirror has everything up to `level`, the hub's last offset when the store was asked.
    pub(crate) fn is_behind(&self, head: Head, level: Offset) -> bool {
        let mut state = self.channel.look();
        let Some(coverage) = state.coverage_mut().filter(|coverage| coverage.is_whole()) else { return false };
        let is_behind = head.offset > coverage.tail;
        if !is_behind && coverage.knows(head) {
            coverage.loaded_at = coverage.loaded_at.max(level);
        }
        is_behind
    }

    /// Compares the mirror with the channel's head in the store, which was read at `level`. The mirror must have been
    /// loaded, and the feed must have carried the channel before the store was asked.
    pub(crate) fn compare(&mut self, head: Head, level: Offset) -> Compared {
        let mut state = self.channel.change();
        let Some(coverage) = state.coverage_mut() else { return Compared::Whole };
        if head.offset < coverage.tail && head.offset > Offset::START {
            return Compared::Lost;
        }
        let was_closed = head.closed > coverage.closed;
        if head.offset > coverage.tail || self.seen > level || was_closed || !coverage.knows(head) {
            return Compared::Behind;
        }
        (coverage.broken, self.seen) = (false, Offset::START);
        coverage.loaded_at = coverage.loaded_at.max(level);
        // Also wakes readers that are opening and wait for the mirror to be whole.
        let all = state.readers.wake_all();
        drop(state);
        drop(all);
        Compared::Whole
    }

    /// Takes in the result of a read after `after`; a read after the start is of the whole channel.
    pub(crate) fn fill(&mut self, hub: &Hub, after: Offset, mut held: Held) -> Filled {
        // Done before taking the lock, since there may be a mark for each of many clients.
        let whole = after == Offset::START;
        let (gone, marks) = (
            held.marks.highest(),
            whole.then(|| std::mem::take(&mut held.marks).into_tombstone(held.finished, held.since)),
        );
        let mut state = self.channel.change();
        let Some(coverage) = state.coverage_mut() else { return Filled::Whole };
        let (before, early) = (coverage.loaded.then_some(coverage.tail), coverage.early.take());
        let missed_close = has_missed_close(coverage, &held);
        if let Some(refused) = refuse(coverage, after, &held, gone) {
            return refused;
        }
        let last = early.map(|early| early.follow(&mut held, coverage.tail));
        let again = self.seen > held.level && last.is_none_or(|last| self.seen > last);
        if again && self.seen == self.sought {
            // The channel was read after that event had arrived, and the store does not know the event.
            return Filled::Lost;
        }
        cover(coverage, &held, before, gone);
        let whole_up_to = coverage.whole_up_to();
        if again {
            self.sought = self.seen;
        } else {
            (coverage.loaded, coverage.broken, self.seen) = (true, false, Offset::START);
        }
        let forgotten = marks.map(|marks| state.log.restart(marks));
        let known = if whole { None } else { Some(before.unwrap_or_default()) };
        let wakeups = take_over(hub, &mut state, held, known);
        let ended = missed_close.then(|| state.readers.end_all(EndReason::Closed));
        // Also wakes readers that are opening and wait for the mirror to be loaded.
        let all = state.readers.wake_all();
        drop(state);
        drop((wakeups, ended, all));
        if missed_close {
            self.channel.give_seats_back();
        }
        hub.free(forgotten.flatten());
        match again {
            // Returned even if the mirror is not loaded yet: a read of the whole of a busy channel would always come
            // too late.
            true => Filled::Again(whole_up_to),
            false => Filled::Whole,
        }
    }

    /// Forgets everything. From now on the log belongs to this epoch and has to be read.
    pub(crate) fn restart(&mut self, hub: &Hub, epoch: Epoch) {
        let mut state = self.channel.change();
        let Some(coverage) = state.coverage_mut() else { return };
        *coverage = Coverage { wanted: coverage.wanted, ..Coverage::none(epoch) };
        (self.seen, self.sought) = (Offset::START, Offset::START);
        let forgotten = state.log.restart(Tombstone::default());
        let all = state.readers.wake_all();
        drop(state);
        drop(all);
        hub.free(forgotten);
    }

    /// Drops the channel if it has no readers. Returns whether it did.
    pub(crate) fn drop_unread(&self, hub: &Hub) -> bool {
        self.drop_from(hub, |state| (state.readers.len() == 0).then(Wakeups::default))
    }

    /// Drops the channel and ends all its readers, because the channel was closed.
    pub(crate) fn drop_closed(&self, hub: &Hub) {
        self.drop_from(hub, |state| Some(state.readers.end_all(EndReason::Closed).1));
        self.channel.give_seats_back();
    }

    fn drop_from(&self, hub: &Hub, decide: impl FnOnce(&mut State) -> Option<Wakeups>) -> bool {
        let mut dropped = None;
        hub.registry.remove_if(&self.channel, || {
            let mut state = self.channel.change();
            dropped = decide(&mut state).map(|wakeups| (wakeups, state.bury()));
            dropped.is_some()
        });
        let Some((wakeups, (_, held))) = dropped else { return false };
        drop(wakeups);
        hub.free(held);
        true
    }
}

/// Returns whether the channel was closed after the log was loaded.
fn has_missed_close(coverage: &Coverage, held: &Held) -> bool {
    coverage.loaded && held.closed > coverage.closed
}

/// Returns why the result of a read after `after` can't be taken in, or `None` if it can. Everything up to `gone` may
/// be evicted.
fn refuse(coverage: &Coverage, after: Offset, held: &Held, gone: Offset) -> Option<Filled> {
    // A store that has forgotten the channel counts from the start again.
    let is_part = after > Offset::START;
    if (coverage.loaded || is_part) && held.head < coverage.tail && held.head > Offset::START {
        return Some(Filled::Lost);
    }
    // Events of the previous epoch that the store holds count as evicted once another event follows them.
    let is_hidden = held.before.is_some_and(|before| before.offset == gone) && gone > coverage.tail;
    let was_closed = held.closed > coverage.closed;
    (is_part && (was_closed || gone > after || is_hidden)).then_some(Filled::Again(Offset::START))
}

/// Records a read. `before` is the log's last event, if the log had been loaded. Everything up to `gone` may be
/// evicted.
fn cover(coverage: &mut Coverage, held: &Held, before: Option<Offset>, gone: Offset) {
    let last = held.entries.last().map_or(held.head, |entry| held.head.max(entry.offset));
    coverage.tail = coverage.tail.max(last);
    coverage.loaded_at = coverage.loaded_at.max(held.level);
    (coverage.epoch, coverage.before, coverage.closed) = (held.epoch, held.before, held.closed);
    // Events of a former epoch were there from the first read on, and a gap reported everything of them that was lost.
    let former = held.before.map_or(Offset::START, |before| before.offset);
    if let Some(after) = before.map(|after| after.max(former)).filter(|after| *after < last) {
        let first = held.entries.iter().find(|entry| entry.offset > after);
        // Without an event, the channel was finished without one.
        if first.is_some() || gone > after {
            coverage.late.note(after, coverage.passed, first.map(|first| (first.offset, first.previous)));
        }
    }
}

/// Takes in the events of a read: those after `known`, or all of them if it is `None`.
fn take_over(hub: &Hub, state: &mut State, held: Held, known: Option<Offset>) -> Vec<Wakeups> {
    let now = now();
    if let Some(retention) = held.retention {
        let began = known.is_none().then(|| Coverage::began(retention, now));
        state.log.retain(retention, began);
    }
    let new = held.entries.into_iter().filter(|entry| entry.offset > known.unwrap_or_default());
    let wakeups = new.map(|entry| take_in(hub, state, held.epoch, entry, now)).collect();
    if held.finished {
        state.log.finish();
    }
    wakeups
}

/// Appends an event to a log of the given epoch. Returns the event and its lane.
pub(super) fn put(hub: &Hub, log: &mut Log, epoch: Epoch, entry: Entry, now: Instant) -> Option<(LaneId, Sealed)> {
    let lane = match &entry.client {
        None => BROADCAST,
        // The store has taken the event, so no limit may refuse it here. Memory has no room for more than 4 billion
        // lanes.
        Some(client) => log.lane_for(client, usize::MAX).ok()?,
    };
    let (last, at) = (entry.last, now.checked_sub(entry.age).unwrap_or(now));
    if let Some(except) = &entry.except {
        log.exclude(lane, entry.offset, Box::new(except.clone()));
    }
    let (event, custom) = entry.seal(epoch);
    hub.memory.put(log, lane, (&event, custom), at, &hub.counters);
    if last {
        log.finish();
    }
    Some((lane, event))
}

/// Appends an event to the log of the given epoch, and wakes the readers that wait for it.
fn take_in(hub: &Hub, state: &mut State, epoch: Epoch, entry: Entry, now: Instant) -> Wakeups {
    state.is_quiet = false;
    let State { log, readers, .. } = state;
    let last = entry.last;
    let Some((lane, event)) = put(hub, log, epoch, entry, now) else { return Wakeups::default() };
    if readers.len() > 0 {
        log.keep(lane, event);
    }
    match lane {
        // The end concerns all readers, regardless of whom the last event is for.
        lane if last || lane == BROADCAST => readers.wake_all(),
        lane => readers.wake_lane(lane),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        backend::{Marks, Progress},
        hub::{HubSettings, limits::Limits},
        log::{Retention, View},
        wire::{
            cursor::Cursor,
            name::{ChannelName, ClientId},
        },
    };

    const EPOCH: Epoch = Epoch::from_bits(7);

    /// A channel's mirror, and its hub.
    struct Node {
        hub: Hub,
        mirror: Mirror,
    }

    impl Node {
        fn new() -> Self {
            let settings = HubSettings {
                limits: Limits::new(),
                retention: Box::new(|_| Retention::new()),
                reconnect: (Duration::ZERO, Duration::ZERO),
                ..HubSettings::default()
            };
            let hub = Hub::new(settings, None);
            let log = Coverage::log(Retention::new(), now());
            let (name, coverage) = (ChannelName::from_static("a"), Coverage::none(EPOCH));
            let shared = Shared::new(name, log, Some(coverage), hub.ledger.clone());
            Self { hub, mirror: Mirror::new(shared.into()) }
        }

        /// Returns a node that has read these events.
        fn with(offsets: &[u64]) -> Self {
            let mut node = Self::new();
            assert_eq!(node.fill(0, held(offsets)), "whole");
            node
        }

        /// Takes in the result of a read after `after`.
        fn fill(&mut self, after: u64, held: Held) -> String {
            match self.mirror.fill(&self.hub, Offset::new(after), held) {
                Filled::Whole => "whole".into(),
                Filled::Again(after) => format!("again after {after}"),
                Filled::Lost => "lost".into(),
            }
        }

        /// Takes in the result of a read after `after`. When it turned out that the read is needed, the hub's last offset
        /// was `level`.
        fn fill_below(&mut self, after: u64, held: Held, level: u64) -> String {
            self.hub.memory.set_last(Offset::new(level));
            self.mirror.interrupt(&self.hub);
            self.fill(after, held)
        }

        fn begin_read(&self) {
            self.mirror.channel.is_loading(Progress::new());
        }

        fn push(&mut self, offset: u64, previous: u64) -> &'static str {
            match self.mirror.push(&self.hub, EPOCH, entry(offset, previous)) {
                Pushed::In(_) => "in",
                Pushed::Known => "known",
                Pushed::Broken => "broken",
            }
        }

        /// Returns the offsets that are in the log.
        fn offsets(&self) -> Vec<u64> {
            let mut newest = self.mirror.channel.look().log.newest(View::EVERYBODY, 100);
            newest.reverse();
            newest.iter().map(|event| event.offset().get()).collect()
        }
    }

    fn entry(offset: u64, previous: u64) -> Entry {
        Entry::of_bytes(bytes::Bytes::from_static(b"data: x\n"), Offset::new(offset), Offset::new(previous))
    }

    /// Returns a read of a store that holds these events. The last of them is also the hub's last.
    fn held(offsets: &[u64]) -> Held {
        let last = Offset::new(offsets.last().copied().unwrap_or_default());
        let mut held = Held::new(EPOCH, last);
        held.head = last;
        held.entries = offsets.iter().map(|offset| entry(*offset, 0)).collect();
        held
    }

    /// Returns the same read, limited to the events after `after`.
    fn held_after(after: u64, offsets: &[u64]) -> Held {
        let mut held = held(offsets);
        held.entries.retain(|entry| entry.offset > Offset::new(after));
        held
    }

    /// Compares with a channel whose last event is at `head` while the hub is at `level`.
    fn compare(node: &mut Node, head: u64, level: u64) -> Compared {
        node.mirror.compare(Head::new(Offset::new(head)), Offset::new(level))
    }

    #[test]
    fn an_interrupted_mirror_that_has_all_events_is_whole_without_a_read() {
        let mut node = Node::with(&[1, 3]);
        assert!(node.mirror.interrupt(&node.hub));
        assert_eq!(compare(&mut node, 3, 9), Compared::Whole);
        assert_eq!((node.mirror.tail(), node.mirror.read_after()), (Some(Offset::new(3)), Offset::new(9)));
        assert_eq!((node.push(12, 3), node.offsets()), ("in", vec![1, 3, 12]));
    }

    #[test]
    fn an_end_without_an_event_is_taken_in_after_the_event_before_it_alone() {
        let mut node = Node::with(&[1]);
        let mut end =
            |offset, previous| match node.mirror.push_end(&node.hub, Offset::new(offset), Offset::new(previous)) {
                Pushed::In(_) => "in",
                Pushed::Known => "known",
                Pushed::Broken => "broken",
            };
        assert_eq!([end(1, 0), end(4, 1), end(4, 1)], ["known", "in", "known"]);
        let is_finished = |node: &Node| node.mirror.channel.look().log.is_finished();
        assert!(is_finished(&node) && node.mirror.tail() == Some(Offset::new(4)));
        let mut node = Node::with(&[1]);
        assert!(matches!(node.mirror.push_end(&node.hub, Offset::new(4), Offset::new(3)), Pushed::Broken));
        assert!(!is_finished(&node));
        // Readers of several channels have passed the end, and have missed no event.
        let mut ended = held_after(1, &[1]);
        (ended.level, ended.head, ended.finished) = (Offset::new(5), Offset::new(4), true);
        assert_eq!(node.fill_below(1, ended, 9), "whole");
        assert!(is_finished(&node) && node.mirror.channel.look().times_late() == 0);
    }

    #[test]
    fn an_interrupted_mirror_is_read_if_its_channel_has_changed() {
        let mut node = Node::with(&[1]);
        node.mirror.interrupt(&node.hub);
        assert_eq!(compare(&mut node, 2, 9), Compared::Behind, "of an event");
        let closed = Head { closed: 1, ..Head::new(Offset::START) };
        assert_eq!(node.mirror.compare(closed, Offset::new(9)), Compared::Behind, "it was closed");
        assert_eq!(node.push(10, 1), "known");
        assert_eq!(compare(&mut node, 1, 9), Compared::Behind, "of an event that came since");
        assert_eq!(compare(&mut node, 1, 10), Compared::Whole);
    }

    #[test]
    fn a_store_that_knows_less_of_a_channel_than_its_mirror_has_lost_it() {
        let mut node = Node::with(&[1, 3]);
        node.mirror.interrupt(&node.hub);
        assert_eq!(compare(&mut node, 1, 9), Compared::Lost);
    }

    #[test]
    fn a_forgotten_channel_has_lost_nothing_up_to_where_its_mirror_was_found_whole() {
        let forgotten = |up_to| Head { forgotten: Offset::new(up_to), ..Head::new(Offset::START) };
        let mut node = Node::with(&[1]);
        assert!(!node.mirror.is_behind(Head::new(Offset::new(1)), Offset::new(20)));
        node.mirror.interrupt(&node.hub);
        assert_eq!(node.mirror.compare(forgotten(21), Offset::new(30)), Compared::Behind);
        assert_eq!(node.mirror.compare(forgotten(20), Offset::new(30)), Compared::Whole);
        // What the channel may have lost before that does not count as evicted from it either.
        node.mirror.interrupt(&node.hub);
        let mut held = held_after(30, &[31]);
        held.marks = Marks::of_everybody(Offset::new(30));
        assert_eq!(node.fill(30, held), "whole");
        assert_eq!(node.offsets(), [1, 31]);
    }

    #[test]
    fn a_mirror_that_misses_an_event_is_not_found_whole() {
        let node = Node::with(&[1]);
        assert!(node.mirror.is_behind(Head::new(Offset::new(2)), Offset::new(20)));
        assert_eq!(node.mirror.read_after(), Offset::new(1));
        let unknown = Head { forgotten: Offset::new(5), ..Head::new(Offset::START) };
        assert!(!node.mirror.is_behind(unknown, Offset::new(20)));
        assert_eq!(node.mirror.read_after(), Offset::new(1), "it may have missed something");
    }

    #[test]
    fn what_comes_before_it_was_read_is_read() {
        let mut node = Node::new();
        assert_eq!(node.push(1, 0), "known");
        assert_eq!(node.fill(0, held(&[])), "again after 0");
        assert_eq!(node.fill(0, held(&[1])), "whole");
        assert_eq!(node.offsets(), [1]);
    }

    #[test]
    fn what_comes_while_it_is_read_first_is_read_by_itself() {
        let mut node = Node::new();
        assert_eq!(node.push(3, 2), "known");
        assert_eq!(node.fill(0, held(&[1, 2])), "again after 2");
        assert_eq!((node.mirror.is_loaded(), node.push(4, 3)), (false, "known"));
        assert_eq!(node.fill(2, held_after(2, &[1, 2, 3])), "again after 3");
        assert_eq!(node.fill(3, held_after(3, &[1, 2, 3, 4])), "whole");
        assert_eq!((node.offsets(), node.push(5, 4)), (vec![1, 2, 3, 4], "in"));
    }

    #[test]
    fn what_comes_while_it_is_read_follows_the_read() {
        for loaded in [false, true] {
            let mut node = if loaded { Node::with(&[1]) } else { Node::new() };
            let after = u64::from(loaded);
            node.mirror.interrupt(&node.hub);
            // This event arrives before the read begins, so the read contains it.
            assert_eq!(node.push(2, 1), "known");
            node.begin_read();
            for (offset, previous) in [(2, 1), (5, 2), (5, 2), (7, 5)] {
                assert_eq!(node.push(offset, previous), "known");
            }
            assert_eq!(node.fill(after, held_after(after, &[1, 2])), "whole");
            assert_eq!((node.offsets(), node.mirror.tail()), (vec![1, 2, 5, 7], Some(Offset::new(7))));
            assert_eq!((node.push(9, 7), node.push(7, 5)), ("in", "known"));
        }
    }

    #[test]
    fn what_comes_while_it_is_read_does_not_follow_a_hole() {
        let mut node = Node::new();
        node.begin_read();
        for (offset, previous) in [(3, 2), (5, 4), (6, 5)] {
            assert_eq!(node.push(offset, previous), "known");
        }
        assert_eq!(node.fill(0, held(&[1, 2])), "again after 3");
        node.begin_read();
        assert_eq!(node.push(7, 6), "known");
        assert_eq!(node.fill(3, held_after(3, &[1, 2, 3, 4, 5, 6])), "whole");
        assert_eq!(node.offsets(), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_channel_that_was_closed_before_it_was_read_has_no_earlier_events() {
        let mut node = Node::new();
        node.begin_read();
        // The store has forgotten these events, and the feed was behind.
        assert_eq!((node.push(1, 0), node.push(2, 1)), ("known", "known"));
        let mut closed = held(&[4]);
        closed.closed = 1;
        assert_eq!((node.fill(0, closed), node.offsets()), ("whole".into(), vec![4]));
    }

    #[test]
    fn what_comes_while_it_is_read_is_bounded_and_counted() {
        let (mut node, hub_bytes) = (Node::new(), Limits::new().hub_bytes);
        let all = |node: &Node| node.hub.ledger.tally.all();
        node.begin_read();
        (0..2_000).for_each(|n| assert_eq!(node.push(n + 2, n + 1), "known"));
        let many = all(&node);
        assert_eq!(node.fill(0, held(&[1])), "again after 1025");
        assert!(many > all(&node));
        node.begin_read();
        let before = all(&node);
        for n in 0..100 {
            let mut large = entry(n + 3_000, n + 2_999);
            large.bytes = vec![b'x'; 64 << 10].into();
            assert!(matches!(node.mirror.push(&node.hub, EPOCH, large), Pushed::Known));
        }
        let taken = all(&node) - before;
        let room = hub_bytes / EARLY_PART;
        assert!((room..room + (80 << 10)).contains(&taken), "{taken} bytes");
        // The events are kept only as long as the read lasts.
        node.mirror.read_failed();
        assert_eq!(node.push(3_100, 3_099), "known");
        assert!(all(&node) <= before);
    }

    #[test]
    fn what_follows_a_read_is_late_for_a_reader_that_has_passed_it() {
        let mut node = Node::with(&[1]);
        node.hub.memory.set_last(Offset::new(7));
        node.mirror.interrupt(&node.hub);
        node.begin_read();
        assert_eq!(node.push(5, 1), "known");
        assert_eq!(node.fill(1, held_after(1, &[1])), "whole");
        let passed = |cursor| {
            let (view, cursor) = (View::EVERYBODY, Offset::new(cursor));
            node.mirror.channel.look().has_passed_late(view, 0, Offset::new(1), cursor)
        };
        assert!(passed(5) && !passed(4));
    }

    #[test]
    fn a_channel_that_is_closed_while_it_is_read_first_is_read_whole() {
        let mut node = Node::new();
        assert_eq!(node.push(3, 2), "known");
        assert_eq!(node.fill(0, held(&[1, 2])), "again after 2");
        let mut closed = held_after(2, &[1, 2, 3]);
        closed.closed = 1;
        assert_eq!(node.fill(2, closed), "again after 0");
        let mut closed = held(&[3]);
        closed.closed = 1;
        assert_eq!((node.fill(0, closed), node.offsets()), ("whole".into(), vec![3]));
    }

    #[test]
    fn what_comes_while_it_is_read_again_is_in_that_or_in_the_next() {
        for read_before in [true, false] {
            let mut node = Node::with(&[1]);
            assert!(node.mirror.interrupt(&node.hub));
            assert_eq!(node.push(2, 1), "known");
            if read_before {
                assert_eq!(node.fill(1, held_after(1, &[1])), "again after 1");
                assert_eq!(node.mirror.tail(), None, "it is not whole yet");
            }
            assert_eq!(node.fill(1, held_after(1, &[1, 2])), "whole");
            assert_eq!((node.offsets(), node.push(2, 1), node.push(3, 2)), (vec![1, 2], "known", "in"));
        }
    }

    #[test]
    fn an_event_whose_predecessor_is_missing_breaks_it() {
        let mut node = Node::with(&[1]);
        assert_eq!((node.push(3, 2), node.push(4, 3)), ("broken", "known"));
        assert_eq!(node.fill(1, held_after(1, &[1, 2, 3, 4])), "whole");
        assert_eq!((node.push(9, 4), node.offsets()), ("in", vec![1, 2, 3, 4, 9]));
    }

    #[test]
    fn readers_of_several_channels_go_no_further_than_when_it_broke_or_than_it_was_read() {
        let mut node = Node::with(&[1]);
        let limit = |node: &Node| node.mirror.channel.look().limit().map(Offset::get);
        assert_eq!(limit(&node), None);
        node.hub.memory.set_last(Offset::new(4));
        assert_eq!(node.push(9, 7), "broken");
        // The readers of other channels go on.
        node.hub.memory.set_last(Offset::new(20));
        node.mirror.interrupt(&node.hub);
        assert_eq!(limit(&node), Some(4));
        assert_eq!(node.fill(1, held_after(1, &[1, 6])), "again after 6");
        assert_eq!(limit(&node), Some(6));
        assert_eq!(node.fill(6, held_after(6, &[1, 6, 7, 9])), "whole");
        assert_eq!(limit(&node), None);
    }

    #[test]
    fn a_reader_that_has_seen_it_looks_again_once_something_is_missing() {
        let breaks: [fn(&mut Node); 2] =
            [|node| assert!(node.mirror.interrupt(&node.hub)), |node| assert_eq!(node.push(9, 7), "broken")];
        for breaks in breaks {
            let mut node = Node::with(&[1]);
            let seen = node.mirror.channel.version();
            breaks(&mut node);
            assert_ne!(node.mirror.channel.version(), seen);
        }
    }

    #[test]
    fn a_store_that_knows_of_less_than_it_has_lost_it() {
        let mut node = Node::with(&[1, 2, 3]);
        assert_eq!(node.fill(3, held_after(3, &[1, 2, 3])), "whole", "nothing is new");
        assert_eq!(node.fill(3, held_after(3, &[1, 2])), "lost");
        assert_eq!(node.fill(3, held(&[])), "whole", "the store has forgotten the channel");
        assert_eq!(node.offsets(), [1, 2, 3]);
    }

    #[test]
    fn what_came_and_is_not_in_the_store_is_sought_once() {
        let mut node = Node::with(&[1]);
        assert_eq!(node.push(9, 5), "broken");
        assert_eq!(node.fill(1, held_after(1, &[1, 2])), "again after 2");
        assert_eq!(node.fill(2, held_after(2, &[1, 2])), "lost");
    }

    #[test]
    fn what_was_evicted_behind_it_has_it_read_whole() {
        let read = |evicted| {
            let mut held = held_after(1, &[1, 5]);
            held.marks.evict(None, Offset::new(evicted));
            held
        };
        let mut node = Node::with(&[1]);
        assert_eq!(node.fill(1, read(1)), "whole", "that it has");
        let mut node = Node::with(&[1]);
        assert_eq!(node.fill(1, read(2)), "again after 0");
        assert_eq!(node.fill(0, read(2)), "whole");
        assert_eq!(node.offsets(), [5]);
    }

    #[test]
    fn nothing_is_taken_in_twice() {
        let mut node = Node::with(&[1, 2]);
        assert_eq!(node.fill(1, held_after(1, &[1, 2, 3])), "whole");
        assert_eq!(node.offsets(), [1, 2, 3]);
    }

    #[test]
    fn a_reader_has_passed_what_came_late_only_if_it_is_beyond_it_and_was_there() {
        let mut node = Node::with(&[1]);
        let late = |node: &Node| node.mirror.channel.look().times_late();
        let channel = node.mirror.channel.clone();
        let passed = |seen, told, cursor| {
            let (view, told, cursor) = (View::EVERYBODY, Offset::new(told), Offset::new(cursor));
            channel.look().has_passed_late(view, seen, told, cursor)
        };
        // The readers of several channels are at 1, and the new events come after that. In the second read, the readers
        // are at 9.
        assert_eq!(node.fill_below(1, held_after(1, &[1, 3]), 1), "whole");
        assert_eq!(late(&node), 0);
        assert_eq!(node.fill_below(1, held_after(1, &[1, 3, 5, 10]), 9), "whole");
        assert_eq!(late(&node), 1);
        assert!(!passed(0, 1, 4) && passed(0, 1, 5) && passed(0, 4, 9) && !passed(0, 5, 9) && !passed(1, 1, 5));
        // For an earlier late event, its position is no longer known.
        assert_eq!(node.fill_below(10, held_after(10, &[1, 3, 5, 10, 20]), 20), "whole");
        assert!(passed(0, 1, 4) && !passed(1, 1, 19) && passed(1, 1, 20));
        // An event that the mirror already has is not late when it is read again.
        assert_eq!(node.fill_below(0, held(&[1, 3, 5, 10, 20]), 20), "whole");
        assert_eq!(late(&node), 2);
    }

    #[test]
    fn what_came_late_and_is_evicted_a_reader_has_passed_too() {
        let mut node = Node::with(&[1]);
        let mut held = held(&[9]);
        held.entries = vec![entry(9, 8)];
        held.marks = Marks::of_everybody(Offset::new(8));
        assert_eq!(node.fill_below(0, held, 8), "whole");
        let passed = |told, cursor| {
            let (view, told, cursor) = (View::EVERYBODY, Offset::new(told), Offset::new(cursor));
            node.mirror.channel.look().has_passed_late(view, 0, told, cursor)
        };
        assert!(passed(1, 8) && !passed(8, 8) && !passed(1, 1));
    }

    #[test]
    fn what_came_late_and_is_all_evicted_a_reader_has_passed_too() {
        let mut node = Node::with(&[1]);
        let mut held = held(&[8]);
        held.entries.clear();
        held.marks = Marks::of_everybody(Offset::new(8));
        assert_eq!(node.fill_below(0, held, 9), "whole");
        let state = node.mirror.channel.look();
        assert!(state.has_passed_late(View::EVERYBODY, 0, Offset::new(1), Offset::new(9)));
    }

    #[test]
    fn marks_of_a_channel_that_the_store_knows_nothing_of_are_nothing_that_came_late() {
        for tail in [&[][..], &[1]] {
            let mut node = Node::with(tail);
            let mut held = held(&[]);
            held.level = Offset::new(20);
            held.marks = Marks::of_everybody(Offset::new(10));
            assert_eq!(node.fill_below(0, held, 20), "whole");
            assert_eq!(node.mirror.channel.look().times_late(), 0);
        }
    }

    #[test]
    fn what_is_evicted_of_a_former_epoch_is_not_late() {
        let mut node = Node::with(&[1]);
        // The epoch began after 5. Its first event in the channel makes everything from before count as evicted.
        let mut held = held(&[9]);
        held.entries = vec![entry(9, 5)];
        held.marks = Marks::of_everybody(Offset::new(5));
        held.before = Some(Cursor { epoch: Epoch::from_bits(6), offset: Offset::new(5) });
        assert_eq!(node.fill_below(0, held, 8), "whole");
        assert_eq!(node.mirror.channel.look().times_late(), 0);
    }

    #[test]
    fn what_came_late_for_a_client_only_that_one_has_passed() {
        let (mut node, bob) = (Node::with(&[1]), ClientId::from_static("bob"));
        let mut held = held_after(1, &[1, 2]);
        held.entries[0].client = Some(bob.clone());
        assert_eq!(node.fill_below(1, held, 2), "whole");
        let state = node.mirror.channel.look();
        let passed = |client| state.has_passed_late(View::of(client), 0, Offset::new(1), Offset::new(2));
        assert!(passed(state.log.lane_of(&bob)) && !passed(None));
    }
}
