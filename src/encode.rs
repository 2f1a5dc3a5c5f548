//! The wire form, written by hand: an [`Event`] becomes its bytes once, whoever reads it.
//!
//! What is written obeys [HTML, 9.2.6 "Interpreting an event stream"][spec]; the clause stands above the lines that
//! obey it. No field is ever written that the standard does not know, and nothing but a whole event ends in a blank line.
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::{
    fmt::{self, Write as _},
    io,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    cursor::{Cursor, EventId, Offset},
    event::Event,
    name::{Comment, CustomId},
};

/// Room for the `id:` line of a cursor and the blank line.
const ID_ROOM: usize = "id: 0123456789ab-18446744073709551615\n\n".len();

/// Writes data as `data:` lines, in as many pieces as it comes in.
pub(crate) struct DataWriter {
    out: Vec<u8>,
    /// The last byte was a CR: a LF that follows belongs to it, even in the next piece.
    after_cr: bool,
}

impl DataWriter {
    /// For `len` bytes of data in one line; more lines grow it.
    pub(crate) fn with_capacity(len: usize) -> Self {
        let mut out = Vec::with_capacity("data: \n".len() + len);
        // "If value starts with a U+0020 SPACE character, remove it from value": so one is always written, and data
        // that begins with a space keeps its own.
        out.extend_from_slice(b"data: ");
        Self { out, after_cr: false }
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        if std::mem::take(&mut self.after_cr) && piece[0] == b'\n' {
            piece = &piece[1..];
        }
        // "Lines must be separated by either a U+000D CARRIAGE RETURN U+000A LINE FEED (CRLF) character pair, a single
        // U+000A LINE FEED (LF) character, or a single U+000D CARRIAGE RETURN (CR) character": so each of them ends one
        // `data:` line here, or what follows it could pass for a field of its own.
        while let Some(at) = memchr::memchr2(b'\r', b'\n', piece) {
            self.out.extend_from_slice(&piece[..at]);
            self.out.extend_from_slice(b"\ndata: ");
            let cr = piece[at] == b'\r';
            piece = &piece[at + 1..];
            match piece.first() {
                Some(b'\n') if cr => piece = &piece[1..],
                None => self.after_cr = cr,
                _ => {}
            }
        }
        self.out.extend_from_slice(piece);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'\n');
        self.out
    }
}

impl io::Write for DataWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.push(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event with all of its bytes but the id, which only the log can give. Made outside of any lock.
pub(crate) struct Draft {
    bytes: Vec<u8>,
    pub(crate) custom: Option<CustomId>,
}

impl Draft {
    pub(crate) fn new(event: Event) -> Self {
        let Event { data, name, id, retry, comment } = event;
        let id_room = id.as_ref().map_or(ID_ROOM, |id| "id: \n\n".len() + id.as_str().len());
        let head_room = name.as_ref().map_or(0, |name| "event: \n".len() + name.as_str().len())
            + comment.as_ref().map_or(0, |comment| ": \n".len() + comment.as_str().len())
            + retry.map_or(0, |_| "retry: 4294967295\n".len());
        let mut out = Vec::with_capacity(head_room + data.len() + id_room);
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
        Self { bytes: out, custom: id }
    }

    /// How many bytes it has on the wire, with its id.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.custom.as_ref().map_or(ID_ROOM, |id| "id: \n\n".len() + id.as_str().len())
    }

    /// Gives it its place in the log. The id comes last: a client that commits an id at its line, and is cut off before
    /// the blank line, would not get the event again.
    pub(crate) fn seal(mut self, cursor: Cursor) -> EncodedEvent {
        match &self.custom {
            Some(id) => write_field(&mut self.bytes, "id", id),
            None => write_cursor(&mut self.bytes, cursor),
        }
        self.bytes.push(b'\n');
        EncodedEvent { offset: cursor.offset, custom: self.custom, bytes: self.bytes.into() }
    }
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
    custom: Option<CustomId>,
    bytes: Bytes,
}

impl EncodedEvent {
    /// The bytes as they go to every reader: whole lines, with the blank line at the end.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its place in the hub's log.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What stands behind `id:`.
    pub fn id(&self) -> EventId {
        match &self.custom {
            Some(id) => id.clone().into(),
            // `seal` wrote it: a text that parses.
            None => self.field("id").and_then(|id| EventId::parse(id.as_bytes())).unwrap_or_else(|| unreachable!()),
        }
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

    pub(crate) fn custom(&self) -> Option<&CustomId> {
        self.custom.as_ref()
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

/// Writes the `id:` line of a cursor, as its `Display` has it. By hand: it happens under the channel's lock.
fn write_cursor(out: &mut Vec<u8>, cursor: Cursor) {
    out.extend_from_slice(b"id: ");
    out.extend((0..12).rev().map(|digit| HEX[(cursor.epoch.bits() >> (4 * digit) & 0xf) as usize]));
    out.push(b'-');
    let (mut digits, mut at, mut rest) = ([0; 20], 20, cursor.offset.get());
    loop {
        at -= 1;
        digits[at] = HEX[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.push(b'\n');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `name: value`. The value is one of the validated texts or a number: it has no line ending.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &str, value: impl fmt::Display) {
    write_line(out, format_args!("{name}: {value}"));
}

/// "If the field name is "retry": if the field value consists of only ASCII digits, then interpret the field value as an
/// integer in base ten, and set the event stream's reconnection time to that integer." In milliseconds; clients hold it
/// in 32 bits. It counts as soon as its line is read, with no event around it.
pub(crate) fn write_retry(out: &mut Vec<u8>, after: Duration) {
    write_field(out, "retry", u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
}

/// "If the line starts with a U+003A COLON character (:), ignore the line."
pub(crate) fn write_comment(out: &mut Vec<u8>, comment: Option<&Comment>) {
    match comment {
        Some(comment) => write_line(out, format_args!(": {comment}")),
        None => out.extend_from_slice(b":\n"),
    }
}

fn write_line(out: &mut Vec<u8>, line: fmt::Arguments<'_>) {
    struct Out<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Out<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // A `Vec` takes all, and the `Display`s that are written here don't fail.
    let _ = Out(out).write_fmt(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cursor::Epoch, name::EventName};

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    fn wire(event: Event) -> String {
        let draft = Draft::new(event);
        let len = draft.len();
        let sealed = draft.seal(CURSOR);
        assert!(sealed.as_bytes().len() <= len);
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
    fn a_retry_that_is_too_long_is_the_longest() {
        assert!(wire(Event::text("").retry(Duration::MAX)).starts_with("retry: 4294967295\n"));
        assert!(wire(Event::text("").retry(Duration::from_micros(999))).starts_with("retry: 0\n"));
    }

    fn in_pieces(pieces: &[&str]) -> String {
        let mut lines = DataWriter::with_capacity(0);
        pieces.iter().for_each(|piece| lines.push(piece.as_bytes()));
        String::from_utf8(lines.finish()).unwrap()
    }

    #[test]
    fn data_is_the_same_in_whatever_pieces_it_comes() {
        // Every text of six out of these, cut at every two places.
        let letters = ['\r', '\n', 'x'];
        for n in 0..3_usize.pow(6) {
            let text: String = (0..6).map(|place| letters[n / 3_usize.pow(place) % 3]).collect();
            let whole = in_pieces(&[&text]);
            for one in 0..=6 {
                for two in one..=6 {
                    let pieces = [&text[..one], "", &text[one..two], &text[two..]];
                    assert_eq!(in_pieces(&pieces), whole, "{pieces:?}");
                }
            }
        }
    }

    #[test]
    fn an_encoded_event_can_be_read_back() {
        let event = Event::text("id: 1\nevent: x\n").name(EventName::from_static("news"));
        let sealed = Draft::new(event).seal(CURSOR);
        assert_eq!((sealed.name(), sealed.data().as_str()), (Some("news"), "id: 1\nevent: x\n"));
        assert_eq!(sealed.id(), CURSOR.into());
        assert_eq!(sealed.offset(), CURSOR.offset);
    }

    #[test]
    fn a_cursor_written_by_hand_is_as_it_is_displayed() {
        for bits in [0, 1, 0xffff_ffff_ffff, 0x0123_4567_89ab] {
            for offset in [0, 1, 9, 10, 4_294_967_296, u64::MAX] {
                let cursor = Cursor { epoch: Epoch::from_bits(bits), offset: Offset::new(offset) };
                let mut out = Vec::new();
                write_cursor(&mut out, cursor);
                assert_eq!(String::from_utf8(out).unwrap(), format!("id: {cursor}\n"));
            }
        }
    }
}
