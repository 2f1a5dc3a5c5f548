//! A channel whose log lives elsewhere: what a node knows of it, and how events get into the node's copy of the log.
//!
//! A mirror is filled by a read from the backend's store, and kept up by the feed. Each event that comes names the one
//! before it in the channel: if that is not the last that the mirror has, something was lost on the way, and the mirror
//! is *broken* until it was read again. What comes meanwhile is in that read, or in the next.

use std::time::{Duration, Instant};

use super::{
    hub::{Hub, now},
    state::{Shared, State},
    wait::Wakeups,
};
use crate::{
    backend::{Entry, Held},
    cursor::{Cursor, Epoch, Offset},
    log::{BROADCAST, Log, Retention, Tombstone},
    notice::EndReason,
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
    /// The offset that the hub had given last when it was read.
    read_at: Offset,
    /// The channel's last event of all, as this node was told when it published it. It may be on its way here.
    finish: Offset,
    /// The last event that came and was not taken in, because the mirror was broken.
    seen: Offset,
    /// What it was read again for.
    sought: Offset,
    closed: u64,
    /// How often events came in that readers of other channels too may have passed already, and the first of the last time.
    late: (u8, Offset),
    /// The driver was told of it.
    pub(super) wanted: bool,
}

/// What became of an event that came by the feed.
pub(super) enum Pushed {
    /// It is in the log.
    In(Wakeups),
    /// It was known, or will be read.
    Known,
    /// Those before it are missing.
    Broken,
}

/// What became of what was read.
pub(super) enum Filled {
    /// The mirror is whole.
    Whole,
    /// It has to be read again, after this offset.
    Again(Offset),
    /// The store has lost what it acknowledged.
    Lost,
}

impl Mirror {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            loaded: false,
            broken: false,
            tail: Offset::START,
            read_at: Offset::START,
            finish: Offset::START,
            seen: Offset::START,
            sought: Offset::START,
            closed: 0,
            late: (0, Offset::START),
            wanted: false,
        }
    }

    /// A log for it. Its time begins so long ago that what is read later has its age.
    pub(super) fn log(retention: Retention) -> Log {
        let before = retention.max_age().saturating_add(Duration::from_secs(60));
        Log::new(retention, Tombstone::default(), now().checked_sub(before).unwrap_or_else(now))
    }
}

/// What readers ask.
impl State {
    /// The log is of another epoch than a reader's cursor.
    pub(super) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| mirror.epoch != epoch)
    }

    /// The epoch of its log; `None` as long as it is not loaded.
    pub(super) fn loaded(&self) -> Option<Epoch> {
        self.mirror.as_ref().filter(|mirror| mirror.loaded).map(|mirror| mirror.epoch)
    }

    /// Everything up to here is in the mirror, or was, whatever the feed has lost.
    pub(super) fn reach(&self) -> Offset {
        self.mirror.as_ref().map_or(Offset::START, |mirror| mirror.tail.max(mirror.read_at))
    }

    /// It takes no more events, though the last may be on its way here.
    pub(super) fn is_finishing(&self) -> bool {
        let on_its_way = self.mirror.as_ref().is_some_and(|mirror| mirror.finish > self.reach());
        self.log.is_finished() || on_its_way
    }

    /// This node has published the channel's last event.
    pub(super) fn finishes_at(&mut self, last: Cursor) {
        if let Some(mirror) = self.mirror.as_mut().filter(|mirror| mirror.epoch == last.epoch) {
            mirror.finish = mirror.finish.max(last.offset);
        }
    }

    /// How often events came late.
    pub(super) fn late(&self) -> u8 {
        self.mirror.as_ref().map_or(0, |mirror| mirror.late.0)
    }

    /// A reader at `cursor` that has seen so many late times may have passed what came since.
    pub(super) fn has_passed_late(&self, seen: u8, cursor: Offset) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| {
            let (times, first) = mirror.late;
            times.wrapping_sub(seen) > 1 || times != seen && cursor >= first
        })
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
    pub(super) fn interrupt(&self) -> bool {
        let mut state = self.look();
        let Some(mirror) = &mut state.mirror else { return false };
        mirror.broken = true;
        mirror.loaded
    }

    /// After which offset it has to be read.
    pub(super) fn read_after(&self) -> Offset {
        let state = self.look();
        state.mirror.as_ref().filter(|mirror| mirror.loaded).map_or(Offset::START, |mirror| mirror.tail)
    }

    /// The last event that it has, if it is whole.
    pub(super) fn tail(&self) -> Option<Offset> {
        let state = self.look();
        state.mirror.as_ref().filter(|mirror| mirror.loaded && !mirror.broken).map(|mirror| mirror.tail)
    }

    /// Takes in an event that came by the feed.
    pub(super) fn push(&self, hub: &Hub, epoch: Epoch, entry: Entry) -> Pushed {
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
    pub(super) fn fill(&self, hub: &Hub, after: Offset, held: Held, level: Offset) -> Filled {
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
        mirror.read_at = mirror.read_at.max(held.level);
        mirror.epoch = held.epoch;
        mirror.closed = held.closed;
        if again {
            mirror.sought = mirror.seen;
        } else {
            (mirror.loaded, mirror.broken, mirror.seen) = (true, false, Offset::START);
        }
        let late = |entry: &&Entry| before.is_some_and(|tail| entry.offset > tail) && entry.offset <= level;
        if let Some(first) = held.entries.iter().find(late) {
            mirror.late = (mirror.late.0.wrapping_add(1), first.offset);
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
    pub(super) fn restart(&self, hub: &Hub, epoch: Epoch) {
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
    pub(super) fn drop_unread(&self, shared: &std::sync::Arc<Shared>) -> bool {
        self.drop_mirror(shared, |state| (state.readers.len() == 0).then(Wakeups::default))
    }

    /// Ends all readers of a mirror whose channel was closed, and drops it.
    pub(super) fn drop_closed(&self, shared: &std::sync::Arc<Shared>) {
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
