//! What a transform sends: puts events together to one chunk, and keeps the ids right.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    error::BoxError,
    wire::{
        cursor::Offset,
        encode::{write_lines, write_with_channel},
        encoded::EncodedEvent,
        event::Event,
        name::{CustomId, ForeignId},
    },
};

/// Where a [`Transform`](crate::Transform) puts what the client is to get.
///
/// An event that stands for an event of the subscription, its *source*, takes the source's id, so that a client that
/// reconnects goes on after it. Of several that stand for one source only the last has the id: if the connection breaks
/// between them, the client gets all of them again, and loses none.
///
/// Use sources in the order in which the transform got them. An event for a source that is older than one that was used
/// before has no id, since it would take a client that reconnects back to it.
#[derive(Debug, Default)]
pub struct Output {
    sent: Sent,
    /// In which the events lie one after the other that come next, or nothing.
    chunk: Option<Bytes>,
    /// The last source, and where its last event ends in the bytes.
    last: Option<(Offset, usize)>,
    /// The highest source of all.
    reached: Offset,
    /// What a body without a transform would send.
    notice: Option<Bytes>,
    control: Control,
    shows_channel: bool,
    id_prefix: Option<CustomId>,
}

/// What was sent.
#[derive(Debug, Default)]
enum Sent {
    #[default]
    Nothing,
    /// A single event, as it is.
    Event(Bytes),
    /// A part of the chunk, as it is.
    Part(Range<usize>),
    /// Anything else, copied.
    Copied(Vec<u8>),
}

/// How the body goes on.
#[derive(Debug, Default)]
pub(super) enum Control {
    /// As it would by itself.
    #[default]
    Usual,
    GoOn,
    Finish,
    BreakOff(BoxError),
}

impl Output {
    /// Sends an event as it is: with the bytes that all readers share.
    pub fn pass(&mut self, event: &EncodedEvent) {
        let has_id = !event.is_ephemeral();
        if has_id {
            self.use_source(event);
        }
        let len = match (self.shows_channel, self.id_prefix.is_some() && has_id) {
            (false, false) => self.append(event.as_bytes()),
            (shows_channel, _) => {
                let out = self.copy();
                match shows_channel {
                    true => write_with_channel(out, event.channel(), event.as_bytes()),
                    false => out.extend_from_slice(event.as_bytes()),
                }
                self.prefix_id(has_id)
            }
        };
        if has_id && event.offset() < self.reached {
            strip_id(self.copy(), len);
        } else if has_id {
            (self.last, self.reached) = (Some((event.offset(), len)), event.offset());
        }
    }

    /// Sends `event`, which stands for `source` and takes its id, if it has one: an [ephemeral](crate::Event::ephemeral)
    /// source has none. An id and an idempotency key of its own are not used.
    pub fn replace(&mut self, source: &EncodedEvent, event: Event) {
        let id = source.id_text().filter(|_| source.offset() >= self.reached);
        self.put(source, &event, id);
        let len = self.prefix_id(id.is_some());
        self.set_reached(source, id.map(|_| len));
    }

    /// Does the same as [`replace`](Self::replace), but with an id in the form of another protocol. No
    /// [prefix](Self::prefix_ids) is put before it.
    ///
    /// A client reconnects with this id. The code that opens the subscription then has to know which of the crate's ids it
    /// stands for, for example because it is a [`CustomId`] in another spelling. Some characters force a CORS preflight on
    /// every reconnect of a page from another origin.
    ///
    /// ```
    /// use tower_sse::{EncodedEvent, Event, ForeignId, Output, SseBody, Subscription};
    ///
    /// // A client that reconnects with `urn:events:3fa94c01b2d7-41` resumes after `3fa94c01b2d7-41`.
    /// fn body(subscription: Subscription) -> SseBody {
    ///     SseBody::new(subscription).transform(|event: &EncodedEvent, out: &mut Output| {
    ///         if let Ok(id) = ForeignId::try_from(format!("urn:events:{}", event.id())) {
    ///             out.replace_as(event, Event::text(event.data()), &id);
    ///         }
    ///     })
    /// }
    /// ```
    pub fn replace_as(&mut self, source: &EncodedEvent, event: Event, id: &ForeignId) {
        let id = source.id_text().filter(|_| source.offset() >= self.reached).map(|_| id.as_str());
        self.put(source, &event, id);
        let len = self.copy().len();
        self.set_reached(source, id.map(|_| len));
    }

    fn put(&mut self, source: &EncodedEvent, event: &Event, id: Option<&str>) {
        if id.is_some() {
            self.use_source(source);
        }
        let channel = self.shows_channel.then(|| source.channel());
        let out = self.copy();
        write_lines(out, event, channel);
        if let Some(id) = id {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id.as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    /// Remembers that the bytes up to `end` have the id of an event that stands for this source.
    fn set_reached(&mut self, source: &EncodedEvent, end: Option<usize>) {
        if let Some(end) = end {
            (self.last, self.reached) = (Some((source.offset(), end)), source.offset());
        }
    }

    /// Sends `event` without an id: it leaves the client's last event id as it is. An id and an idempotency key of its
    /// own are not used.
    pub fn send(&mut self, event: Event) {
        let out = self.copy();
        write_lines(out, &event, None);
        out.push(b'\n');
    }

    /// Puts a text before each id from now on, for a protocol whose ids have to name their stream. When a client reconnects
    /// with such an id, remove the text before you open a subscription with the id. By default, there is no text.
    ///
    /// An event that is [passed](Self::pass) is copied then. The ids of notices stay as they are.
    ///
    /// ```
    /// use tower_sse::{CustomId, EncodedEvent, Output, Transform};
    ///
    /// struct Named(CustomId);
    ///
    /// impl Transform for Named {
    ///     fn begin(&mut self, out: &mut Output) {
    ///         out.prefix_ids(self.0.clone()); // Such as `chat-7.`.
    ///     }
    ///
    ///     fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
    ///         events.iter().for_each(|event| out.pass(event));
    ///     }
    /// }
    /// ```
    pub fn prefix_ids(&mut self, prefix: CustomId) {
        self.id_prefix = Some(prefix);
    }

    /// Sends what a body without a transform sends at this point: the `gap` event in [`gap`](crate::Transform::gap), the
    /// `goodbye` event or the `retry:` line in [`end`](crate::Transform::end). In a [strict](crate::SseBody::strict) body
    /// that is nothing.
    pub fn notice(&mut self) {
        if let Some(notice) = self.notice.take() {
            self.append(&notice);
        }
    }

    /// Lets a [strict](crate::SseBody::strict) body go on after a gap, because the client was told of it in some other
    /// way.
    pub fn go_on(&mut self) {
        self.control = Control::GoOn;
    }

    /// Ends the body after what was sent, as one that is complete.
    pub fn finish(&mut self) {
        self.control = Control::Finish;
    }

    /// Breaks the body off after what was sent: over HTTP/1.1 the last chunk is missing, over HTTP/2 the stream is reset.
    /// The server gets `error` as the body's error.
    pub fn break_off(&mut self, error: impl Into<BoxError>) {
        self.control = Control::BreakOff(error.into());
    }

    /// Returns whether nothing was sent since the transform was called.
    pub fn is_empty(&self) -> bool {
        matches!(self.sent, Sent::Nothing)
    }

    pub(super) fn show_channel(&mut self, show: bool) {
        self.shows_channel = show;
    }

    /// Sets what `notice` sends, until the output is taken.
    pub(super) fn set_notice(&mut self, notice: Option<Bytes>) {
        self.notice = notice;
    }

    /// Forgets the sources: what comes may be before them.
    pub(super) fn begin_anew(&mut self) {
        self.reached = Offset::START;
    }

    /// Sets in what the events lie that come next, until the output is taken.
    pub(super) fn set_chunk(&mut self, chunk: &Bytes) {
        self.chunk = Some(chunk.clone()).filter(|chunk| !chunk.is_empty());
    }

    /// A gap is told in another way than by breaking off.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.control, Control::GoOn)
    }

    /// Takes what was sent, and how to go on.
    pub(super) fn take(&mut self) -> (Bytes, Control) {
        (self.last, self.notice) = (None, None);
        let chunk = self.chunk.take();
        let bytes = match (std::mem::take(&mut self.sent), chunk) {
            (Sent::Event(event), _) => event,
            (Sent::Part(part), Some(chunk)) => chunk.slice(part),
            (Sent::Copied(bytes), _) => bytes.into(),
            (Sent::Nothing | Sent::Part(_), _) => Bytes::new(),
        };
        (bytes, std::mem::take(&mut self.control))
    }

    /// Appends whole events, and returns how many bytes there are.
    fn append(&mut self, bytes: &Bytes) -> usize {
        let range = self.chunk.as_ref().and_then(|chunk| range_of(bytes, chunk));
        match (&mut self.sent, range) {
            (Sent::Nothing, None) => self.sent = Sent::Event(bytes.clone()),
            (Sent::Nothing, Some(range)) => self.sent = Sent::Part(range),
            (Sent::Part(part), Some(range)) if part.end == range.start => {
                part.end = range.end;
                return part.len();
            }
            _ => {
                let out = self.copy();
                out.extend_from_slice(bytes);
                return out.len();
            }
        }
        bytes.len()
    }

    /// Puts the prefix before the id of the event that was copied last, if it has one. Returns where the event ends.
    fn prefix_id(&mut self, has_id: bool) -> usize {
        let prefix = self.id_prefix.clone().filter(|_| has_id);
        let out = self.copy();
        if let Some(prefix) = prefix {
            let line = memchr::memrchr(b'\n', &out[..out.len() - 2]).map_or(0, |before| before + 1);
            let at = line + b"id: ".len();
            out.splice(at..at, prefix.as_str().bytes());
        }
        out.len()
    }

    /// The bytes to write to.
    fn copy(&mut self) -> &mut Vec<u8> {
        let copied = match (&mut self.sent, &self.chunk) {
            (Sent::Copied(bytes), _) => std::mem::take(bytes),
            (Sent::Event(event), _) => event.to_vec(),
            (Sent::Part(part), Some(chunk)) => chunk[part.clone()].to_vec(),
            (Sent::Nothing | Sent::Part(_), _) => Vec::new(),
        };
        self.sent = Sent::Copied(copied);
        match &mut self.sent {
            Sent::Copied(bytes) => bytes,
            _ => unreachable!("it was set right before"),
        }
    }

    /// An event that stands for this source comes: one that stands for it already loses its id.
    fn use_source(&mut self, source: &EncodedEvent) {
        if let Some((_, end)) = self.last.take_if(|(offset, _)| *offset == source.offset()) {
            strip_id(self.copy(), end);
        }
    }
}

/// Takes the id out of the event that ends there: the last line before the blank one.
fn strip_id(bytes: &mut Vec<u8>, end: usize) {
    let line = memchr::memrchr(b'\n', &bytes[..end - 2]).map_or(0, |before| before + 1);
    bytes.drain(line..end - 1);
}

/// Where `bytes` lie in `chunk`, if they do.
fn range_of(bytes: &Bytes, chunk: &Bytes) -> Option<Range<usize>> {
    let from = bytes.as_ptr().addr().checked_sub(chunk.as_ptr().addr())?;
    let range = from..from + bytes.len();
    (range.end <= chunk.len()).then_some(range)
}
