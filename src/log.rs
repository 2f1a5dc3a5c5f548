//! One channel's log: a bounded sequence of encoded events in lanes, and what is remembered of evicted events.
//!
//! History, replay, live delivery and lag are the same query to the log: what comes after this cursor? The log has no
//! clock, no lock and no reader state. Its owner passes the time and the offsets.
//!
//! A channel has a broadcast lane, and a lane for each client that has targeted events or a reader. Events are evicted
//! in publish order, across all lanes, so every held event comes after every evicted one. Each lane remembers the
//! highest offset that it evicted. A reader of the lane has a gap if its cursor is below that offset, and has no gap
//! otherwise.

mod batch;
mod clients;
mod custom;
mod ephemeral;
mod evict;
mod exceptions;
mod head;
mod history;
mod lane;
mod lane_id;
mod marks;
mod memory;
mod missed;
mod order;
mod rare;
mod read;
mod remains;
mod retention;
mod run;
mod runs;
mod tombstone;
mod written;

use std::time::Instant;

pub(crate) use self::{
    batch::{Batch, Limit},
    ephemeral::Passing,
    evict::SLICE,
    head::{Head, behind},
    lane_id::{BROADCAST, LaneId, TooManyLanes},
    marks::Marks,
    memory::{LEAST, cost},
    read::View,
    remains::Remains,
    tombstone::{Epitaph, Known, Tombstone},
    written::First,
};
use self::{clients::Clients, ephemeral::Ephemeral, lane::Lane, rare::Rare, retention::EVENT_OVERHEAD};
use crate::wire::{
    cursor::Offset,
    encode::Sealed,
    name::{ClientId, CustomId},
};

pub use self::retention::Retention;

pub(crate) struct Log {
    /// The maximum number of events in the history.
    max_history: usize,
    /// The maximum cost of all events; the newest one is held in any case.
    max_bytes: usize,
    /// The maximum age of an event, unless all of them are held until some time after the end.
    max_age_millis: u64,
    /// The instant from which ages are counted.
    began: Instant,
    broadcast: Lane,
    /// `None` while nothing is known of any client.
    clients: Option<Box<Clients>>,
    /// `None` while no ephemeral event was published for the current readers.
    ephemeral: Option<Box<Ephemeral>>,
    /// The number of held events.
    events: usize,
    /// The cost of the held events.
    bytes: usize,
    /// No held event is older than this, in the log's milliseconds.
    oldest_at: u64,
    /// No held event is newer than this.
    newest_at: u64,
    /// `None` while the log needs no state that few logs have.
    rare: Option<Box<Rare>>,
    /// Whether the channel has readers.
    is_read: bool,
    /// Whether the channel is finished.
    finished: bool,
    /// The offset of the last event, held or not, if it is known.
    last: Offset,
    /// The log began after this offset. As far as is known, no evicted event up to here belonged to it.
    since: Offset,
}

impl Log {
    pub(crate) fn new(retention: Retention, before: Tombstone, now: Instant) -> Self {
        let last = before.last();
        let Tombstone { broadcast, marks, finished, since, rare, .. } = before;
        let clients = marks.map(|marks| Box::new(Clients::new(0, *marks)));
        Self {
            max_history: retention.max_events(),
            max_bytes: retention.bytes,
            max_age_millis: retention.age_millis,
            began: now,
            broadcast: Lane::new(broadcast),
            clients,
            ephemeral: None,
            events: 0,
            bytes: 0,
            oldest_at: 0,
            newest_at: 0,
            rare: Rare::of(retention, rare),
            is_read: false,
            finished,
            last,
            since,
        }
    }

    /// Changes the retention. An empty log may also take a new instant as its beginning.
    pub(crate) fn retain(&mut self, retention: Retention, began: Option<Instant>) {
        let history = |log: &Self| log.rare.as_ref()?.history.as_ref().map(|_| log.max_history);
        let before = history(self);
        self.max_history = retention.max_events();
        (self.max_bytes, self.max_age_millis) = (retention.bytes, retention.age_millis);
        let is_anew = before != retention.is_lag_apart().then_some(self.max_history);
        self.retain_rarely(retention, is_anew);
        self.began = began.filter(|_| self.is_empty()).unwrap_or(self.began);
    }

    /// Appends an event, whose offset must be above every earlier one. Returns how many events the retention evicted
    /// for it.
    pub(crate) fn append(&mut self, lane: LaneId, event: &Sealed, custom: Option<CustomId>, now: Instant) -> u64 {
        let cost = cost(event);
        self.events += 1;
        self.bytes += cost;
        self.last = event.offset();
        let at = self.millis(now);
        (self.oldest_at, self.newest_at) = (self.oldest_at.min(at), self.newest_at.max(at));
        if let Some(clients) = &mut self.clients {
            clients.order.push(lane);
        }
        match &mut self.clients {
            Some(clients) if lane != BROADCAST => clients.push(lane, event, custom, at),
            _ => self.broadcast.push(event, custom, at),
        }
        self.add_to_history(event.offset());
        // Evicts enough to make up for this event, and part of any backlog.
        self.enforce_at(at, SLICE + cost / EVENT_OVERHEAD)
    }

    /// Passes an ephemeral event to the current readers. The channel's ephemeral events may take up to `room` bytes.
    /// Returns whether the event fits.
    pub(crate) fn pass(&mut self, passing: Passing, room: usize) -> bool {
        self.ephemeral.get_or_insert_default().push(passing, room)
    }

    /// Keeps the last event in the memory that it was published in, until the next one is appended. Waiting readers
    /// take it from there.
    pub(crate) fn keep(&mut self, lane: LaneId, event: Sealed) {
        self.change(lane, |lane| lane.keep(event));
    }

    /// Finishes the channel: it takes no more events.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Finishes the channel without a last event. A retention that counts from the end counts from now.
    pub(crate) fn end(&mut self, now: Instant) {
        self.newest_at = self.newest_at.max(self.millis(now));
        self.finish();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Returns the offset after which the log began, as far as is known. Nothing up to here is missing at the log's
    /// beginning.
    pub(crate) fn since(&self) -> Offset {
        self.since
    }

    /// Returns the offset of the log's last event in any lane; `None` if, as far as is known, it never had one.
    pub(crate) fn last_offset(&self) -> Option<Offset> {
        let of_clients = self.clients.as_ref().map_or(Offset::START, |clients| clients.highest());
        Some(self.broadcast.evicted_with_all().max(of_clients).max(self.last)).filter(|last| *last > self.since)
    }

    /// Returns whether the channel has had an event or was finished without one.
    pub(crate) fn has_begun(&self) -> bool {
        self.finished || self.last_offset().is_some()
    }

    /// Returns how many events are held, and what they count against a limit in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Returns the offset of the oldest event in memory, hidden or not.
    pub(crate) fn oldest(&self) -> Option<Offset> {
        self.oldest_lane().oldest()
    }

    /// Returns the lane of the oldest held event, or the broadcast lane if no event is held.
    fn oldest_lane(&self) -> &Lane {
        let oldest = self.clients.as_ref().and_then(|clients| clients.lane(clients.order.first()?));
        oldest.unwrap_or(&self.broadcast)
    }

    /// Returns an offset that no event in the broadcast lane and in `lane` exceeds.
    pub(crate) fn last(&self, lane: Option<LaneId>) -> Offset {
        let own = lane.and_then(|lane| self.lane(lane)).map_or(Offset::START, Lane::evicted_with_all);
        self.broadcast.evicted_with_all().max(own)
    }

    /// Returns how long ago the first held event for everybody after `after` came.
    #[cfg(feature = "metrics")]
    pub(crate) fn age_after(&self, after: Offset, now: Instant) -> Option<std::time::Duration> {
        let came = self.broadcast.first_came(after)?;
        Some(std::time::Duration::from_millis(self.millis(now).saturating_sub(came)))
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns whether a reader that would get a new event for `client` (or for everybody) already has a held event
    /// with this custom id.
    pub(crate) fn holds(&mut self, client: Option<&ClientId>, id: &CustomId, now: Instant) -> bool {
        let view = self.view_for(client);
        self.expire(view, now);
        let too_old = self.too_old(self.millis(now));
        let of_others = |clients: &mut Box<Clients>| client.is_none() && clients.hold(id, too_old);
        self.find_all(view.client, id).next().is_some() || self.clients.as_mut().is_some_and(of_others)
    }

    /// Returns how many clients have a lane.
    pub(crate) fn lanes(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| clients.lanes())
    }

    /// Returns a client's lane, if it has one.
    pub(crate) fn lane_of(&self, client: &ClientId) -> Option<LaneId> {
        self.clients.as_ref()?.lane_of(client)
    }

    /// Returns the client that a lane belongs to.
    pub(crate) fn client_of(&self, lane: LaneId) -> Option<&ClientId> {
        self.clients.as_ref()?.client_of(lane)
    }

    /// Returns a client's lane, and creates it if necessary.
    ///
    /// Add an event or a reader to the lane right after. A lane without either would stay.
    pub(crate) fn lane_for(&mut self, client: &ClientId, max: usize) -> Result<LaneId, TooManyLanes> {
        // Without clients, all held events are broadcasts.
        let broadcasts = self.events;
        let clients = self.clients.get_or_insert_with(|| Box::new(Clients::new(broadcasts, Marks::default())));
        clients.lane_for(client, max)
    }

    /// Counts a new reader of a lane.
    pub(crate) fn enter(&mut self, lane: LaneId) {
        if let Some(clients) = &mut self.clients {
            clients.enter(lane);
        }
    }

    /// Counts a reader of a lane that has left.
    pub(crate) fn leave(&mut self, lane: LaneId) {
        if let Some(clients) = &mut self.clients {
            clients.leave(lane);
        }
        self.drop_void();
    }

    #[cfg(test)]
    pub(crate) fn drop_if_idle(&mut self, lane: LaneId) {
        if let Some(clients) = &mut self.clients {
            clients.drop_if_idle(lane);
        }
        self.drop_void();
    }

    fn drop_void(&mut self) {
        self.clients.take_if(|clients| clients.is_void());
    }

    /// Forgets everything, at a cost that does not depend on how much there is. Returns what to remember of the log,
    /// and the memory to free. Don't use the log after this.
    pub(crate) fn bury(&mut self) -> (Tombstone, Option<Box<Remains>>) {
        let broadcast = self.broadcast.evicted_with_all();
        let broadcasts = std::mem::replace(&mut self.broadcast, Lane::new(broadcast));
        let mut remains = Remains::new(std::mem::take(&mut self.events), broadcasts);
        self.bytes = 0;
        let marks = self.clients.take().and_then(|clients| remains.take(*clients));
        let rare = self.rare.take().and_then(|rare| rare.bury(&mut remains));
        let (since, finished) = (self.since, self.finished);
        let mut tombstone = Tombstone { broadcast, marks, rare, since, finished, knows_last: false };
        // The last event is evicted with all others. In a copy of a remote log, a mark may be higher.
        tombstone.knows_last = self.last > Offset::START && self.last == tombstone.highest();
        (tombstone, remains.into_box())
    }

    /// Empties the log and starts it from the tombstone `before`. Lanes that have readers keep their places.
    pub(crate) fn restart(&mut self, before: Tombstone) -> Option<Box<Remains>> {
        let last = before.last();
        let Tombstone { broadcast, marks, finished, since, rare, .. } = before;
        let broadcasts = std::mem::replace(&mut self.broadcast, Lane::new(broadcast));
        let mut remains = Remains::new(std::mem::take(&mut self.events), broadcasts);
        self.restart_rare(rare, &mut remains);
        if let Some(ephemeral) = &mut self.ephemeral {
            // The events' places belong to the former log.
            ephemeral.clear();
        }
        if self.clients.is_some() || marks.is_some() {
            let clients = self.clients.get_or_insert_with(|| Box::new(Clients::new(0, Marks::default())));
            remains.add_ids(clients.take_ids());
            let lanes = clients.restart(marks.map_or_else(Marks::default, |marks| *marks));
            lanes.into_iter().for_each(|lane| remains.add_lane(lane));
        }
        self.drop_void();
        // New events may be older than the former ones.
        (self.finished, self.oldest_at, self.newest_at, self.bytes) = (finished, 0, 0, 0);
        (self.last, self.since) = (last, since);
        remains.into_box()
    }

    /// Returns the lane of a view's client.
    fn own(&self, view: View<'_>) -> Option<&Lane> {
        self.lane(view.client?)
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        match &self.clients {
            _ if id == BROADCAST => Some(&self.broadcast),
            Some(clients) => clients.lane(id),
            None => None,
        }
    }

    fn change<T>(&mut self, id: LaneId, work: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        match &mut self.clients {
            _ if id == BROADCAST => Some(work(&mut self.broadcast)),
            Some(clients) => clients.change(id, work),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
    };

    const EVERYBODY: View<'static> = View::EVERYBODY;

    fn append(log: &mut Log, lane: LaneId, offset: u64, now: Instant) -> u64 {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        let (event, custom) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
        log.append(lane, &event, custom, now)
    }

    fn client(n: usize) -> ClientId {
        ClientId::try_from(format!("client{n}")).unwrap()
    }

    fn events(held: Option<Box<Remains>>) -> u64 {
        held.map_or(0, |held| held.events)
    }

    fn view(log: &mut Log, n: usize) -> View<'static> {
        View::of(log.lane_for(&client(n), usize::MAX).ok())
    }

    #[test]
    fn what_is_history_follows_a_retention_that_changes() {
        let now = Instant::now();
        let mut log = Log::new(Retention::new(), Tombstone::default(), now);
        for offset in 1..=5 {
            append(&mut log, BROADCAST, offset, now);
        }
        log.is_read();
        for (retention, before) in [
            (Retention::new().events(2).lag(9), 3),
            (Retention::new().events(0).lag(9), 5),
            (Retention::new().events(0).lag(9).after_finish(Duration::from_secs(1)), 0),
        ] {
            log.retain(retention, None);
            assert_eq!(log.before_history(), Offset::new(before));
        }
    }

    #[test]
    fn events_are_evicted_in_order_whatever_their_lane() {
        let (mut log, now) =
            (Log::new(Retention::new().events(3), Tombstone::default(), Instant::now()), Instant::now());
        for offset in 1..=6 {
            let lane = if offset % 2 == 0 { log.lane_for(&client(0), 9).unwrap() } else { BROADCAST };
            let evicted = append(&mut log, lane, offset, now);
            assert_eq!(evicted, u64::from(offset > 3));
            assert_eq!(log.oldest(), Some(Offset::new(offset.saturating_sub(2).max(1))));
        }
        let zero = view(&mut log, 0);
        assert_eq!((log.missed(zero), log.missed(EVERYBODY)), (Offset::new(3), Offset::new(3)));
        assert_eq!(log.bytes, 3 * cost(&log.newest(EVERYBODY, 1)[0]));
    }

    #[test]
    fn events_expire_when_they_are_older_than_the_age() {
        let (mut log, now) = (
            Log::new(Retention::new().age(Duration::from_secs(5)), Tombstone::default(), Instant::now()),
            Instant::now(),
        );
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, BROADCAST, 2, now + Duration::from_secs(2));
        assert_eq!(log.enforce(now + Duration::from_secs(5), SLICE), 0);
        assert_eq!(log.enforce(now + Duration::from_secs(6), SLICE), 1);
        assert_eq!(log.enforce(now, SLICE), 0, "a clock that goes back evicts nothing");
        assert_eq!(log.enforce(now + Duration::from_secs(8), SLICE), 1);
        assert!(log.is_empty() && log.bytes == 0);
    }

    #[test]
    fn a_log_holds_as_much_as_it_may() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        append(&mut log, BROADCAST, 1, now);
        log.retain(Retention::new().bytes(3 * log.bytes), None);
        assert_eq!([2, 3, 4].map(|offset| append(&mut log, BROADCAST, offset, now)), [0, 0, 1]);
    }

    #[test]
    fn a_lane_that_is_gone_leaves_a_mark_for_its_client_only() {
        let (mut log, now) =
            (Log::new(Retention::new().events(1), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!(log.lane_of(&client(0)), None);
        let (zero, one) = (view(&mut log, 0), view(&mut log, 1));
        assert_eq!((log.missed(zero), log.missed(one)), (Offset::new(1), Offset::START));
        for lane in [zero, one].map(|view| view.client.unwrap()) {
            log.drop_if_idle(lane);
        }
        assert_eq!(log.clients.map(|clients| clients.marks.len()), Some(1));
    }

    #[test]
    fn a_lane_with_a_reader_keeps_its_place() {
        let (mut log, now) =
            (Log::new(Retention::new().events(1), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        log.enter(lane);
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!((log.lane_of(&client(0)), log.client_of(lane)), (Some(lane), Some(&client(0))));
        assert_eq!(log.lane_for(&client(1), 1), Err(TooManyLanes));
        log.leave(lane);
        assert_eq!(log.lane_of(&client(0)), None);
        assert!(log.lane_for(&client(1), 1).is_ok());
    }

    #[test]
    fn a_client_that_got_nothing_leaves_nothing() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        log.enter(lane);
        assert!(log.clients.is_some());
        log.leave(lane);
        assert!(log.clients.is_none());
    }

    #[test]
    fn a_log_that_begins_anew_knows_what_it_is_told_and_keeps_the_places_of_its_readers() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        let of = |n: u64| (0..n).map(|n| (client(n as usize), Offset::new(10 + n))).collect();
        let told = |n, others| Tombstone {
            broadcast: Offset::new(5),
            marks: Marks::of(of(n), Offset::new(others)).into_box(),
            ..Tombstone::default()
        };
        append(&mut log, BROADCAST, 1, now);
        assert_eq!(events(log.restart(told(0, 0))), 1);
        assert!(log.is_empty() && log.clients.is_none());
        log.restart(told(3, 7));
        let views: Vec<_> = (0..4).map(|n| view(&mut log, n)).collect();
        let missed = |log: &Log| views.iter().map(|view| log.missed(*view).get()).collect::<Vec<_>>();
        assert_eq!(missed(&log), [10, 11, 12, 7]);
        views.iter().for_each(|view| log.enter(view.client.unwrap()));
        append(&mut log, views[1].client.unwrap(), 20, now);
        assert_eq!(events(log.restart(told(2, 0))), 1);
        assert_eq!((missed(&log), log.missed(EVERYBODY)), (vec![10, 11, 5, 5], Offset::new(5)));
        append(&mut log, views[1].client.unwrap(), 21, now);
        assert_eq!(log.oldest(), Some(Offset::new(21)));
    }

    #[test]
    fn what_is_buried_is_known_again() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, lane, 2, now);
        log.finish();
        let (tombstone, held) = log.bury();
        assert_eq!((events(held), log.bytes, log.is_empty()), (2, 0, true));
        assert_eq!((tombstone.highest(), tombstone.finished), (Offset::new(2), true));
        assert_eq!(tombstone.marks.as_ref().map(|marks| marks.len()), Some(1));
        let mut again = Log::new(Retention::new(), tombstone, now);
        let (zero, one) = (view(&mut again, 0), view(&mut again, 1));
        assert_eq!((again.missed(zero), again.missed(one)), (Offset::new(2), Offset::new(1)));
        assert!(again.is_finished());
    }

    #[test]
    fn a_watermark_stands_for_everybody() {
        let mut log = Log::new(Retention::new(), Tombstone::of_watermark(Offset::new(7)), Instant::now());
        assert!(log.clients.is_none(), "and costs a new channel nothing");
        let zero = view(&mut log, 0);
        assert_eq!((log.missed(EVERYBODY), log.missed(zero)), (Offset::new(7), Offset::new(7)));
    }

    #[test]
    fn what_is_too_old_is_hidden_at_once_and_evicted_in_slices() {
        let now = Instant::now();
        let retention = Retention::new().events(usize::MAX).age(Duration::from_secs(5));
        let mut log = Log::new(retention, Tombstone::default(), now);
        let zero = view(&mut log, 0);
        zero.client.into_iter().for_each(|lane| log.enter(lane));
        let count = 1_000;
        for offset in 1..=count {
            let lane = zero.client.filter(|_| offset % 10 == 0).unwrap_or(BROADCAST);
            append(&mut log, lane, offset, now + Duration::from_secs(u64::from(offset > 995)));
        }
        let later = now + Duration::from_millis(5_500);
        log.expire(zero, later);
        assert_eq!((log.missed(zero), log.missed(EVERYBODY)), (Offset::new(995), Offset::new(995)));
        for view in [zero, EVERYBODY] {
            assert_eq!(log.first_after(view, Offset::START), Some(Offset::new(996)));
            let read = log.read(view, Offset::new(7), Limit::CHUNK).unwrap();
            assert_eq!(read.last(), Offset::new(999));
            assert_eq!(log.newest(view, 100).len(), if view == zero { 5 } else { 4 });
        }
        let slices: Vec<_> =
            std::iter::from_fn(|| Some(log.enforce(later, SLICE)).filter(|evicted| *evicted > 0)).collect();
        assert_eq!((slices.len(), slices.iter().sum::<u64>(), log.events), (16, 995, 5));
    }

    #[test]
    fn a_log_is_buried_without_a_look_at_what_it_holds() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        for n in 0..500 {
            let lane = log.lane_for(&client(n), 999).unwrap();
            append(&mut log, lane, n as u64 + 1, now);
        }
        let (tombstone, held) = log.bury();
        let mut held = held.unwrap();
        assert_eq!((held.events, log.footprint().all), (500, 0));
        let mut again = Log::new(Retention::new(), tombstone, now);
        for n in 0..500 {
            assert_eq!(again.lane_of(&client(n)), None);
            let lane = view(&mut again, n);
            assert_eq!(again.missed(lane), Offset::new(n as u64 + 1));
        }
        let mut slices = 1;
        while held.free_some(100) {
            slices += 1;
        }
        assert!((5..8).contains(&slices), "{slices}");
    }

    #[test]
    fn the_memory_of_a_log_goes_with_what_it_holds() {
        let (mut log, now) =
            (Log::new(Retention::new().events(2_000), Tombstone::default(), Instant::now()), Instant::now());
        let mut footprints = Vec::new();
        for offset in 1..=6_000 {
            // Crowds of clients, and then broadcasts.
            let lane = if offset % 3 == 0 || offset > 4_000 {
                BROADCAST
            } else {
                log.lane_for(&client(offset as usize), usize::MAX).unwrap()
            };
            append(&mut log, lane, offset, now);
            footprints.push(log.footprint().all);
        }
        assert!(footprints[1_999] > 400_000);
        // What is left of the clients is their marks.
        let marks = log.footprint_of_marks();
        assert!(footprints[5_999] - marks < 150_000, "{} with {marks} of marks", footprints[5_999]);
        log.forget_marks(9_999);
        while log.evict() {}
        assert!(log.footprint().all < 2_000, "{} bytes of nothing", log.footprint().all);
    }
}
