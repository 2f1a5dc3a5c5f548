//! What the scripts answer and push, read.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use bytes::Bytes;
use redis::{RedisError, Value};

use crate::{
    backend::{Connected, Entry, Ephemeral, Except, Head, Heads, Message},
    error::BackendError,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::{ChannelName, ClientId, CustomId},
    },
};

/// The answer is none of a script of this crate.
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

pub(super) fn offset(value: &Value) -> Option<Offset> {
    text(value)?.parse().ok().map(Offset::new)
}

pub(super) fn epoch(value: &Value) -> Option<Epoch> {
    read_epoch(text(value)?)
}

fn read_epoch(text: &str) -> Option<Epoch> {
    u64::from_str_radix(text, 16).ok().map(Epoch::from_bits)
}

/// The first event with an idempotency key: its epoch, its offset, and its custom id or nothing.
pub(super) fn first(value: &Value) -> Option<(Cursor, Option<CustomId>)> {
    let mut words = text(value)?.splitn(3, ' ');
    let cursor = Cursor { epoch: read_epoch(words.next()?)?, offset: Offset::new(words.next()?.parse().ok()?) };
    Some((cursor, given(words.next()?)?))
}

/// The epoch before this one, and the offset of what was lost between the two, if there was one.
pub(super) fn before(value: &Value) -> Option<Option<Cursor>> {
    let [former, lost] = list(value) else { return None };
    let offset = offset(lost)?;
    match text(former)? {
        "" => Some(None),
        former => Some(Some(Cursor { epoch: read_epoch(former)?, offset })),
    }
}

/// An empty text is none; one that is not valid is an error.
fn given<'a, T: TryFrom<&'a str>>(text: &'a str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { T::try_from(text).ok().map(Some) }
}

/// Where one of a stream's is, which its id says.
pub(super) fn place(value: &Value) -> Option<Offset> {
    let (offset, _) = text(list(value).first()?)?.split_once('-')?;
    offset.parse().ok().map(Offset::new)
}

/// Whom an event is not for: the client and the connection, in two lines. An empty text is nobody.
pub(super) fn exception(text: &str) -> Option<Option<Except>> {
    let Some((client, connection)) = text.split_once('\n') else { return text.is_empty().then_some(None) };
    Some(Some(Except { client: given(client)?, connection: given(connection)? }))
}

/// The text of that. No name has a line feed.
pub(super) fn write_exception(except: Option<&Except>) -> String {
    let Some(Except { client, connection }) = except else { return String::new() };
    let (client, connection) = (client.as_ref().map_or("", |id| id.as_str()), connection.as_ref());
    format!("{client}\n{}", connection.map_or("", |id| id.as_str()))
}

/// One of a stream's: its id, and its fields in their order. And where the one before it for the same readers was.
pub(super) fn entry(value: &Value, now: u64) -> Option<(Entry, Offset)> {
    let [_, fields] = list(value) else { return None };
    let [_, data, _, client, _, custom, _, previous, _, time, _, before, except @ ..] = list(fields) else {
        return None;
    };
    let mut entry = Entry::of_bytes(Bytes::copy_from_slice(bytes(data)?), place(value)?, offset(previous)?);
    entry.client = given(text(client)?)?;
    entry.id = given(text(custom)?)?;
    if let [_, except] = except {
        entry.except = exception(text(except)?)?;
    }
    entry.age = Duration::from_millis(now.saturating_sub(text(time)?.parse().ok()?));
    Some((entry, offset(before)?))
}

/// How far channels are, from `heads`.
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

/// What is pushed to a channel's feed: `C`, or an event with its head in a line before it.
pub(super) fn pushed(channel: ChannelName, payload: &[u8]) -> Option<Message> {
    if payload == b"C" {
        return Some(Message::Closed(channel));
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

/// What is pushed to a node: `L`, the epoch and the last offset.
pub(super) fn level(payload: &[u8]) -> Option<Message> {
    let (epoch, last) = std::str::from_utf8(payload).ok()?.strip_prefix("L ")?.split_once(' ')?;
    Some(Message::Level(Cursor { epoch: read_epoch(epoch)?, offset: Offset::new(last.parse().ok()?) }))
}

/// A line for each client: how often, and who; nobody has no name.
pub(super) fn write_clients(mut clients: Connected) -> String {
    // In one order, so that the same clients are the same text.
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

/// The clients of all nodes together, from the text of each.
pub(super) fn read_present(nodes: &[Value]) -> Connected {
    let mut all: HashMap<Option<ClientId>, usize> = HashMap::new();
    for (client, n) in nodes.iter().flat_map(read_clients) {
        let sum = all.entry(client).or_default();
        // What somebody wrote into Redis by hand can be any number.
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
        let Some(Message::Entry { epoch, entry, .. }) =
            pushed(channel.clone(), "E 00000000000a 7 5 1 4 2 4\na\u{e9} c4an\nt2data: E x\n\n".as_bytes())
        else {
            panic!("an event")
        };
        assert_eq!((epoch.bits(), entry.offset.get(), entry.previous.get(), entry.last), (10, 7, 5, true));
        assert_eq!((entry.client.unwrap().as_str(), entry.id.unwrap().as_str()), ("a\u{e9} ", "c4"));
        assert_eq!(&entry.bytes[..], b"2data: E x\n\n");
        let except = Except { client: ClientId::try_from("an").ok(), connection: ConnectionId::try_from("t").ok() };
        assert_eq!(entry.except, Some(except.clone()));
        assert_eq!(exception(&write_exception(Some(&except))), Some(Some(except)));
        let Some(Message::Ephemeral(event)) = pushed(channel.clone(), b"P 3 5\nana\ntab2x: 1\n") else {
            panic!("an ephemeral event")
        };
        assert_eq!((event.client.unwrap().as_str(), &event.bytes[..]), ("ana", &b"x: 1\n"[..]));
        assert_eq!(event.except.unwrap().connection.unwrap().as_str(), "tab2");
        let garbage =
            ["", "E", "E \n", "E x 1 1 0 0 0 0\n", "E a 1 1 0 9 0 0\nx", "E a 1 1 0 1 0 0\n\u{1}x", "C ", "L a 1"];
        let more = ["E a 1 1 0 0 0 1\nx", "E a 1 1 0 0 0\nx", "P \n", "P 0 9\nx", "P 1 0\n\u{1}x", "P 0 2\n\u{1}\nx"];
        for garbage in garbage.into_iter().chain(more) {
            assert!(pushed(channel.clone(), garbage.as_bytes()).is_none(), "{garbage:?}");
        }
        assert!(level(b"L a 1").is_some() && level(b"L a").is_none() && level(b"\xff").is_none());
    }

    #[test]
    fn who_is_connected_is_read_as_it_was_written() {
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
