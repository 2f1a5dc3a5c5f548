//! Writes the lines that everything on the wire consists of: data, fields, comments.

use std::{
    fmt::{self, Write as _},
    io,
    time::Duration,
};

use crate::wire::{
    cursor::Cursor,
    name::{Comment, EventName},
};

/// The room that a log-assigned id and the end of an event take.
const ID_ROOM: usize = "id: 0123456789ab-18446744073709551615\n\n".len();

/// Writes data as `data:` lines. The data may arrive in any number of pieces.
pub(crate) struct DataWriter {
    out: Vec<u8>,
    /// Whether the last byte was a CR: an LF that follows belongs to it, even in the next piece.
    after_cr: bool,
}

impl DataWriter {
    /// Allocates for `len` bytes of data in one line; the buffer grows if there are more lines. The capacity includes
    /// room for an id, so that most events are encoded with a single allocation.
    pub(crate) fn with_capacity(len: usize) -> Self {
        let mut out = Vec::with_capacity("data: \n".len() + len + ID_ROOM);
        // "If value starts with a U+0020 SPACE character, remove it from value": one space is always written, so that
        // data that begins with a space keeps its own.
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
        // U+000A LINE FEED (LF) character, or a single U+000D CARRIAGE RETURN (CR) character": each of them ends a
        // `data:` line here; otherwise the text after it could pass for a field of its own.
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

/// Writes a cursor's `id:` line, with the same text as its `Display`. It is written by hand because it happens under
/// the channel's lock.
pub(super) fn write_cursor(out: &mut Vec<u8>, cursor: Cursor) {
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

/// Writes `name: value`. The value is a validated text or a number, so it contains no line ending.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &str, value: impl fmt::Display) {
    write_line(out, format_args!("{name}: {value}"));
}

/// Writes a reconnection time: "If the field name is "retry": if the field value consists of only ASCII digits, then
/// interpret the field value as an integer in base ten, and set the event stream's reconnection time to that integer."
/// It is in milliseconds, at most [`MAX_RETRY`]. A client applies it as soon as it reads the line, without an event
/// around it.
pub(crate) fn write_retry(out: &mut Vec<u8>, after: Duration) {
    write_field(out, "retry", retry_millis(after));
}

/// The longest reconnection time, in milliseconds: about 24 days. A client that waits with JavaScript's `setTimeout`
/// holds the time in a signed 32-bit integer, and does not wait at all if it is longer.
pub(crate) const MAX_RETRY: u32 = i32::MAX.unsigned_abs();

/// Converts a reconnection time to the number that goes on the wire.
pub(crate) fn retry_millis(after: Duration) -> u32 {
    u32::try_from(after.as_millis()).map_or(MAX_RETRY, |millis| millis.min(MAX_RETRY))
}

/// Writes a comment: "If the line starts with a U+003A COLON character (:), ignore the line."
pub(crate) fn write_comment(out: &mut Vec<u8>, comment: Option<&Comment>) {
    match comment {
        Some(comment) => write_line(out, format_args!(": {comment}")),
        None => out.extend_from_slice(b":\n"),
    }
}

/// Writes an event without an id, which leaves the reader's last event id as it is. The event has an empty `data` line,
/// because an event without one does not fire.
pub(crate) fn write_empty_event(out: &mut Vec<u8>, name: &EventName) {
    write_field(out, "event", name);
    out.extend_from_slice(b"data: \n\n");
}

fn write_line(out: &mut Vec<u8>, line: fmt::Arguments<'_>) {
    struct Out<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Out<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Writing to a `Vec` can't fail, and neither can the `Display` implementations used here.
    let _ = Out(out).write_fmt(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::{Epoch, Offset};

    fn in_pieces(pieces: &[&str]) -> String {
        let mut lines = DataWriter::with_capacity(0);
        pieces.iter().for_each(|piece| lines.push(piece.as_bytes()));
        String::from_utf8(lines.finish()).unwrap()
    }

    #[test]
    fn data_is_the_same_however_it_is_split() {
        // Try every text of this length over these letters, cut at every pair of positions.
        let (letters, len) = (['\r', '\n', 'x'], if cfg!(miri) { 3 } else { 6 });
        for n in 0..3_usize.pow(len) {
            let text: String = (0..len).map(|place| letters[n / 3_usize.pow(place) % 3]).collect();
            let whole = in_pieces(&[&text]);
            for one in 0..=text.len() {
                for two in one..=text.len() {
                    let pieces = [&text[..one], "", &text[one..two], &text[two..]];
                    assert_eq!(in_pieces(&pieces), whole, "{pieces:?}");
                }
            }
        }
    }

    #[test]
    fn a_cursor_is_written_as_its_display() {
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
