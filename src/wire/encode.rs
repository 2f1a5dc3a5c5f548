//! The wire form, written by hand: an [`Event`] becomes its bytes once, whoever reads it.
//!
//! What is written obeys [HTML, 9.2.6 "Interpreting an event stream"][spec]; the clause stands above the lines that
//! obey it. No field is ever written that the standard does not know, and nothing but a whole event ends in a blank line.
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

mod whole;
pub(crate) mod write;

use std::fmt;

use bytes::Bytes;

pub(crate) use self::whole::is_whole;
pub(crate) use self::write::{retry_millis, write_comment, write_empty_event, write_field, write_retry};
use crate::wire::{
    cursor::{Cursor, EventId, Offset},
    event::Event,
    name::{CustomId, IdempotencyKey},
};

/// An event with all of its bytes but the id, which only the log can give. Made outside of any lock.
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// How many bytes it will have with its id, give or take a digit.
    len: usize,
    custom: Option<CustomId>,
    key: Option<Box<IdempotencyKey>>,
}

impl Draft {
    /// `next` is about the offset that it will have: with as many digits, the bytes need no more room than they have.
    pub(crate) fn new(event: Event, next: Offset) -> Self {
        let Event { data, name, id, retry, comment, key } = event;
        let head_len = name.as_ref().map_or(0, |name| "event: \n".len() + name.as_str().len())
            + comment.as_ref().map_or(0, |comment| ": \n".len() + comment.as_str().len())
            + retry.map_or(0, |retry| "retry: \n".len() + retry_millis(retry).to_string().len());
        let len = head_len + data.len() + Self::id_len(id.as_ref(), next);
        // The data's own memory will do, if nothing goes before it and what is too much is not held for long.
        if head_len == 0 && (len..=len + len / 8 + 128).contains(&data.capacity()) {
            return Self { bytes: data, len, custom: id, key };
        }
        let mut out = Vec::with_capacity(len);
        if let Some(comment) = &comment {
            write_comment(&mut out, Some(comment));
        }
        if let Some(retry) = retry {
            write_retry(&mut out, retry);
        }
        if let Some(name) = &name {
            write_field(&mut out, "event", name);
        }
        out.extend_from_slice(&data);
        Self { bytes: out, len, custom: id, key }
    }

    /// One that was stored without its id.
    pub(crate) fn stored(bytes: &[u8], custom: Option<CustomId>, offset: Offset) -> Self {
        let len = bytes.len() + Self::id_len(custom.as_ref(), offset);
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(bytes);
        Self { bytes: out, len, custom, key: None }
    }

    /// What is stored of it: its bytes without the id, and what else there is.
    pub(crate) fn into_parts(self) -> (Bytes, Option<CustomId>, Option<IdempotencyKey>) {
        (self.bytes.into(), self.custom, self.key.map(|key| *key))
    }

    /// How many bytes the id adds, its line and the blank one.
    pub(crate) fn id_len(custom: Option<&CustomId>, offset: Offset) -> usize {
        "id: \n\n".len() + custom.map_or(Cursor::MIN_LEN + digits(offset), |id| id.as_str().len())
    }

    pub(crate) fn take_key(&mut self) -> Option<IdempotencyKey> {
        self.key.take().map(|key| *key)
    }

    /// The application's own id.
    pub(crate) fn custom(&self) -> Option<&CustomId> {
        self.custom.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives it its place in the log. The id comes last: a client that commits an id at its line, and is cut off before
    /// the blank line, would not get the event again.
    pub(crate) fn seal(mut self, cursor: Cursor) -> (EncodedEvent, Option<CustomId>) {
        match &self.custom {
            Some(id) => write_field(&mut self.bytes, "id", id),
            None => write::write_cursor(&mut self.bytes, cursor),
        }
        self.bytes.push(b'\n');
        (EncodedEvent::new(cursor.offset, self.bytes.into()), self.custom)
    }
}

fn digits(offset: Offset) -> usize {
    offset.get().checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// An event's bytes on the wire, made once and shared by all who read it.
///
/// ```
/// # tokio_test(async {
/// use tower_sse::{Event, Publisher};
///
/// let publisher = Publisher::new();
/// publisher.channel("news").send(Event::text("hello")).await?;
/// let held = publisher.channel("news").recent(1);
/// assert_eq!(held[0].data(), "hello");
/// assert!(held[0].as_bytes().starts_with(b"data: hello\nid: "));
/// # Ok::<_, tower_sse::PublishError>(())
/// # });
/// # fn tokio_test<T>(f: impl Future<Output = T>) -> T {
/// #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(f)
/// # }
/// ```
#[derive(Clone)]
pub struct EncodedEvent {
    offset: Offset,
    bytes: Bytes,
}

impl EncodedEvent {
    /// Of bytes that a [`Draft`] has made.
    pub(crate) fn new(offset: Offset, bytes: Bytes) -> Self {
        Self { offset, bytes }
    }

    /// The bytes as they go to every reader: whole lines, with the blank line at the end.
    ///
    /// They may be a part of the memory of several events, at most 32 KiB, which is kept as long as they are: copy what is
    /// to be kept for long.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Its place in the hub's log.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What stands behind `id:`.
    pub fn id(&self) -> EventId {
        // `seal` wrote it: a text that parses.
        self.field("id").and_then(|id| EventId::parse(id.as_bytes())).unwrap_or_else(|| unreachable!())
    }

    /// The name; `None` is what a browser calls `message`.
    pub fn name(&self) -> Option<&str> {
        self.field("event")
    }

    /// The data as a client gets it: its lines joined by LF.
    pub fn data(&self) -> String {
        let mut data = String::with_capacity(self.bytes.len());
        for line in self.fields("data") {
            data.push_str(line);
            data.push('\n');
        }
        data.pop();
        data
    }

    fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.fields(name).next()
    }

    /// The values of the fields of that name, as written above: `name: value`.
    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        text.split('\n').filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl fmt::Debug for EncodedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EncodedEvent").field(&self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::wire::{
        cursor::Epoch,
        name::{Comment, EventName},
    };

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    fn wire(event: Event) -> String {
        let draft = Draft::new(event, CURSOR.offset);
        let len = draft.len();
        let (sealed, _) = draft.seal(CURSOR);
        assert_eq!(sealed.as_bytes().len(), len);
        String::from_utf8(sealed.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn each_field_has_its_line() {
        assert_eq!(wire(Event::text("hello")), "data: hello\nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::default()), "data: \nid: 000000000abc-7\n\n");
        let named = Event::text("x").name(EventName::from_static("agent.token"));
        assert_eq!(wire(named), "event: agent.token\ndata: x\nid: 000000000abc-7\n\n");
        let custom = Event::text("x").id(CustomId::from_static("order-1"));
        assert_eq!(wire(custom), "data: x\nid: order-1\n\n");
        let retry = Event::text("x").retry(Duration::from_millis(1500));
        assert_eq!(wire(retry), "retry: 1500\ndata: x\nid: 000000000abc-7\n\n");
        let comment = Event::text("x").comment(Comment::from_static("seen"));
        assert_eq!(wire(comment), ": seen\ndata: x\nid: 000000000abc-7\n\n");
    }

    #[test]
    fn its_length_is_right_whatever_its_place() {
        for offset in [0, 1, 9, 10, 99, 100, 9_999_999_999, u64::MAX].map(Offset::new) {
            let draft = Draft::new(Event::text("x"), offset);
            let len = draft.len();
            let (sealed, _) = draft.seal(Cursor { offset, ..CURSOR });
            assert_eq!(sealed.as_bytes().len(), len, "{offset}");
        }
    }

    #[test]
    fn what_is_stored_of_a_draft_makes_it_again() {
        let (id, key) = (CustomId::from_static("order-1"), IdempotencyKey::from_static("once"));
        let event = Event::json(&[1, 2]).unwrap().id(id.clone()).idempotency_key(key.clone());
        let mut draft = Draft::new(event.clone(), CURSOR.offset);
        assert_eq!(draft.custom(), Some(&id));
        assert_eq!((draft.take_key(), draft.take_key()), (Some(key.clone()), None));
        let (bytes, custom, stored) = Draft::new(event, CURSOR.offset).into_parts();
        assert_eq!((&bytes[..], &custom, stored), (&b"data: [1,2]\n"[..], &Some(id), Some(key)));
        for custom in [custom, None] {
            let again = Draft::stored(&bytes, custom, CURSOR.offset);
            let len = again.len();
            assert_eq!(again.seal(CURSOR).0.as_bytes().len(), len);
        }
    }

    #[test]
    fn the_fields_are_in_this_order_and_the_id_is_last() {
        let event = Event::text("one\ntwo")
            .id(CustomId::from_static("order-1"))
            .name(EventName::from_static("news"))
            .comment(Comment::from_static("seen"))
            .retry(Duration::from_secs(2));
        assert_eq!(wire(event), ": seen\nretry: 2000\nevent: news\ndata: one\ndata: two\nid: order-1\n\n");
    }

    #[test]
    fn every_line_ending_starts_a_line_with_its_space() {
        assert_eq!(wire(Event::text("a\nb\rc\r\nd")), "data: a\ndata: b\ndata: c\ndata: d\nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text("\n")), "data: \ndata: \nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text(" a\r\r")), "data:  a\ndata: \ndata: \nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text("a\n\rb")), "data: a\ndata: \ndata: b\nid: 000000000abc-7\n\n");
    }

    #[test]
    fn a_retry_is_never_longer_than_the_timers_of_clients_take() {
        let most = Duration::from_millis(0x7fff_ffff);
        for long in [most, most + Duration::from_millis(1), Duration::from_millis(u32::MAX.into()), Duration::MAX] {
            assert!(wire(Event::text("").retry(long)).starts_with("retry: 2147483647\n"), "{long:?}");
        }
        assert!(wire(Event::text("").retry(Duration::from_micros(999))).starts_with("retry: 0\n"));
    }

    #[test]
    fn an_encoded_event_can_be_read_back() {
        let event = Event::text("id: 1\nevent: x\n").name(EventName::from_static("news"));
        let (sealed, _) = Draft::new(event, CURSOR.offset).seal(CURSOR);
        assert_eq!((sealed.name(), sealed.data().as_str()), (Some("news"), "id: 1\nevent: x\n"));
        assert_eq!(sealed.id(), CURSOR.into());
        assert_eq!(sealed.offset(), CURSOR.offset);
    }
}
