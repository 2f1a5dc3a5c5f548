//! Assembles the oldest events that a channel holds after an offset. It sends no requests itself.
//!
//! It begins with the answer of the script `part`, which describes one moment. Events may be evicted while further
//! pages are read. Each event names the one before it, so the part ends where one is missing.

use redis::Value;

use super::{
    reading::{PAGE, read_hub},
    value::{self, list, text},
};
use crate::{
    backend::{About, Held, Marks},
    wire::cursor::{Epoch, Offset},
};

pub(super) struct Part {
    held: Held,
    /// How many events to read at most.
    limit: usize,
    /// The server's clock, in milliseconds.
    now: u64,
    /// What the channel holds: the number of events, and of bytes.
    size: (usize, usize),
    /// The newest event that the channel held.
    newest: Offset,
    /// Whether an event can't be read or is out of order.
    damaged: bool,
    /// Whether the rest is gone, or has to be read by another call.
    ended: bool,
    is_wish_new: bool,
}

/// The answer of a script.
pub(super) enum Answer<T> {
    Some(T),
    /// The whole channel has to be read.
    All,
}

impl Part {
    /// Begins a part of `limit` events after the offset `after`, with the answer of the script `part`.
    pub(super) fn begin(epoch: Epoch, after: Offset, limit: usize, answer: &Value) -> Option<Answer<Self>> {
        let (kind, hub, finished, closed, numbers, newest, events) = match list(answer) {
            [kind] if value::is(kind, "all") => return Some(Answer::All),
            [kind, hub, finished, closed, numbers, newest, events] => {
                (kind, hub, finished, closed, numbers, newest, events)
            }
            _ => return None,
        };
        let [last, evicted, others, count, bytes, now, asked, since] = value::numbers(numbers)?;
        let (mut held, is_wish_new) = read_hub(epoch, hub).filter(|_| value::is(kind, "part"))?;
        held.finished = value::is(finished, "1");
        held.closed = text(closed)?.parse().ok()?;
        (held.head, held.since) = (Offset::new(last), Offset::new(since));
        held.marks = Marks::of_everybody(Offset::new(evicted));
        if after == Offset::START && evicted > since {
            // All that was evicted was for everybody.
            held.marks.others = Offset::new(others);
        }
        let size = (usize::try_from(count).ok()?, usize::try_from(bytes).ok()?);
        let newest = value::place_of(newest)?;
        let mut part = Self { held, limit, now, size, newest, damaged: false, ended: false, is_wish_new };
        part.take(usize::try_from(asked).ok()?, events);
        Some(Answer::Some(part))
    }

    /// Returns the epoch that the script's answer is about.
    pub(super) fn epoch(&self) -> Epoch {
        self.held.epoch
    }

    pub(super) fn is_wish_new(&self) -> bool {
        self.is_wish_new
    }

    /// Returns whether an event can't be read. What is held then has to be found out from the newest event on.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Returns which events to ask for next: those after the first of these offsets and up to the second, and how many.
    pub(super) fn next(&self) -> Option<(Offset, Offset, usize)> {
        let last = self.held.entries.last()?.offset;
        let left = self.limit - self.held.entries.len().min(self.limit);
        let is_over = self.ended || self.damaged || last >= self.newest || left == 0;
        let fit = PAGE.1.saturating_mul(self.size.0) / self.size.1.max(1);
        (!is_over).then(|| (last, self.newest, fit.clamp(1, PAGE.0).min(left)))
    }

    /// Takes the events of a reply, of which `asked` were requested.
    pub(super) fn take(&mut self, asked: usize, answer: &Value) {
        let events = list(answer);
        self.ended = events.len() < asked;
        for event in events {
            let Some((entry, _)) = value::entry(event, self.now) else {
                self.damaged = true;
                return;
            };
            let last = self.held.entries.last().map(|last| last.offset);
            if last.is_some_and(|last| entry.previous != last) {
                self.ended = true;
                return;
            }
            self.held.entries.push(entry);
        }
    }

    pub(super) fn finish(self) -> Held {
        let Self { mut held, limit, newest, .. } = self;
        held.more = held.entries.last().is_some_and(|last| last.offset < newest);
        held.cut(limit);
        held
    }
}

/// Reads how a channel is, and whether the hub has not yet noted the retention that the node asks for, from the answer
/// of the script `about`.
pub(super) fn about(epoch: Epoch, answer: &Value) -> Option<Answer<(About, bool)>> {
    let (kind, hub, finished, numbers, first, newest) = match list(answer) {
        [kind] if value::is(kind, "all") => return Some(Answer::All),
        [kind, hub, finished, numbers, first, newest] => (kind, hub, finished, numbers, first, newest),
        _ => return None,
    };
    let [last, since, events, bytes, now] = value::numbers(numbers)?;
    let (_, is_wish_new) = read_hub(epoch, hub).filter(|_| value::is(kind, "about"))?;
    let mut about = About::new(epoch);
    about.head = (last > since).then_some(Offset::new(last));
    about.finished = value::is(finished, "1");
    about.first = if value::is(first, "") { None } else { Some(value::place_of(first)?) };
    (about.events, about.bytes) = (usize::try_from(events).ok()?, usize::try_from(bytes).ok()?);
    about.newest = list(newest).first().and_then(|newest| value::entry(newest, now)).map(|(entry, _)| entry);
    Some(Answer::Some((about, is_wish_new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Retention;

    fn text(text: impl ToString) -> Value {
        Value::BulkString(text.to_string().into())
    }

    fn event(at: u64, previous: u64) -> Value {
        let previous = previous.to_string();
        let fields = ["d", "data: x\n", "c", "", "i", "", "p", &previous, "t", "1", "w", &previous];
        Value::Array(vec![text(format!("{at}-0")), Value::Array(fields.map(text).to_vec())])
    }

    /// Begins a part of a channel that holds eight events, of which 9 is the newest.
    fn begun(limit: usize, events: &[Value]) -> Part {
        let retention = super::super::held::words(Retention::new());
        let hub = [text("20"), Value::Array(vec![text(""), text("0")]), text(retention), text("0")];
        let numbers = Value::Array([9, 0, 0, 8, 800, 100, events.len(), 0].map(text).to_vec());
        let head = [text("part"), Value::Array(hub.to_vec()), text("0"), text("0"), numbers, text("9-0")];
        let answer = head.into_iter().chain([Value::Array(events.to_vec())]).collect();
        let answer = Part::begin(Epoch::from_bits(1), Offset::START, limit, &Value::Array(answer));
        let Some(Answer::Some(part)) = answer else { panic!("a part") };
        part
    }

    fn read(part: Part) -> (Vec<u64>, bool) {
        let held = part.finish();
        (held.entries.iter().map(|entry| entry.offset.get()).collect(), held.more)
    }

    #[test]
    fn pages_follow_each_other_up_to_the_limit() {
        let mut part = begun(4, &[event(1, 0), event(3, 1)]);
        assert_eq!(part.next(), Some((Offset::new(3), Offset::new(9), 2)));
        part.take(2, &Value::Array(vec![event(4, 3), event(6, 4)]));
        assert_eq!(part.next(), None);
        assert_eq!(read(part), (vec![1, 3, 4, 6], true));
        let all = begun(9, &[event(1, 0), event(9, 1)]);
        assert_eq!((all.next(), read(all)), (None, (vec![1, 9], false)));
    }

    #[test]
    fn a_part_ends_before_what_was_evicted_meanwhile() {
        let begin = || begun(8, &[event(1, 0), event(3, 1)]);
        for page in [vec![], vec![event(6, 4), event(9, 6)]] {
            let mut part = begin();
            part.take(6, &Value::Array(page));
            assert_eq!((part.next(), read(part)), (None, (vec![1, 3], true)));
        }
        let mut part = begin();
        part.take(6, &Value::Array(vec![event(4, 3)]));
        assert_eq!((part.next(), read(part)), (None, (vec![1, 3, 4], true)));
    }

    #[test]
    fn an_unreadable_event_spoils_a_part() {
        let mut part = begun(8, &[event(1, 0)]);
        part.take(6, &Value::Array(vec![event(3, 1), Value::Array(vec![text("4-0"), Value::Nil])]));
        assert!(part.is_damaged() && part.next().is_none());
        assert!(!begun(8, &[event(1, 0)]).is_damaged());
    }
}
