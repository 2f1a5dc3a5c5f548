//! Assembles what is read of a channel, page by page, from its newest event to its oldest. It sends no requests itself.
//!
//! Each event names the previous event for the same readers. The oldest event read for a client therefore gives that
//! client's mark. For a client without an event in the read, its last event is known from the list of clients.
//!
//! Events may be evicted between two pages: the oldest ones by a publish, or all of them if Redis evicts the key. Each
//! event also names the previous one in the channel, so the oldest event that was read tells what is missing.

use std::collections::HashMap;

use redis::Value;

use super::{
    held,
    value::{self, list, text},
};
use crate::{
    backend::{Entry, Held, Marks},
    log::Retention,
    wire::{
        cursor::{Epoch, Offset},
        name::ClientId,
    },
};

/// The size of a page: at most this many events, and about this many bytes, estimated from the average size of the
/// channel's events.
pub(super) const PAGE: (usize, usize) = (128, 64 << 10);

pub(super) struct Reading {
    held: Held,
    /// The events, newest first, each with the offset of the previous event for the same readers.
    events: Vec<(Entry, Offset)>,
    /// What the events cost.
    bytes: usize,
    /// What the hub holds of the channel.
    retention: Retention,
    /// Whether the hub has not yet noted the retention that the node asks for.
    is_wish_new: bool,
    after: Offset,
    /// The highest offset that was evicted.
    evicted: Offset,
    /// The server's clock, in milliseconds.
    now: u64,
    /// What the channel holds: the number of events, and of bytes.
    size: (usize, usize),
    /// The last event of each client that the channel remembers.
    clients: HashMap<ClientId, Offset>,
    /// Whether the clients can't be listed.
    knows_no_client: bool,
    /// The newest event that can't be read or is out of order. Nobody can know whom it was for.
    damaged: Option<Offset>,
    /// Whether there is nothing more to read.
    ended: bool,
}

/// The numbers in the script's answer.
struct Numbers {
    last: u64,
    evicted: u64,
    broadcast: u64,
    others: u64,
    events: u64,
    bytes: u64,
    now: u64,
    asked: u64,
    since: u64,
}

/// Reads what a reading script says about the hub, and whether the hub has not yet noted the retention that the node
/// asks for.
pub(super) fn read_hub(epoch: Epoch, answer: &Value) -> Option<(Held, bool)> {
    let [level, before, retention, is_wish_new] = list(answer) else { return None };
    let mut held = Held::new(epoch, value::offset(level)?);
    held.before = value::before(before)?;
    held.retention = Some(held::read(retention)?);
    Some((held, value::is(is_wish_new, "1")))
}

impl Reading {
    pub(super) fn new(after: Offset) -> Self {
        Self {
            held: Held::new(Epoch::from_bits(0), Offset::START),
            events: Vec::new(),
            bytes: 0,
            retention: Retention::new(),
            is_wish_new: false,
            after,
            evicted: Offset::START,
            now: 0,
            size: (0, 0),
            clients: HashMap::new(),
            knows_no_client: false,
            damaged: None,
            ended: false,
        }
    }

    /// Begins with the answer of the script `read`. If the reading had already begun, it begins again, keeps the
    /// clients that it knew, and updates them from the answer.
    ///
    /// Returns the last event of any client that the answer lists, and how many clients it lists. Returns `None` if
    /// this is not an answer of the script.
    pub(super) fn begin(&mut self, epoch: Epoch, answer: &Value) -> Option<(Offset, usize)> {
        let mut newest = (Offset::START, 0);
        let clients = std::mem::take(&mut self.clients);
        *self = Self::new(self.after);
        match list(answer) {
            [kind, hub, mark] if value::is(kind, "none") => {
                self.take_hub(epoch, hub)?;
                self.evicted = value::offset(mark)?;
                self.held.since = self.evicted;
                (self.held.marks, self.ended) = (Marks::of_everybody(self.evicted), true);
            }
            [kind, hub, finished, closed, numbers, listed, events] if value::is(kind, "held") => {
                self.take_hub(epoch, hub)?;
                self.held.finished = value::is(finished, "1");
                self.held.closed = text(closed)?.parse().ok()?;
                let numbers = Numbers::read(numbers)?;
                self.clients = clients;
                // The channel has forgotten any other client since it was listed, and may have sent it something before.
                self.clients.retain(|_, last| last.get() > numbers.others);
                newest = self.take_clients(listed)?;
                self.held.since = Offset::new(numbers.since);
                self.held.head = Offset::new(numbers.last);
                self.held.marks.broadcast = Offset::new(numbers.broadcast);
                self.held.marks.others = Offset::new(numbers.others);
                self.evicted = Offset::new(numbers.evicted);
                self.now = numbers.now;
                self.size = (usize::try_from(numbers.events).ok()?, usize::try_from(numbers.bytes).ok()?);
                self.take(usize::try_from(numbers.asked).ok()?, events)?;
            }
            _ => return None,
        }
        Some(newest)
    }

    /// Takes what the answer says about the hub.
    fn take_hub(&mut self, epoch: Epoch, answer: &Value) -> Option<()> {
        (self.held, self.is_wish_new) = read_hub(epoch, answer)?;
        self.retention = self.held.retention?;
        Some(())
    }

    pub(super) fn is_wish_new(&self) -> bool {
        self.is_wish_new
    }

    /// Returns whether the read wants everything that is held, and the marks of each client.
    pub(super) fn is_whole(&self) -> bool {
        self.after == Offset::START
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.held.epoch
    }

    pub(super) fn after(&self) -> Offset {
        self.after
    }

    pub(super) fn level(&self) -> Offset {
        self.held.level
    }

    /// Returns which events to ask for next: those before this offset, and how many.
    pub(super) fn next(&self) -> Option<(Offset, usize)> {
        let (oldest, _) = self.events.last()?;
        // If something after `after` is missing, the node reads the whole channel instead.
        let is_void = !self.is_whole() && self.evicted > self.after;
        let (held, bytes) = self.size;
        let all = self.is_whole() && self.events.len() >= held;
        let fit = PAGE.1.saturating_mul(held) / bytes.max(1);
        (!self.ended && !is_void && !all).then(|| (oldest.offset, fit.clamp(1, PAGE.0)))
    }

    /// Takes the clients of a reply, which are ordered by their last events. Returns the last of these events, and the
    /// number of clients.
    pub(super) fn take_clients(&mut self, answer: &Value) -> Option<(Offset, usize)> {
        let pairs = list(answer).chunks_exact(2);
        let (count, mut newest) = (pairs.len(), Offset::START);
        for pair in pairs {
            newest = value::offset(&pair[1])?;
            // A client with an invalid name has no readers.
            if let Ok(client) = ClientId::try_from(text(&pair[0]).unwrap_or_default()) {
                self.clients.insert(client, newest);
            }
        }
        Some((newest, count))
    }

    /// Discards the list of clients. It is not known who got which event last, so everybody may have missed what was
    /// evicted.
    pub(super) fn forget_clients(&mut self) {
        self.clients.clear();
        self.knows_no_client = true;
    }

    /// Takes the events of a reply, of which `asked` were requested. Returns `None` if an event has no position.
    pub(super) fn take(&mut self, asked: usize, answer: &Value) -> Option<()> {
        let events = list(answer);
        self.ended = events.len() < asked;
        for event in events {
            let at = value::place(event)?;
            let is_older = self.events.last().is_none_or(|(entry, _)| at < entry.offset);
            let Some((entry, before)) = value::entry(event, self.now).filter(|_| is_older) else {
                (self.damaged, self.ended) = (Some(at), true);
                break;
            };
            if !self.fits(&entry) {
                (self.evicted, self.ended) = (self.evicted.max(at), true);
                break;
            }
            self.bytes += entry.cost(self.held.epoch);
            self.events.push((entry, before.min(at.before())));
        }
        Some(())
    }

    /// Returns whether the retention allows the channel to hold this event along with the newer ones.
    fn fits(&self, entry: &Entry) -> bool {
        let bytes = self.bytes + entry.cost(self.held.epoch);
        let is_too_much = self.events.len() >= self.retention.most_events() || bytes > self.retention.max_bytes();
        let newest = self.events.first().map_or(entry.age, |(newest, _)| newest.age);
        let is_too_old = self.retention.is_too_old(entry.age, newest, self.held.finished);
        !is_too_old && (self.events.is_empty() || !is_too_much)
    }

    pub(super) fn finish(self) -> Held {
        let is_whole = self.is_whole();
        let Self { mut held, events, clients, knows_no_client, evicted, damaged, .. } = self;
        let evicted = events.last().map_or(evicted, |(oldest, _)| oldest.previous.max(evicted));
        if is_whole {
            held.marks.clients = clients;
            if knows_no_client {
                held.marks.others = held.marks.others.max(evicted);
            }
            for (entry, before) in &events {
                match &entry.client {
                    None => held.marks.broadcast = *before,
                    Some(client) => drop(held.marks.clients.insert(client.clone(), *before)),
                }
            }
        } else {
            held.marks = Marks::of_everybody(evicted);
        }
        held.entries = events.into_iter().rev().map(|(entry, _)| entry).collect();
        if let Some(offset) = damaged {
            held.lose(offset);
        }
        held
    }
}

impl Numbers {
    fn read(answer: &Value) -> Option<Self> {
        let [last, evicted, broadcast, others, events, bytes, now, asked, since] = value::numbers(answer)?;
        Some(Self { last, evicted, broadcast, others, events, bytes, now, asked, since })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::cursor::Cursor;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().copied().map(text).collect())
    }

    /// Returns an event with the previous one for the same readers, and its time.
    fn event(at: u64, client: &str, before: u64, time: &str) -> Value {
        event_after(0, at, client, before, time)
    }

    /// Returns an event with the previous one of the channel.
    fn event_after(previous: u64, at: u64, client: &str, before: u64, time: &str) -> Value {
        let (id, before, previous) = (format!("{at}-0"), before.to_string(), previous.to_string());
        let fields = ["d", "data: x\n", "c", client, "i", "", "p", &previous, "t", time, "w", &before];
        Value::Array(vec![text(&id), texts(&fields)])
    }

    /// Returns what a script says about a hub of 20 events, two of which belong to an earlier epoch.
    fn hub(former: &str, retention: Retention) -> Value {
        Value::Array(vec![text("20"), texts(&[former, "2"]), text(&held::words(retention)), text("1")])
    }

    /// Returns the answer for a channel whose last event is 9 and which holds eight events.
    fn answer(evicted: u64, clients: &[&str], asked: usize, events: &[Value]) -> Value {
        let (evicted, asked) = (evicted.to_string(), asked.to_string());
        let numbers = texts(&["9", &evicted, "8", "3", "8", "800", "100", &asked, "1"]);
        let head = [text("held"), hub("00000000000a", Retention::new()), text("0"), text("2")];
        Value::Array(head.into_iter().chain([numbers, texts(clients), Value::Array(events.to_vec())]).collect())
    }

    fn begun(after: u64, answer: &Value) -> Reading {
        let mut reading = Reading::new(Offset::new(after));
        reading.begin(Epoch::from_bits(1), answer).unwrap();
        reading
    }

    fn with_retention(answer: Value, retention: Retention) -> Value {
        let mut answer = list(&answer).to_vec();
        answer[1] = hub("", retention);
        Value::Array(answer)
    }

    fn offsets(held: &Held) -> Vec<u64> {
        held.entries.iter().map(|entry| entry.offset.get()).collect()
    }

    fn mark(held: &Held, client: &'static str) -> Option<u64> {
        held.marks.clients.get(&ClientId::from_static(client)).map(|mark| mark.get())
    }

    #[test]
    fn pages_are_joined_and_each_readers_oldest_event_gives_its_mark() {
        let first = [event(9, "ana", 7, "70"), event(8, "", 6, "60")];
        let clients = ["bob", "5", "ana", "9", "a\nb", "6"];
        let mut reading = begun(0, &answer(4, &clients, 2, &first));
        assert_eq!(reading.next(), Some((Offset::new(8), 128)));
        reading.take(2, &Value::Array(vec![event(7, "ana", 2, "50"), event(6, "", 4, "40")])).unwrap();
        assert_eq!(reading.next(), Some((Offset::new(6), 128)));
        reading.take(128, &Value::Array(Vec::new())).unwrap();
        assert_eq!(reading.next(), None);
        let held = reading.finish();
        assert_eq!((offsets(&held), held.entries[0].age), (vec![6, 7, 8, 9], Duration::from_millis(60)));
        assert_eq!((held.level, held.head, held.closed), (Offset::new(20), Offset::new(9), 2));
        assert_eq!(held.before, Some(Cursor { epoch: Epoch::from_bits(10), offset: Offset::new(2) }));
        assert_eq!((held.marks.broadcast, held.marks.others), (Offset::new(4), Offset::new(3)));
        assert_eq!((mark(&held, "ana"), mark(&held, "bob"), held.marks.clients.len()), (Some(2), Some(5), 2));
    }

    #[test]
    fn a_page_is_as_large_as_the_channels_events_allow() {
        let sized = |events: &str, bytes: &str| {
            let numbers = texts(&["9", "0", "8", "3", events, bytes, "100", "1", "0"]);
            let lists = [numbers, texts(&[]), Value::Array(vec![event(9, "", 0, "1")])];
            let head = [text("held"), hub("", Retention::new()), text("0"), text("2")];
            let answer = head.into_iter().chain(lists).collect();
            begun(0, &Value::Array(answer)).next().map(|(_, count)| count)
        };
        assert_eq!([sized("8", "800"), sized("8", "8192"), sized("8", "9999999")], [Some(128), Some(64), Some(1)]);
        assert_eq!(sized("1", "100"), None, "the channel holds no more");
    }

    #[test]
    fn events_beyond_the_retention_are_not_read_and_count_as_evicted() {
        let events = [event(9, "", 7, "90"), event(7, "", 6, "50"), event(6, "", 4, "40")];
        let cost = Entry::of_bytes(b"data: x\n"[..].into(), Offset::new(9), Offset::START).cost(Epoch::from_bits(1));
        for retention in [
            Retention::new().events(2),
            Retention::new().bytes(2 * cost),
            Retention::new().age(Duration::from_millis(50)),
        ] {
            let of = |answer| with_retention(answer, retention);
            let reading = begun(0, &of(answer(0, &[], 3, &events)));
            assert_eq!(reading.next(), None);
            let held = reading.finish();
            assert_eq!((offsets(&held), held.marks.broadcast), (vec![7, 9], Offset::new(6)));
            let part = begun(3, &of(answer(0, &[], 3, &events))).finish();
            assert_eq!((offsets(&part), part.marks.highest()), (vec![7, 9], Offset::new(6)));
        }
        let newest = begun(0, &with_retention(answer(0, &[], 3, &events), Retention::new().bytes(1))).finish();
        assert_eq!(offsets(&newest), [9]);
        let too_old = Retention::new().age(Duration::ZERO);
        let too_old = begun(0, &with_retention(answer(0, &[], 3, &events), too_old)).finish();
        assert_eq!((offsets(&too_old), too_old.marks.broadcast), (vec![], Offset::new(8)));
    }

    #[test]
    fn a_read_after_an_evicted_offset_stops_early() {
        let reading = begun(3, &answer(4, &[], 1, &[event(9, "", 7, "90")]));
        assert_eq!(reading.next(), None);
        assert_eq!(reading.finish().marks.highest(), Offset::new(4));
        assert!(begun(4, &answer(4, &[], 1, &[event(9, "", 7, "90")])).next().is_some());
    }

    #[test]
    fn events_that_are_evicted_between_two_pages_count_as_evicted() {
        let newest = || [event_after(8, 9, "ana", 7, "90"), event_after(7, 8, "", 5, "80")];
        let older = || [event_after(6, 7, "ana", 6, "70"), event_after(5, 6, "ana", 3, "60")];
        let read = |after, pages: &[Value]| {
            let mut reading = begun(after, &answer(2, &["bob", "4"], 2, &newest()));
            pages.iter().for_each(|page| reading.take(2, page).unwrap());
            reading
        };
        let none = || Value::Array(Vec::new());
        // The read is after 5, and the channel held 6 and 7 when it began.
        assert_eq!(read(5, &[none()]).finish().marks, Marks::of_everybody(Offset::new(7)));
        let all = read(5, &[Value::Array(older().into()), none()]).finish();
        assert_eq!((offsets(&all), all.marks), (vec![6, 7, 8, 9], Marks::of_everybody(Offset::new(5))));
        // In a read of the whole channel, the mark of each reader tells exactly what it has missed.
        let mut part = read(0, &[none()]);
        let whole = read(0, &[none()]).finish();
        assert_eq!((whole.marks.broadcast, whole.marks.others), (Offset::new(5), Offset::new(3)));
        assert_eq!((mark(&whole, "ana"), mark(&whole, "bob")), (Some(7), Some(4)));
        part.forget_clients();
        let part = part.finish();
        assert_eq!((mark(&part, "ana"), mark(&part, "bob"), part.marks.others), (Some(7), None, Offset::new(7)));
    }

    #[test]
    fn a_client_that_is_forgotten_after_it_was_listed_may_have_missed_what_all_others_may_have() {
        let mut reading = begun(0, &answer(4, &["ana", "1", "bob", "5"], 1, &[]));
        reading.begin(Epoch::from_bits(1), &answer(4, &[], 1, &[])).unwrap();
        let held = reading.finish();
        assert_eq!((mark(&held, "ana"), mark(&held, "bob"), held.marks.others), (None, Some(5), Offset::new(3)));
    }

    #[test]
    fn clients_that_are_listed_again_replace_their_earlier_entries() {
        let mut reading = begun(0, &answer(4, &["ana", "4", "bob", "5"], 1, &[]));
        assert_eq!(reading.take_clients(&texts(&["cyd", "6"])), Some((Offset::new(6), 1)));
        let again = answer(4, &["bob", "9"], 1, &[]);
        assert_eq!(reading.begin(Epoch::from_bits(1), &again), Some((Offset::new(9), 1)));
        let held = reading.finish();
        assert_eq!(["ana", "bob", "cyd"].map(|client| mark(&held, client)), [Some(4), Some(9), Some(6)]);
    }

    #[test]
    fn if_clients_change_too_fast_to_list_all_have_missed_what_was_evicted() {
        let mut reading = begun(0, &answer(6, &["ana", "1"], 2, &[event(9, "bob", 5, "90")]));
        reading.forget_clients();
        let held = reading.finish();
        assert_eq!((mark(&held, "ana"), mark(&held, "bob"), held.marks.others), (None, Some(5), Offset::new(6)));
    }

    #[test]
    fn an_unreadable_event_is_lost_with_all_before_it() {
        let first = event(3, "", 0, "40");
        for damage in [event(7, "a\nb", 5, "1"), event(7, "", 5, ""), event(9, "", 0, "1")] {
            let events = [event(9, "ana", 1, "70"), damage.clone(), first.clone()];
            let held = begun(0, &answer(0, &["bob", "2"], 3, &events)).finish();
            let lost = value::place(&damage).unwrap();
            assert!(held.entries.iter().all(|entry| entry.offset > lost));
            assert_eq!((held.marks.broadcast, held.marks.others), (lost.max(Offset::new(8)), lost));
            assert_eq!((mark(&held, "ana"), mark(&held, "bob")), (Some(lost.get()), Some(lost.get())));
        }
        let nowhere = Value::Array(vec![text("x-0"), Value::Nil]);
        let mut reading = Reading::new(Offset::START);
        assert!(reading.begin(Epoch::from_bits(1), &answer(0, &[], 1, &[nowhere])).is_none());
        assert!(reading.begin(Epoch::from_bits(1), &texts(&["held"])).is_none());
    }

    #[test]
    fn anything_a_forgotten_channel_may_have_held_counts_as_evicted() {
        let none = Value::Array(vec![text("none"), hub("", Retention::new()), text("12")]);
        let held = begun(0, &none).finish();
        assert_eq!(held.before, None);
        assert_eq!((held.level, held.head, held.marks.others), (Offset::new(20), Offset::START, Offset::new(12)));
        let part = begun(5, &none).finish();
        assert_eq!(part.marks, Marks::of_everybody(Offset::new(12)));
    }
}
