//! The file's format: records, each of which is a line of numbers followed by texts whose lengths the line ends with.

use std::{
    fs::File,
    io::{self, BufRead, Write as _},
    time::{Duration, SystemTime},
};

use tower_sse::{
    ChannelName, Epoch, Offset, Retention,
    backend::{Append, Except, NewEvent},
};

pub enum Record {
    /// A new epoch: all records before it are void.
    Epoch(Epoch),
    /// Events in one record, so that all of them are written or none; with the offset of the first.
    Append {
        offset: u64,
        at: SystemTime,
        append: Append,
    },
    Close(ChannelName),
}

impl Record {
    pub fn write(&self, file: &mut File) -> io::Result<()> {
        match self {
            Record::Epoch(epoch) => write(file, "epoch", &[], &[epoch.to_string().as_bytes()]),
            Record::Close(channel) => write(file, "close", &[], &[channel.as_str().as_bytes()]),
            Record::Append { offset, append, .. } => Self::write_append(file, Offset::new(*offset), append),
        }
    }

    pub fn write_append(file: &mut File, offset: Offset, append: &Append) -> io::Result<()> {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let retention = append.retention.unwrap_or_default();
        let numbers = [
            u128::from(offset.get()),
            at.as_millis(),
            u128::from(append.last),
            retention.max_events() as u128,
            retention.max_bytes() as u128,
            retention.max_age().as_millis(),
            retention.max_lag() as u128,
            // 0 if it is not set.
            retention.max_age_after_finish().map_or(0, |age| age.as_millis() + 1),
        ];
        let fence = append.fence.map(|fence| fence.to_string()).unwrap_or_default();
        let mut texts = vec![append.channel.as_str().as_bytes(), fence.as_bytes()];
        let exceptions: Vec<_> = append.events.iter().map(|event| exception(event.except.as_ref())).collect();
        for (NewEvent { client, id, key, bytes, .. }, except) in append.events.iter().zip(&exceptions) {
            let client = client.as_ref().map_or("", |client| client.as_str());
            let id = id.as_ref().map_or("", |id| id.as_str());
            let key = key.as_ref().map_or("", |key| key.as_str());
            texts.extend([client.as_bytes(), id.as_bytes(), key.as_bytes(), except.as_bytes(), bytes]);
        }
        write(file, "append", &numbers, &texts)
    }

    /// The next record and its length; `None` at the end, or if the last record was cut off.
    pub fn read(file: &mut impl BufRead) -> Option<(Self, u64)> {
        let mut line = String::new();
        file.read_line(&mut line).ok()?;
        let mut words = line.strip_suffix('\n')?.split(' ');
        let (kind, count) = (words.next()?, words.next()?.parse::<usize>().ok()?);
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(words.next()?.parse::<u64>().ok()?);
        }
        let (mut texts, mut len) = (Vec::new(), line.len());
        for word in words {
            let mut text = vec![0; word.parse().ok()?];
            file.read_exact(&mut text).ok()?;
            len += text.len();
            texts.push(String::from_utf8(text).ok()?);
        }
        let mut end = [0];
        file.read_exact(&mut end).ok()?;
        Some((Self::of(kind, &numbers, texts)?, len as u64 + 1))
    }

    fn of(kind: &str, numbers: &[u64], texts: Vec<String>) -> Option<Self> {
        let mut texts = texts.into_iter();
        let first = texts.next()?;
        match (kind, numbers) {
            ("append", &[offset, at, last, events, bytes, age, lag, after]) => {
                let mut retention = Retention::new()
                    .events(usize::try_from(events).ok()?)
                    .bytes(usize::try_from(bytes).ok()?)
                    .age(Duration::from_millis(age))
                    .lag(usize::try_from(lag).ok()?);
                if let Some(after) = after.checked_sub(1) {
                    retention = retention.after_finish(Duration::from_millis(after));
                }
                let (fence, mut events) = (texts.next()?, Vec::new());
                while let Some(client) = texts.next() {
                    let (id, key, except, data) = (texts.next()?, texts.next()?, texts.next()?, texts.next()?);
                    let mut event = NewEvent::new(data.into());
                    (event.client, event.id, event.key) = (given(client)?, given(id)?, given(key)?);
                    event.except = except_of(&except)?;
                    events.push(event);
                }
                let mut append = Append::new(ChannelName::try_from(first).ok()?, events, retention);
                append.last = last == 1;
                append.fence = if fence.is_empty() { None } else { Some(fence.parse().ok()?) };
                Some(Record::Append { offset, at: SystemTime::UNIX_EPOCH + Duration::from_millis(at), append })
            }
            ("epoch", []) => Some(Record::Epoch(Epoch::from_bits(u64::from_str_radix(&first, 16).ok()?))),
            ("close", []) => Some(Record::Close(ChannelName::try_from(first).ok()?)),
            _ => None,
        }
    }
}

/// The client and the connection that an event is not for, in two lines; nothing if there is neither.
fn exception(except: Option<&Except>) -> String {
    let Some(except) = except else { return String::new() };
    let (client, connection) = (except.client.as_ref(), except.connection.as_ref());
    format!("{}\n{}", client.map_or("", |id| id.as_str()), connection.map_or("", |id| id.as_str()))
}

fn except_of(text: &str) -> Option<Option<Except>> {
    let Some((client, connection)) = text.split_once('\n') else { return Some(None) };
    let mut except = Except::default();
    (except.client, except.connection) = (given(client.to_owned())?, given(connection.to_owned())?);
    Some(Some(except))
}

/// An empty text stands for `None`.
fn given<T: TryFrom<String>>(text: String) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { T::try_from(text).ok().map(Some) }
}

/// Writes in one call, so that only the end of a record can be cut off.
fn write(file: &mut File, kind: &str, numbers: &[u128], texts: &[&[u8]]) -> io::Result<()> {
    let mut record = format!("{kind} {}", numbers.len()).into_bytes();
    for number in numbers.iter().copied().chain(texts.iter().map(|text| text.len() as u128)) {
        write!(record, " {}", number.min(u128::from(u64::MAX)))?;
    }
    record.push(b'\n');
    texts.iter().for_each(|text| record.extend_from_slice(text));
    record.push(b'\n');
    let whole = file.metadata()?.len();
    // Otherwise no record after a partial one could be read.
    file.write_all(&record).inspect_err(|_| _ = file.set_len(whole))
}
