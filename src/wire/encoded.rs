//! An event as an application sees it: its bytes on the wire, and what they say.

use std::fmt;

use bytes::Bytes;

use super::{
    cursor::{Cursor, Epoch, EventId, Offset},
    encode::{Sealed, TRACE},
    name::ChannelName,
    traceparent::TraceParent,
};

/// An event's bytes on the wire, encoded once and shared by all readers.
///
/// ```
/// # tokio_test(async {
/// use tower_sse::{Event, Publisher};
///
/// let publisher = Publisher::new();
/// publisher.channel("news").send(Event::text("hello")).await?;
/// let held = publisher.channel("news").recent(1);
/// assert_eq!(held[0].data(), "hello");
/// assert_eq!(*held[0].channel(), "news");
/// assert!(held[0].as_bytes().starts_with(b"data: hello\nid: "));
/// # Ok::<_, tower_sse::PublishError>(())
/// # });
/// # fn tokio_test<T>(f: impl Future<Output = T>) -> T {
/// #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(f)
/// # }
/// ```
#[derive(Clone)]
pub struct EncodedEvent {
    channel: ChannelName,
    /// The epoch of the offset.
    epoch: Epoch,
    sealed: Sealed,
}

impl EncodedEvent {
    pub(crate) fn new(channel: ChannelName, epoch: Epoch, sealed: Sealed) -> Self {
        Self { channel, epoch, sealed }
    }

    #[cfg(feature = "runs")]
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, offset: self.offset() }
    }

    /// Returns an event with other bytes at the same position.
    #[cfg(feature = "runs")]
    pub(crate) fn with_bytes(&self, bytes: Bytes) -> Self {
        Self { sealed: Sealed::new(self.offset(), bytes), ..self.clone() }
    }

    /// Returns the bytes as every reader gets them: whole lines, with the blank line at the end.
    ///
    /// The bytes may be a slice of memory shared by several events, at most 32 KiB, which stays allocated as long as
    /// the slice does. Copy the bytes if you keep them for long.
    pub fn as_bytes(&self) -> &Bytes {
        self.sealed.as_bytes()
    }

    /// Returns the name of the channel that the event was published to.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Returns the event's position in the hub's log. For an [ephemeral](crate::Event::ephemeral) event, this is the
    /// position of the reader that gets it.
    pub fn offset(&self) -> Offset {
        self.sealed.offset()
    }

    /// Returns the id: the value of the `id:` line. An [ephemeral](crate::Event::ephemeral) event has no such line, and
    /// this is the id with which its reader resumes: that of the position of the event before it.
    pub fn id(&self) -> EventId {
        let id = self.id_text().and_then(|text| EventId::parse(text.as_bytes()));
        id.unwrap_or_else(|| Cursor { epoch: self.epoch, offset: self.offset() }.into())
    }

    /// Returns whether the event is [ephemeral](crate::Event::ephemeral), so that it is not history and has no `id:` line.
    pub fn is_ephemeral(&self) -> bool {
        !self.last_line().is_some_and(|line| line.starts_with(b"id: "))
    }

    /// The value of the `id:` line, if there is one. It comes last, before the blank line.
    pub(crate) fn id_text(&self) -> Option<&str> {
        std::str::from_utf8(self.last_line()?.strip_prefix(b"id: ")?).ok()
    }

    /// The last line before the blank line, which is that of the id, if there is one.
    fn last_line(&self) -> Option<&[u8]> {
        let lines = self.as_bytes().strip_suffix(b"\n\n")?;
        Some(memchr::memrchr(b'\n', lines).map_or(lines, |end| &lines[end + 1..]))
    }

    /// Returns the event's name. Without a name (`None`), a browser calls the event `message`.
    pub fn name(&self) -> Option<&str> {
        self.field("event")
    }

    /// Returns the event's comment, if it has one. Clients skip it.
    pub fn comment(&self) -> Option<&str> {
        self.fields("").find(|comment| read_trace(comment).is_none())
    }

    /// Returns the trace in which the event was [published](crate::Event::traceparent), if it says one.
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.fields("").find_map(read_trace)
    }

    /// Returns a copy of the data as a client gets it: its lines joined by LF.
    pub fn data(&self) -> String {
        let mut data = String::with_capacity(self.as_bytes().len());
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

    /// The values of all fields with that name, in the form that the encoder writes: `name: value`.
    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let text = std::str::from_utf8(self.as_bytes()).unwrap_or_default();
        text.split('\n').filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Reads the comment that says an event's trace.
fn read_trace(comment: &str) -> Option<TraceParent> {
    comment.strip_prefix(&TRACE[": ".len()..])?.parse().ok()
}

/// Without the data, which may be confidential, as that of [`Event`](crate::Event).
impl fmt::Debug for EncodedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedEvent")
            .field("channel", &self.channel)
            .field("offset", &self.offset())
            .field("name", &self.name())
            .field("comment", &self.comment())
            .field("len", &self.as_bytes().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        encode::Draft,
        event::Event,
        name::{Comment, EventName},
    };

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    fn encoded(event: Event) -> EncodedEvent {
        let (sealed, _) = Draft::new(event, CURSOR.offset).seal(CURSOR);
        EncodedEvent::new(ChannelName::from_static("news"), CURSOR.epoch, sealed)
    }

    #[test]
    fn an_encoded_event_can_be_read_back() {
        let event = Event::text("id: 1\nevent: x\n: no comment\n").name(EventName::from_static("news"));
        let encoded = encoded(event.comment(Comment::from_static("seen: it")));
        assert_eq!((encoded.name(), encoded.comment()), (Some("news"), Some("seen: it")));
        assert_eq!(encoded.data(), "id: 1\nevent: x\n: no comment\n");
        assert_eq!((encoded.id(), encoded.offset()), (CURSOR.into(), CURSOR.offset));
        assert!(!encoded.is_ephemeral());
        assert_eq!(*encoded.channel(), "news");
    }

    #[test]
    fn a_trace_is_told_from_a_comment() {
        let (trace, seen) = (TraceParent::new(1, 2, true).unwrap(), Comment::from_static("seen"));
        let told = |event: Event| (encoded(event.clone()).comment().map(str::to_owned), encoded(event).traceparent());
        assert_eq!(told(Event::text("x").traceparent(trace)), (None, Some(trace)));
        assert_eq!(told(Event::text("x").comment(seen.clone())), (Some("seen".into()), None));
        assert_eq!(told(Event::text("x").traceparent(trace).comment(seen)), (Some("seen".into()), Some(trace)));
        let other = Comment::from_static("traceparent=mine");
        assert_eq!(told(Event::text("x").comment(other)), (Some("traceparent=mine".into()), None));
        assert_eq!(told(Event::text(format!("\n: traceparent={trace}"))), (None, None));
    }

    #[test]
    fn debug_does_not_show_the_data() {
        let event = Event::text("secret").name(EventName::from_static("token"));
        let shown = format!("{:?} {:?}", event, encoded(event.clone()));
        assert!(shown.contains("token") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn an_event_has_no_name_and_no_comment_unless_it_was_given_one() {
        let encoded = encoded(Event::text(": x\n:\n"));
        assert_eq!((encoded.name(), encoded.comment()), (None, None));
    }
}
