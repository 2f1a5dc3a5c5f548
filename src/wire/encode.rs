//! The wire format, written by hand. An [`Event`] becomes its bytes once, however many readers it has.
//!
//! The output obeys [HTML, 9.2.6 "Interpreting an event stream"][spec]; each clause is quoted above the lines that obey
//! it. The encoder writes only fields that the standard knows, and only whole events end in a blank line.
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

mod channel;
mod whole;
pub(crate) mod write;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::channel::write_with_channel;
pub(crate) use self::whole::is_whole;
pub(crate) use self::write::{retry_millis, write_comment, write_empty_event, write_field, write_retry};
use crate::wire::{
    cursor::{Cursor, Offset},
    event::{Event, Rare},
    except::Except,
    name::{ChannelName, Comment, CustomId, IdempotencyKey},
    traceparent::TraceParent,
};

/// An event with all of its bytes except the id, which only the log can assign. Drafts are made outside of any lock.
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// The event's length in bytes with its id, give or take a digit.
    len: usize,
    custom: Option<CustomId>,
    rare: Option<Box<Rare>>,
}

impl Draft {
    /// Encodes `event`. `next` is roughly the offset that the event will get: if the real one has as many digits, the
    /// bytes need no more room than is allocated here.
    pub(crate) fn new(event: Event, next: Offset) -> Self {
        let (head_len, trace) = (head_len(&event), event.trace());
        let Event { data, name, id, retry, comment, rare } = event;
        let len = head_len + data.len() + Self::id_len(id.as_ref(), next);
        // Reuse the data's own memory if nothing goes before it and if its spare capacity is too small to matter while
        // it is held.
        if head_len == 0 && (len..=len + len / 8 + 128).contains(&data.capacity()) {
            return Self { bytes: data, len, custom: id, rare };
        }
        let mut out = Vec::with_capacity(len);
        write_head(&mut out, comment.as_ref(), trace, retry);
        if let Some(name) = &name {
            write_field(&mut out, "event", name);
        }
        out.extend_from_slice(&data);
        Self { bytes: out, len, custom: id, rare }
    }

    /// Rebuilds a draft from bytes that were stored without an id.
    pub(crate) fn stored(bytes: &[u8], custom: Option<CustomId>, offset: Offset) -> Self {
        let len = bytes.len() + Self::id_len(custom.as_ref(), offset);
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(bytes);
        Self { bytes: out, len, custom, rare: None }
    }

    /// Splits the draft into what is stored besides the key: the bytes without the id, and the custom id.
    pub(crate) fn into_parts(self) -> (Bytes, Option<CustomId>) {
        (self.bytes.into(), self.custom)
    }

    /// How many bytes the id adds: its line and the blank line.
    pub(crate) fn id_len(custom: Option<&CustomId>, offset: Offset) -> usize {
        "id: \n\n".len() + custom.map_or(Cursor::MIN_LEN + digits(offset), |id| id.as_str().len())
    }

    pub(crate) fn take_key(&mut self) -> Option<IdempotencyKey> {
        self.rare.as_mut()?.key.take()
    }

    /// It is not to be kept.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_ephemeral)
    }

    /// Completes an event that has no place in the log, and so no id.
    pub(crate) fn seal_ephemeral(mut self) -> Bytes {
        self.bytes.push(b'\n');
        self.bytes.into()
    }

    /// Whom the event is not for.
    pub(crate) fn except(&self) -> Option<&Except> {
        self.rare.as_ref()?.except.as_deref()
    }

    pub(crate) fn take_except(&mut self) -> Option<Box<Except>> {
        self.rare.as_mut()?.except.take()
    }

    /// The application's own id.
    pub(crate) fn custom(&self) -> Option<&CustomId> {
        self.custom.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives the event its place in the log. The id comes last: a client that commits an id as soon as it reads its
    /// line would not get the event again if the connection broke before the blank line.
    pub(crate) fn seal(mut self, cursor: Cursor) -> (Sealed, Option<CustomId>) {
        match &self.custom {
            Some(id) => write_field(&mut self.bytes, "id", id),
            None => write::write_cursor(&mut self.bytes, cursor),
        }
        self.bytes.push(b'\n');
        (Sealed::new(cursor.offset, self.bytes.into()), self.custom)
    }
}

/// How many bytes go before an event's data.
fn head_len(event: &Event) -> usize {
    event.name.as_ref().map_or(0, |name| "event: \n".len() + name.as_str().len())
        + event.comment.as_ref().map_or(0, |comment| ": \n".len() + comment.as_str().len())
        + event.trace().map_or(0, |_| TRACE.len() + TraceParent::LEN + 1)
        + event.retry.map_or(0, |retry| "retry: \n".len() + retry_millis(retry).to_string().len())
}

/// What the comment begins with that says an event's trace. The standard has no field for it, and clients skip comments:
/// "If the line starts with a U+003A COLON character (:), ignore the line."
pub(crate) const TRACE: &str = ": traceparent=";

fn write_head(out: &mut Vec<u8>, comment: Option<&Comment>, trace: Option<TraceParent>, retry: Option<Duration>) {
    if let Some(comment) = comment {
        write_comment(out, Some(comment));
    }
    if let Some(trace) = trace {
        out.extend_from_slice(format!("{TRACE}{trace}\n").as_bytes());
    }
    if let Some(retry) = retry {
        write_retry(out, retry);
    }
}

/// Writes the lines of an event that is made for one reader, without its id and the blank line. The event's name goes on
/// the wire as the name of `channel`'s event of that name, if there is a `channel`.
pub(crate) fn write_lines(out: &mut Vec<u8>, event: &Event, channel: Option<&ChannelName>) {
    write_head(out, event.comment.as_ref(), event.trace(), event.retry);
    match (channel, &event.name) {
        (Some(channel), name) => channel::write_name(out, channel, name.as_ref().map(|name| name.as_str())),
        (None, Some(name)) => write_field(out, "event", name),
        (None, None) => {}
    }
    out.extend_from_slice(&event.data);
}

fn digits(offset: Offset) -> usize {
    offset.get().checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// An event's bytes on the wire, encoded once and shared by the log and all readers, and its place in the log. What
/// an application gets to see of it is an [`EncodedEvent`](super::encoded::EncodedEvent).
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    offset: Offset,
    bytes: Bytes,
}

impl Sealed {
    /// Wraps bytes that a [`Draft`] made.
    pub(crate) fn new(offset: Offset, bytes: Bytes) -> Self {
        Self { offset, bytes }
    }

    /// The bytes as every reader gets them: whole lines, with the blank line at the end.
    pub(crate) fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The event's position in the hub's log.
    pub(crate) fn offset(&self) -> Offset {
        self.offset
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
    fn each_field_gets_its_own_line() {
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
    fn a_trace_is_a_comment_after_that_of_the_application() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = |event: Event| wire(event.traceparent(trace.parse().unwrap()));
        let lines = format!(": traceparent={trace}\ndata: x\nid: 000000000abc-7\n\n");
        assert_eq!(traced(Event::text("x")), lines);
        assert_eq!(traced(Event::text("x").comment(Comment::from_static("seen"))), format!(": seen\n{lines}"));
    }

    #[test]
    fn a_drafts_length_is_exact_at_any_offset() {
        for offset in [0, 1, 9, 10, 99, 100, 9_999_999_999, u64::MAX].map(Offset::new) {
            let draft = Draft::new(Event::text("x"), offset);
            let len = draft.len();
            let (sealed, _) = draft.seal(Cursor { offset, ..CURSOR });
            assert_eq!(sealed.as_bytes().len(), len, "{offset}");
        }
    }

    #[test]
    fn a_draft_is_rebuilt_from_its_stored_parts() {
        let (id, key) = (CustomId::from_static("order-1"), IdempotencyKey::from_static("once"));
        let event = Event::json(&[1, 2]).unwrap().id(id.clone()).idempotency_key(key.clone());
        let mut draft = Draft::new(event.clone(), CURSOR.offset);
        assert_eq!(draft.custom(), Some(&id));
        assert_eq!((draft.take_key(), draft.take_key()), (Some(key.clone()), None));
        let (bytes, custom) = Draft::new(event, CURSOR.offset).into_parts();
        assert_eq!((&bytes[..], &custom), (&b"data: [1,2]\n"[..], &Some(id)));
        for custom in [custom, None] {
            let again = Draft::stored(&bytes, custom, CURSOR.offset);
            let len = again.len();
            assert_eq!(again.seal(CURSOR).0.as_bytes().len(), len);
        }
    }

    #[test]
    fn fields_have_a_fixed_order_with_the_id_last() {
        let event = Event::text("one\ntwo")
            .id(CustomId::from_static("order-1"))
            .name(EventName::from_static("news"))
            .comment(Comment::from_static("seen"))
            .retry(Duration::from_secs(2));
        assert_eq!(wire(event), ": seen\nretry: 2000\nevent: news\ndata: one\ndata: two\nid: order-1\n\n");
    }

    #[test]
    fn every_line_ending_starts_a_new_data_line() {
        assert_eq!(wire(Event::text("a\nb\rc\r\nd")), "data: a\ndata: b\ndata: c\ndata: d\nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text("\n")), "data: \ndata: \nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text(" a\r\r")), "data:  a\ndata: \ndata: \nid: 000000000abc-7\n\n");
        assert_eq!(wire(Event::text("a\n\rb")), "data: a\ndata: \ndata: b\nid: 000000000abc-7\n\n");
    }

    #[test]
    fn a_retry_never_exceeds_what_client_timers_accept() {
        let most = Duration::from_millis(0x7fff_ffff);
        for long in [most, most + Duration::from_millis(1), Duration::from_millis(u32::MAX.into()), Duration::MAX] {
            assert!(wire(Event::text("").retry(long)).starts_with("retry: 2147483647\n"), "{long:?}");
        }
        assert!(wire(Event::text("").retry(Duration::from_micros(999))).starts_with("retry: 0\n"));
    }
}
