//! A channel whose log lives elsewhere: what a node knows of it, and how events get into the node's copy of the log.
//!
//! A mirror is filled by a read from the backend's store, and kept up by the feed. Each event that comes names the one
//! before it in the channel: if that is not the last that the mirror has, something was lost on the way, and the mirror
//! is *broken* until it was read again. What comes meanwhile is in that read, or in the next.

use std::time::{Duration, Instant};

use crate::hub::{
    engine::{Hub, now},
    state::{Shared, State},
    wait::Wakeups,
};
use crate::{
    backend::{Entry, Held},
    log::{BROADCAST, Log, Retention, Tombstone, View},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        notice::EndReason,
    },
};

/// What a node knows of a channel whose log lives elsewhere.
pub(crate) struct Mirror {
    epoch: Epoch,
    /// It was read once in this epoch.
    loaded: bool,
    /// Something is known to be missing at its end.
    broken: bool,
    /// The channel's last event that is in the log, or was.
    tail: Offset,
    /// The offset that the hub had given last when it was read last.
    read_level: Offset,
    /// The channel's last event of all, as this node was told when it published it. It may be on its way here.
    finish: Offset,
    /// The last event that came and was not taken in, because the mirror was broken.
    seen: Offset,
    /// What it was read again for.
    sought: Offset,
    closed: u64,
    late: Late,
    /// The driver was told of it.
    pub(crate) wanted: bool,
}

/// Events that came in when readers of other channels too may have passed them already.
#[derive(Default)]
struct Late {
    /// How often some came.
    times: u16,
    /// The last time: after what the mirror had until then, and up to where readers may have been.
    after: Offset,
    upto: Offset,
    /// Some of that was evicted by then: the marks, which may be too high otherwise, say whose it may have been.
    evicted: bool,
}

impl Late {
    /// Something came after `after`, of which these are held, when readers may have been up to `level`.
    fn note(&mut self, after: Offset, level: Offset, held: &[Entry]) {
        let first = held.iter().find(|entry| entry.offset > after);
        let evicted = first.is_none_or(|first| first.previous > after);
        if after < level && (evicted || first.is_some_and(|first| first.offset <= level)) {
            *self = Self { times: self.times.wrapping_add(1), after, upto: level, evicted };
        }
    }
}

/// What became of an event that came by the feed.
pub(crate) enum Pushed {
    /// It is in the log.
    In(Wakeups),
    /// It was known, or will be read.
    Known,
    /// Those before it are missing.
    Broken,
}

/// What became of what was read.
pub(crate) enum Filled {
    /// The mirror is whole.
    Whole,
    /// It has to be read again, after this offset.
    Again(Offset),
    /// The store has lost what it acknowledged.
    Lost,
}

impl Mirror {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            loaded: false,
            broken: false,
            tail: Offset::START,
            read_level: Offset::START,
            finish: Offset::START,
            seen: Offset::START,
            sought: Offset::START,
            closed: 0,
            late: Late::default(),
            wanted: false,
        }
    }

    /// A log for it. Its time begins so long ago that what is read later has its age.
    pub(crate) fn log(retention: Retention) -> Log {
        let before = retention.max_age().saturating_add(Duration::from_secs(60));
        Log::new(retention, Tombstone::default(), now().checked_sub(before).unwrap_or_else(now))
    }
}

/// What readers ask.
impl State {
    /// The log is of another epoch than a reader's cursor.
    pub(crate) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| mirror.epoch != epoch)
    }

    /// The epoch of its log; `None` as long as it is not loaded.
    pub(crate) fn loaded(&self) -> Option<Epoch> {
        self.mirror.as_ref().filter(|mirror| mirror.loaded).map(|mirror| mirror.epoch)
    }

    /// Everything up to here is in the mirror, or was, whatever the feed has lost.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.mirror.as_ref().map_or(Offset::START, |mirror| mirror.tail.max(mirror.read_level))
    }

    /// It takes no more events, though the last may be on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        let on_its_way = self.mirror.as_ref().is_some_and(|mirror| mirror.finish > self.whole_up_to());
        self.log.is_finished() || on_its_way
    }

    /// This node has published the channel's last event.
    pub(crate) fn finishes_at(&mut self, last: Cursor) {
        if let Some(mirror) = self.mirror.as_mut().filter(|mirror| mirror.epoch == last.epoch) {
            mirror.finish = mirror.finish.max(last.offset);
        }
    }

    /// How often events came late.
    pub(crate) fn late(&self) -> u16 {
        self.mirror.as_ref().map_or(0, |mirror| mirror.late.times)
    }

    /// Whether a reader at `cursor` has passed an event that came late since it last asked, when some had come `seen`
    /// times. It knows of all up to `told`. What came the time before the last is not known any more.
    pub(crate) fn has_passed_late(&self, view: View, seen: u16, told: Offset, cursor: Offset) -> bool {
        let Some(Mirror { late, .. }) = self.mirror.as_deref() else { return false };
        let (from, upto) = (told.max(late.after), cursor.min(late.upto));
        let is_held = || self.log.first_after(view, from).is_some_and(|first| first <= upto);
        let is_evicted = || late.evicted && from < upto && self.log.missed(view) > from;
        match late.times.wrapping_sub(seen) {
            0 => false,
            1 => is_held() || is_evicted(),
            _ => true,
        }
    }

    /// Takes in an event of its epoch.
    fn take_in(&mut self, hub: &Hub, epoch: Epoch, entry: Entry, now: Instant) -> Wakeups {
        let State { log, readers, .. } = self;
        let lane = match &entry.client {
            None => BROADCAST,
            // It was taken by the store, so that a limit can't refuse it. Of 4 billion lanes there is no room for more.
            Some(client) => match log.lane_for(client, usize::MAX) {
                Ok(lane) => lane,
                Err(_) => return Wakeups::default(),
            },
        };
        let (last, at) = (entry.last, now.checked_sub(entry.age).unwrap_or(now));
        let (event, custom) = entry.seal(epoch);
        hub.memory.put(log, lane, (&event, custom), at, &hub.counters);
        if readers.len() > 0 {
            log.keep(lane, event);
        }
        if last {
            log.finish();
        }
        match lane {
            BROADCAST => readers.wake_all(),
            lane => readers.wake_lane(lane),
        }
    }
}

/// What the driver does.
impl Shared {
    /// Whether something is in it that must not get lost from here on: it is loaded, and broken as long as no feed is sure
    /// to carry it.
    pub(crate) fn interrupt(&self) -> bool {
        let mut state = self.look();
        let Some(mirror) = &mut state.mirror else { return false };
        mirror.broken = true;
        mirror.loaded
    }

    /// After which offset it has to be read.
    pub(crate) fn read_after(&self) -> Offset {
        let state = self.look();
        state.mirror.as_ref().filter(|mirror| mirror.loaded).map_or(Offset::START, |mirror| mirror.tail)
    }

    /// The last event that it has, if it is whole.
    pub(crate) fn tail(&self) -> Option<Offset> {
        let state = self.look();
        state.mirror.as_ref().filter(|mirror| mirror.loaded && !mirror.broken).map(|mirror| mirror.tail)
    }

    /// Takes in an event that came by the feed.
    pub(crate) fn push(&self, hub: &Hub, epoch: Epoch, entry: Entry) -> Pushed {
        let mut state = self.change();
        let Some(mirror) = &mut state.mirror else { return Pushed::Known };
        if !mirror.loaded || mirror.broken {
            mirror.seen = mirror.seen.max(entry.offset);
            return Pushed::Known;
        }
        if entry.offset <= mirror.tail {
            return Pushed::Known;
        }
        if entry.previous > mirror.tail {
            mirror.seen = entry.offset;
            mirror.broken = true;
            return Pushed::Broken;
        }
        mirror.tail = entry.offset;
        Pushed::In(state.take_in(hub, epoch, entry, now()))
    }

    /// Takes in what was read after `after`, or the whole channel. `level`: readers of several channels may have passed
    /// everything up to there.
    pub(crate) fn fill(&self, hub: &Hub, after: Offset, held: Held, level: Offset) -> Filled {
        let mut state = self.change();
        let Some(mirror) = &mut state.mirror else { return Filled::Whole };
        let (before, whole) = (mirror.loaded.then_some(mirror.tail), after == Offset::START);
        if before.is_some_and(|tail| held.head < tail && held.head > Offset::START) {
            return Filled::Lost;
        }
        // A store that has forgotten the channel counts from the start again.
        let missed_close = mirror.loaded && held.closed > mirror.closed;
        if !whole && (missed_close || held.marks.highest() > mirror.tail) {
            return Filled::Again(Offset::START);
        }
        let again = mirror.seen > held.level;
        if again && mirror.seen == mirror.sought {
            // It was read after that had come, and the store does not know of it.
            return Filled::Lost;
        }
        let last = held.entries.last().map_or(held.head, |entry| held.head.max(entry.offset));
        mirror.tail = mirror.tail.max(last);
        mirror.read_level = mirror.read_level.max(held.level);
        mirror.epoch = held.epoch;
        mirror.closed = held.closed;
        if again {
            mirror.sought = mirror.seen;
        } else {
            (mirror.loaded, mirror.broken, mirror.seen) = (true, false, Offset::START);
        }
        if let Some(after) = before.filter(|after| *after < last) {
            mirror.late.note(after, level, &held.entries);
        }
        let tail = mirror.tail;
        if whole {
            hub.memory.forget(state.log.restart(held.marks.into_tombstone(held.finished)));
        }
        let known = if whole { Offset::START } else { before.unwrap_or_default() };
        let now = now();
        let wakeups: Vec<_> = held
            .entries
            .into_iter()
            .filter(|entry| entry.offset > known)
            .map(|entry| state.take_in(hub, held.epoch, entry, now))
            .collect();
        if held.finished {
            state.log.finish();
        }
        let ended = missed_close.then(|| state.readers.end_all(EndReason::Closed));
        // Those too who open, and wait for it to be loaded.
        let all = state.readers.wake_all();
        drop(state);
        drop((wakeups, ended, all));
        match again {
            true => Filled::Again(if before.is_some() { tail } else { Offset::START }),
            false => Filled::Whole,
        }
    }

    /// Forgets everything: the log is of this epoch from now on, and has to be read.
    pub(crate) fn restart(&self, hub: &Hub, epoch: Epoch) {
        let mut state = self.change();
        let Some(mirror) = &mut state.mirror else { return };
        **mirror = Mirror { wanted: mirror.wanted, ..Mirror::new(epoch) };
        hub.memory.forget(state.log.restart(Tombstone::default()));
        let all = state.readers.wake_all();
        drop(state);
        drop(all);
    }
}

impl Hub {
    /// Drops a mirror that nobody reads. Says whether.
    pub(crate) fn drop_unread(&self, shared: &std::sync::Arc<Shared>) -> bool {
        self.drop_mirror(shared, |state| (state.readers.len() == 0).then(Wakeups::default))
    }

    /// Ends all readers of a mirror whose channel was closed, and drops it.
    pub(crate) fn drop_closed(&self, shared: &std::sync::Arc<Shared>) {
        self.drop_mirror(shared, |state| Some(state.readers.end_all(EndReason::Closed).1));
    }

    fn drop_mirror(&self, shared: &std::sync::Arc<Shared>, decide: impl FnOnce(&mut State) -> Option<Wakeups>) -> bool {
        let mut dropped = None;
        self.registry.remove_if(shared, || {
            let mut state = shared.change();
            dropped = decide(&mut state);
            if dropped.is_some() {
                let (_, held) = state.bury();
                self.memory.forget(held);
            }
            dropped.is_some()
        });
        dropped.is_some()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{
        backend::Marks,
        hub::{HubSettings, limits::Limits},
        wire::name::{ChannelName, ClientId},
    };

    const EPOCH: Epoch = Epoch::from_bits(7);

    /// A channel's mirror, and its hub.
    struct Node {
        hub: Hub,
        shared: Shared,
    }

    impl Node {
        fn new() -> Self {
            let hub = Hub::new(HubSettings {
                limits: Limits::new(),
                retention: Box::new(|_| Retention::new()),
                reconnect: (Duration::ZERO, Duration::ZERO),
                backend: None,
                timeout: Duration::ZERO,
            });
            let mirror = Mirror::new(EPOCH).into();
            let shared = Shared::new(ChannelName::from_static("a"), Mirror::log(Retention::new()), Some(mirror));
            Self { hub, shared }
        }

        /// One that has read these.
        fn with(offsets: &[u64]) -> Self {
            let node = Self::new();
            assert_eq!(node.fill(0, held(offsets)), "whole");
            node
        }

        /// What becomes of what was read after `after`, with readers of several channels up to nowhere.
        fn fill(&self, after: u64, held: Held) -> String {
            self.fill_below(after, held, 0)
        }

        fn fill_below(&self, after: u64, held: Held, level: u64) -> String {
            match self.shared.fill(&self.hub, Offset::new(after), held, Offset::new(level)) {
                Filled::Whole => "whole".into(),
                Filled::Again(after) => format!("again after {after}"),
                Filled::Lost => "lost".into(),
            }
        }

        fn push(&self, offset: u64, previous: u64) -> &'static str {
            match self.shared.push(&self.hub, EPOCH, entry(offset, previous)) {
                Pushed::In(_) => "in",
                Pushed::Known => "known",
                Pushed::Broken => "broken",
            }
        }

        /// The offsets that are in the log.
        fn offsets(&self) -> Vec<u64> {
            let mut newest = self.shared.look().log.newest(View { client: None }, 100);
            newest.reverse();
            newest.iter().map(|event| event.offset().get()).collect()
        }
    }

    fn entry(offset: u64, previous: u64) -> Entry {
        Entry::of_bytes(bytes::Bytes::from_static(b"data: x\n"), Offset::new(offset), Offset::new(previous))
    }

    /// Read of a store that holds these, the last of which is the hub's last.
    fn held(offsets: &[u64]) -> Held {
        let last = Offset::new(offsets.last().copied().unwrap_or_default());
        let mut held = Held::new(EPOCH, last);
        held.head = last;
        held.entries = offsets.iter().map(|offset| entry(*offset, 0)).collect();
        held
    }

    /// The same, of which those after `after` were asked for.
    fn held_after(after: u64, offsets: &[u64]) -> Held {
        let mut held = held(offsets);
        held.entries.retain(|entry| entry.offset > Offset::new(after));
        held
    }

    #[test]
    fn what_comes_before_it_was_read_is_read() {
        let node = Node::new();
        assert_eq!(node.push(1, 0), "known");
        assert_eq!(node.fill(0, held(&[])), "again after 0");
        assert_eq!(node.fill(0, held(&[1])), "whole");
        assert_eq!(node.offsets(), [1]);
    }

    #[test]
    fn what_comes_while_it_is_read_again_is_in_that_or_in_the_next() {
        for read_before in [true, false] {
            let node = Node::with(&[1]);
            assert!(node.shared.interrupt());
            assert_eq!(node.push(2, 1), "known");
            if read_before {
                assert_eq!(node.fill(1, held_after(1, &[1])), "again after 1");
                assert_eq!(node.shared.tail(), None, "it is not whole yet");
            }
            assert_eq!(node.fill(1, held_after(1, &[1, 2])), "whole");
            assert_eq!((node.offsets(), node.push(2, 1), node.push(3, 2)), (vec![1, 2], "known", "in"));
        }
    }

    #[test]
    fn an_event_whose_predecessor_is_missing_breaks_it() {
        let node = Node::with(&[1]);
        assert_eq!((node.push(3, 2), node.push(4, 3)), ("broken", "known"));
        assert_eq!(node.fill(1, held_after(1, &[1, 2, 3, 4])), "whole");
        assert_eq!((node.push(9, 4), node.offsets()), ("in", vec![1, 2, 3, 4, 9]));
    }

    #[test]
    fn a_store_that_knows_of_less_than_it_has_lost_it() {
        let node = Node::with(&[1, 2, 3]);
        assert_eq!(node.fill(3, held_after(3, &[1, 2, 3])), "whole", "nothing is new");
        assert_eq!(node.fill(3, held_after(3, &[1, 2])), "lost");
        assert_eq!(node.fill(3, held(&[])), "whole", "the store has forgotten the channel");
        assert_eq!(node.offsets(), [1, 2, 3]);
    }

    #[test]
    fn what_came_and_is_not_in_the_store_is_sought_once() {
        let node = Node::with(&[1]);
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
        let node = Node::with(&[1]);
        assert_eq!(node.fill(1, read(1)), "whole", "that it has");
        let node = Node::with(&[1]);
        assert_eq!(node.fill(1, read(2)), "again after 0");
        assert_eq!(node.fill(0, read(2)), "whole");
        assert_eq!(node.offsets(), [5]);
    }

    #[test]
    fn nothing_is_taken_in_twice() {
        let node = Node::with(&[1, 2]);
        assert_eq!(node.fill(1, held_after(1, &[1, 2, 3])), "whole");
        assert_eq!(node.offsets(), [1, 2, 3]);
    }

    #[test]
    fn a_reader_has_passed_what_came_late_only_if_it_is_beyond_it_and_was_there() {
        let node = Node::with(&[1]);
        let late = |node: &Node| node.shared.look().late();
        let passed = |seen, told, cursor| {
            let (view, told, cursor) = (View { client: None }, Offset::new(told), Offset::new(cursor));
            node.shared.look().has_passed_late(view, seen, told, cursor)
        };
        // The readers of several channels are at 1, and what comes is after that; or they were at 9.
        assert_eq!(node.fill_below(1, held_after(1, &[1, 3]), 1), "whole");
        assert_eq!(late(&node), 0);
        assert_eq!(node.fill_below(1, held_after(1, &[1, 3, 5, 10]), 9), "whole");
        assert_eq!(late(&node), 1);
        assert!(!passed(0, 1, 4) && passed(0, 1, 5) && passed(0, 4, 9) && !passed(0, 5, 9) && !passed(1, 1, 5));
        // Of an earlier one it is not known any more where it was.
        assert_eq!(node.fill_below(10, held_after(10, &[1, 3, 5, 10, 20]), 20), "whole");
        assert!(passed(0, 1, 4) && !passed(1, 1, 19) && passed(1, 1, 20));
        // What it has already, read once more, is not late.
        assert_eq!(node.fill_below(0, held(&[1, 3, 5, 10, 20]), 20), "whole");
        assert_eq!(late(&node), 2);
    }

    #[test]
    fn what_came_late_and_is_evicted_a_reader_has_passed_too() {
        let node = Node::with(&[1]);
        let mut held = held(&[9]);
        held.entries = vec![entry(9, 8)];
        held.marks = Marks::of_everybody(Offset::new(8));
        assert_eq!(node.fill_below(0, held, 8), "whole");
        let passed = |told, cursor| {
            let (view, told, cursor) = (View { client: None }, Offset::new(told), Offset::new(cursor));
            node.shared.look().has_passed_late(view, 0, told, cursor)
        };
        assert!(passed(1, 8) && !passed(8, 8) && !passed(1, 1));
    }

    #[test]
    fn marks_of_a_channel_that_the_store_knows_nothing_of_are_nothing_that_came_late() {
        for tail in [&[][..], &[1]] {
            let node = Node::with(tail);
            let mut held = held(&[]);
            held.level = Offset::new(20);
            held.marks = Marks::of_everybody(Offset::new(10));
            assert_eq!(node.fill_below(0, held, 20), "whole");
            assert_eq!(node.shared.look().late(), 0);
        }
    }

    #[test]
    fn what_came_late_for_a_client_only_that_one_has_passed() {
        let (node, bob) = (Node::with(&[1]), ClientId::from_static("bob"));
        let mut held = held_after(1, &[1, 2]);
        held.entries[0].client = Some(bob.clone());
        assert_eq!(node.fill_below(1, held, 2), "whole");
        let state = node.shared.look();
        let passed = |client| state.has_passed_late(View { client }, 0, Offset::new(1), Offset::new(2));
        assert!(passed(state.log.lane_of(&bob)) && !passed(None));
    }
}
