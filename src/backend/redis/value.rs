//! Reading what the scripts answer and push.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use bytes::Bytes;
use redis::{RedisError, Value};

use crate::{
    backend::{Appended, Connected, Entry, Ephemeral, Except, Expected, Head, Heads, Message, Placed},
    error::BackendError,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::{ChannelName, ClientId, CustomId},
    },
};

/// Returns the error for an answer that no script of this crate gives.
pub(super) fn unexpected() -> BackendError {
    BackendError::new("an answer that was not expected")
}

pub(super) fn failed(error: RedisError) -> BackendError {
    if error.is_timeout() { BackendError::timed_out(error) } else { BackendError::new(error) }
}

pub(super) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        _ => &[],
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

pub(super) fn is(value: &Value, word: &str) -> bool {
    text(value) == Some(word)
}

/// Reads exactly `N` whole numbers.
pub(super) fn numbers<const N: usize>(value: &Value) -> Option<[u64; N]> {
    let numbers = list(value).iter().map(|number| text(number)?.parse().ok());
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}

pub(super) fn offset(value: &Value) -> Option<Offset> {
    text(value)?.parse().ok().map(Offset::new)
}

pub(super) fn epoch(value: &Value) -> Option<Epoch> {
    read_epoch(text(value)?)
}

fn read_epoch(text: &str) -> Option<Epoch> {
    u64::from_str_radix(text, 16).ok().map(Epoch::from_bits)
}

/// Reads the first event with an idempotency key: its epoch, its offset, and its custom id or nothing.
fn first_with(value: &Value) -> Option<(Cursor, Option<CustomId>)> {
    let mut words = text(value)?.splitn(3, ' ');
    let cursor = Cursor { epoch: read_epoch(words.next()?)?, offset: Offset::new(words.next()?.parse().ok()?) };
    Some((cursor, given(words.next()?)?))
}

/// Reads the result of appending `count` events.
pub(super) fn appended(epoch: Epoch, count: usize, answer: &Value) -> Option<Appended> {
    let at = |offset| Cursor { epoch, offset };
    match list(answer) {
        [kind] if is(kind, "finished") => Some(Appended::Finished),
        [kind] if is(kind, "duplicate") => Some(Appended::DuplicateId),
        [kind, fence] if is(kind, "fenced") => Some(Appended::Fenced(text(fence)?.parse().ok()?)),
        [kind, last] if is(kind, "conflict") => {
            Some(Appended::Conflict(Some(offset(last)?).filter(|last| *last > Offset::START).map(at)))
        }
        [kind, first, before @ ..] if is(kind, "at") => {
            let (mut next, before) = (offset(first)?.get(), before.first().map_or(&[][..], list));
            let mut place = |n| match before.get(n) {
                Some(before) if !is(before, "") => first_with(before).map(|(cursor, id)| Placed::repeated(cursor, id)),
                _ => {
                    let new = Placed::new(at(Offset::new(next)));
                    next = next.saturating_add(1);
                    Some(new)
                }
            };
            (0..count.max(1)).map(&mut place).collect::<Option<_>>().map(Appended::At)
        }
        _ => None,
    }
}

/// Writes a fence as a text, such that a higher fence is a greater text.
pub(super) fn write_fence(fence: u64) -> String {
    format!("{fence:020}")
}

/// Writes what a channel's last event has to be.
pub(super) fn write_expected(expected: Expected) -> String {
    match expected {
        Expected::Nothing => "none".into(),
        Expected::At(Cursor { epoch, offset }) => format!("{epoch} {offset}"),
    }
}

/// Reads the epoch before this one, and the offset of what was lost between the two, if there was such an epoch.
pub(super) fn before(value: &Value) -> Option<Option<Cursor>> {
    let [former, lost] = list(value) else { return None };
    let offset = offset(lost)?;
    match text(former)? {
        "" => Some(None),
        former => Some(Some(Cursor { epoch: read_epoch(former)?, offset })),
    }
}

/// Reads an optional value: an empty text is `Some(None)`, and an invalid one is `None`.
fn given<'a, T: TryFrom<&'a str>>(text: &'a str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { T::try_from(text).ok().map(Some) }
}

/// Returns the offset of a stream's event, which its id contains.
pub(super) fn place(value: &Value) -> Option<Offset> {
    place_of(list(value).first()?)
}

/// Returns the offset that an event's id contains.
pub(super) fn place_of(id: &Value) -> Option<Offset> {
    let (offset, _) = text(id)?.split_once('-')?;
    offset.parse().ok().map(Offset::new)
}

/// Reads the readers that an event is not for: the client and the connection, in two lines. An empty text excludes
/// nobody.
pub(super) fn exception(text: &str) -> Option<Option<Except>> {
    let Some((client, connection)) = text.split_once('\n') else { return text.is_empty().then_some(None) };
    Some(Some(Except { client: given(client)?, connection: given(connection)? }))
}

/// Writes the text that [`exception`] reads. No name contains a line feed.
pub(super) fn write_exception(except: Option<&Except>) -> String {
    let Some(Except { client, connection }) = except else { return String::new() };
    let (client, connection) = (client.as_ref().map_or("", |id| id.as_str()), connection.as_ref());
    format!("{client}\n{}", connection.map_or("", |id| id.as_str()))
}

/// Reads an event of a stream: its id, and its fields in order. Also returns the offset of the previous event for the
/// same readers.
pub(super) fn entry(value: &Value, now: u64) -> Option<(Entry, Offset)> {
    let [_, fields] = list(value) else { return None };
    // An exception and an idempotency key may follow.
    let [_, data, _, client, _, custom, _, previous, _, time, _, before, rare @ ..] = list(fields) else { return None };
    let mut entry = Entry::of_bytes(Bytes::copy_from_slice(bytes(data)?), place(value)?, offset(previous)?);
    entry.client = given(text(client)?)?;
    entry.id = given(text(custom)?)?;
    for field in rare.chunks_exact(2) {
        if is(&field[0], "x") {
            entry.except = exception(text(&field[1])?)?;
        }
    }
    entry.age = Duration::from_millis(now.saturating_sub(text(time)?.parse().ok()?));
    Some((entry, offset(before)?))
}

/// Reads how far channels are, from the answer of `heads`.
pub(super) fn heads(epoch: Epoch, answer: &Value) -> Option<Heads> {
    let [kind, level, heads] = list(answer) else { return None };
    let head = |head: &Value| {
        let [last, forgotten, closed] = list(head) else { return None };
        let (last, forgotten, closed) = (offset(last)?, offset(forgotten)?, text(closed)?.parse().ok()?);
        Some(Head { forgotten, closed, ..Head::new(last) })
    };
    let channels = list(heads).iter().map(head).collect::<Option<Vec<_>>>()?;
    is(kind, "heads").then_some(Heads::new(epoch, offset(level)?, channels))
}

/// Reads what is pushed to a channel's feed: `C`, an end, an event, or several events preceded by a line with their
/// lengths. Leaves out what can't be read.
pub(super) fn pushed(channel: &ChannelName, payload: &[u8]) -> Vec<Message> {
    let Some(lengths) = payload.strip_prefix(b"M ") else {
        return pushed_alone(channel, payload).into_iter().collect();
    };
    let (mut messages, mut rest) = (Vec::new(), lengths);
    let mut lengths = &lengths[..memchr::memchr(b'\n', lengths).unwrap_or(0)];
    rest = &rest[(lengths.len() + 1).min(rest.len())..];
    while !lengths.is_empty() {
        let end = memchr::memchr(b' ', lengths).unwrap_or(lengths.len());
        let length = std::str::from_utf8(&lengths[..end]).ok().and_then(|length| length.parse().ok());
        let Some((message, others)) = length.and_then(|length| rest.split_at_checked(length)) else { break };
        messages.extend(pushed_alone(channel, message));
        (rest, lengths) = (others, &lengths[(end + 1).min(lengths.len())..]);
    }
    messages
}

/// Reads one of these messages. An event is preceded by a line with its head.
fn pushed_alone(channel: &ChannelName, payload: &[u8]) -> Option<Message> {
    let channel = channel.clone();
    if payload == b"C" {
        return Some(Message::Closed(channel));
    }
    if let Some(end) = payload.strip_prefix(b"F ") {
        let mut words = std::str::from_utf8(end).ok()?.splitn(3, ' ');
        let epoch = read_epoch(words.next()?)?;
        let mut offset = || words.next()?.parse().ok().map(Offset::new);
        return Some(Message::Ended { channel, epoch, offset: offset()?, previous: offset()? });
    }
    let end = memchr::memchr(b'\n', payload)?;
    let head = std::str::from_utf8(&payload[..end]).ok()?;
    match head.split_once(' ')? {
        ("E", head) => event(channel, head, &payload[end + 1..]),
        ("P", head) => ephemeral(channel, head, &payload[end + 1..]).map(Message::Ephemeral),
        _ => None,
    }
}

fn ephemeral(channel: ChannelName, head: &str, rest: &[u8]) -> Option<Ephemeral> {
    let (client, except) = head.split_once(' ')?;
    let (client, rest) = rest.split_at_checked(client.parse().ok()?)?;
    let (except, data) = rest.split_at_checked(except.parse().ok()?)?;
    let mut event = Ephemeral::new(channel, Bytes::copy_from_slice(data));
    event.client = given(std::str::from_utf8(client).ok()?)?;
    event.except = exception(std::str::from_utf8(except).ok()?)?;
    Some(event)
}

fn event(channel: ChannelName, head: &str, rest: &[u8]) -> Option<Message> {
    let mut head = head.split(' ');
    let epoch = read_epoch(head.next()?)?;
    let mut number = || head.next()?.parse::<u64>().ok();
    let (at, previous, last) = (number()?, number()?, number()?);
    let mut length = || usize::try_from(number()?).ok();
    let (client, custom, except) = (length()?, length()?, length()?);
    let (client, rest) = rest.split_at_checked(client)?;
    let (custom, rest) = rest.split_at_checked(custom)?;
    let (except, data) = rest.split_at_checked(except)?;
    let mut entry = Entry::of_bytes(Bytes::copy_from_slice(data), Offset::new(at), Offset::new(previous));
    entry.client = given(std::str::from_utf8(client).ok()?)?;
    entry.id = given::<CustomId>(std::str::from_utf8(custom).ok()?)?;
    entry.except = exception(std::str::from_utf8(except).ok()?)?;
    entry.last = last == 1;
    Some(Message::Entry { channel, epoch, entry })
}

/// Reads what is pushed to a node: `L`, the epoch and the last offset.
pub(super) fn level(payload: &[u8]) -> Option<Message> {
    let (epoch, last) = std::str::from_utf8(payload).ok()?.strip_prefix("L ")?.split_once(' ')?;
    Some(Message::Level(Cursor { epoch: read_epoch(epoch)?, offset: Offset::new(last.parse().ok()?) }))
}

/// Writes a line for each client: its number of connections, and its name. Connections without a client have an empty
/// name.
pub(super) fn write_clients(mut clients: Connected) -> String {
    // Sorted, so that the same clients give the same text.
    clients.sort_unstable();
    let mut text = String::new();
    for (client, n) in &clients {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{n} {}", client.as_ref().map_or("", |client| client.as_str()));
    }
    text
}

fn read_clients(value: &Value) -> Vec<(Option<ClientId>, usize)> {
    let line = |line: &str| {
        let (n, client) = line.split_once(' ')?;
        Some((given(client)?, n.parse().ok()?))
    };
    text(value).unwrap_or_default().lines().filter_map(line).collect()
}

/// Adds up the clients of all nodes, from the text of each node.
pub(super) fn read_present(nodes: &[Value]) -> Connected {
    let mut all: HashMap<Option<ClientId>, usize> = HashMap::new();
    for (client, n) in nodes.iter().flat_map(read_clients) {
        let sum = all.entry(client).or_default();
        // A text that was written into Redis by hand can contain any number.
        *sum = sum.saturating_add(n);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::ConnectionId;

    #[test]
    fn what_is_pushed_is_read_whatever_is_in_it() {
        let channel = ChannelName::from_static("a");
        let event = "E 00000000000a 7 5 1 4 2 4\na\u{e9} c4an\nt2data: E x\n\n";
        let [Message::Entry { epoch, entry, .. }] = &pushed(&channel, event.as_bytes())[..] else { panic!("an event") };
        assert_eq!((epoch.bits(), entry.offset.get(), entry.previous.get(), entry.last), (10, 7, 5, true));
        assert_eq!((entry.client.as_ref().unwrap().as_str(), entry.id.as_ref().unwrap().as_str()), ("a\u{e9} ", "c4"));
        assert_eq!(&entry.bytes[..], b"2data: E x\n\n");
        let except = Except { client: ClientId::try_from("an").ok(), connection: ConnectionId::try_from("t").ok() };
        assert_eq!(entry.except, Some(except.clone()));
        assert_eq!(exception(&write_exception(Some(&except))), Some(Some(except)));
        let passed = pushed(&channel, b"P 3 5\nana\ntab2x: 1\n");
        let [Message::Ephemeral(passed)] = &passed[..] else { panic!("an ephemeral event") };
        assert_eq!((passed.client.as_ref().unwrap().as_str(), &passed.bytes[..]), ("ana", &b"x: 1\n"[..]));
        assert_eq!(passed.except.as_ref().unwrap().connection.as_ref().unwrap().as_str(), "tab2");
        let garbage =
            ["", "E", "E \n", "E x 1 1 0 0 0 0\n", "E a 1 1 0 9 0 0\nx", "E a 1 1 0 1 0 0\n\u{1}x", "C ", "L a 1"];
        let more = ["E a 1 1 0 0 0 1\nx", "E a 1 1 0 0 0\nx", "P \n", "P 0 9\nx", "P 1 0\n\u{1}x", "P 0 2\n\u{1}\nx"];
        let others = ["F", "F a", "F a 1 x", "M", "M ", "M 1", "M 9\nE", "M x\nE", "M \n"];
        for garbage in garbage.into_iter().chain(more).chain(others) {
            assert!(pushed(&channel, garbage.as_bytes()).is_empty(), "{garbage:?}");
        }
        let several = format!("M {} 1 14\n{event}CF 0000000a 9 8", event.len());
        let messages = pushed(&channel, several.as_bytes());
        assert!(
            matches!(
                &messages[..],
                [Message::Entry { .. }, Message::Closed(_), Message::Ended { offset, previous, .. }]
                    if (offset.get(), previous.get()) == (9, 8)
            ),
            "{messages:?}"
        );
        assert!(level(b"L a 1").is_some() && level(b"L a").is_none() && level(b"\xff").is_none());
    }

    #[test]
    fn presence_is_read_as_it_was_written() {
        let clients = vec![(None, 3), (Some(ClientId::from_static("ana b")), 1)];
        let value = Value::BulkString(write_clients(clients.clone()).into_bytes());
        assert_eq!(read_clients(&value), clients);
        let mut sums = read_present(&[value.clone(), value]);
        sums.sort();
        assert_eq!(sums, [(None, 6), (Some(ClientId::from_static("ana b")), 2)]);
        let most = Value::BulkString(write_clients(vec![(None, usize::MAX)]).into_bytes());
        assert_eq!(read_present(&[most.clone(), most]), [(None, usize::MAX)]);
    }
}
