//! A reader's position, as an epoch and an offset, and its text on the wire.

use std::fmt;

use crate::wire::name::CustomId;

/// Identifies one incarnation of a hub's log: 48 random bits.
///
/// A hub that loses its log starts a new epoch, so that no earlier cursor is mistaken for a current one. An in-process
/// hub loses its log when the process restarts.
///
/// Its `Display` is twelve lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Creates an epoch from the lowest 48 bits of `bits`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// Returns the 48 bits, from which [`from_bits`](Self::from_bits) makes the same epoch.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// A position in the hub's log. The first event has offset 1; 0 is the position before everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The position before the first event.
    pub const START: Offset = Offset(0);

    /// Creates the offset with the number `position`.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// Returns the offset's number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position right before this one; the start is before itself.
    pub(crate) const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A position in one incarnation of a hub's log: an offset, and the epoch that it belongs to.
///
/// Its `Display` is the text on the wire, such as `3fa94c01b2d7-42`. To parse that text, use [`EventId::parse`] and
/// [`EventId::cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The position. A reader at this cursor has read everything up to and including it.
    pub offset: Offset,
}

impl Cursor {
    /// The length of a cursor's text without the offset's digits.
    pub(crate) const MIN_LEN: usize = "0123456789ab-".len();
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

/// The value of an `id:` line on the wire, which a client sends back as the last event id. It is the text of a
/// [`Cursor`], such as `3fa94c01b2d7-42`, or of the application's own [`CustomId`]. The id of a `goodbye` is neither.
///
/// It consists of `[A-Za-z0-9._-]` only and is shorter than 128 bytes.
///
/// ```
/// use tower_sse::EventId;
///
/// let id = EventId::parse(b"3fa94c01b2d7-42").unwrap();
/// assert_eq!(id.cursor().unwrap().offset.get(), 42);
/// assert_eq!(id.to_string(), "3fa94c01b2d7-42");
/// assert!(EventId::parse(b"3fa94c01b2d7-042").is_none());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(Id);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Cursor(Cursor),
    Custom(CustomId),
    /// The id of a `goodbye`: a reader that sends it back was told to stay away, at this position.
    Goodbye(Cursor),
}

/// The suffix of a goodbye's id, after the cursor.
const GOODBYE: &str = "-end";

impl EventId {
    /// Parses an id as a client sent it back.
    ///
    /// Returns `None` for anything that this crate can't have sent. Each id has exactly one text, and bytes that differ
    /// from it are not that id.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.split_at_checked(12) {
            Some((epoch, rest)) if rest.starts_with('-') && is_lower_hex(epoch) => {
                let epoch = Epoch::from_bits(u64::from_str_radix(epoch, 16).ok()?);
                let cursor = |offset| parse_offset(offset).map(|offset| Cursor { epoch, offset });
                let id = match rest[1..].strip_suffix(GOODBYE) {
                    Some(offset) => Id::Goodbye(cursor(offset)?),
                    None => Id::Cursor(cursor(&rest[1..])?),
                };
                Some(Self(id))
            }
            _ => CustomId::try_from(text).ok().map(|id| Self(Id::Custom(id))),
        }
    }

    pub(crate) fn goodbye(cursor: Cursor) -> Self {
        Self(Id::Goodbye(cursor))
    }

    pub(crate) fn kind(&self) -> &Id {
        &self.0
    }

    /// Returns the cursor, or `None` if the id is not one.
    pub fn cursor(&self) -> Option<Cursor> {
        match self.0 {
            Id::Cursor(cursor) => Some(cursor),
            _ => None,
        }
    }

    /// Returns the application's own id, or `None` if the id is not one.
    pub fn custom(&self) -> Option<&CustomId> {
        match &self.0 {
            Id::Custom(id) => Some(id),
            _ => None,
        }
    }
}

impl From<Cursor> for EventId {
    fn from(cursor: Cursor) -> Self {
        Self(Id::Cursor(cursor))
    }
}

impl From<Cursor> for Option<EventId> {
    fn from(cursor: Cursor) -> Self {
        Some(cursor.into())
    }
}

impl From<CustomId> for EventId {
    fn from(id: CustomId) -> Self {
        Self(Id::Custom(id))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Cursor(cursor) => fmt::Display::fmt(cursor, f),
            Id::Custom(id) => fmt::Display::fmt(id, f),
            Id::Goodbye(cursor) => write!(f, "{cursor}{GOODBYE}"),
        }
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Parses a decimal number without a sign or leading zeros.
fn parse_offset(text: &str) -> Option<Offset> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return None;
    }
    text.parse().ok().map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cursor_has_exactly_one_text() {
        for text in ["0123456789ab-0", "0123456789ab-18446744073709551615", "000000000000-7", "ffffffffffff-7-end"] {
            assert_eq!(EventId::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in [
            "0123456789ab-",
            "0123456789ab-01",
            "0123456789ab-+1",
            "0123456789ab--1",
            "0123456789ab-18446744073709551616",
            "0123456789ab-1 ",
            "0123456789ab-end",
            "0123456789ab-01-end",
            "0123456789ab-1-End",
            "",
            " ",
            "é23456789ab-1",
        ] {
            assert_eq!(EventId::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(EventId::parse(b"\xff"), None);
    }

    #[test]
    fn an_id_in_any_other_form_is_a_custom_id() {
        for text in ["42", "0123456789AB-1", "order-1", "0123456789abc-1"] {
            assert_eq!(EventId::parse(text.as_bytes()).unwrap().custom().unwrap(), text);
        }
    }
}
