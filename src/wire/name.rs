//! The validated texts: channel names, client ids, event names, custom ids, idempotency keys and comments.
//!
//! The rules for each type are checked here, once. The encoder and the log trust these types.

use std::{fmt, hash, sync::Arc};

use crate::error::{InvalidText, Why};

/// A text that costs no allocation if it is a literal, and is cheap to clone if it is not.
#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }

    /// What it takes from the allocator: the text behind its two counts.
    fn heap(&self) -> usize {
        match self {
            Text::Static(_) => 0,
            Text::Shared(text) => (2 * size_of::<usize>() + text.len()).next_multiple_of(align_of::<usize>()),
        }
    }
}

/// The rule for what a type's text may contain.
#[derive(Clone, Copy)]
enum Rule {
    /// Any character but control characters.
    Printable,
    /// Like `Printable`, but not one of the names of the crate's own events.
    EventName,
    /// `[A-Za-z0-9._-]`, and not in the form of an [`EventId`](crate::EventId).
    Id,
}

/// Checks `text`. It is `const`, so that `from_static` in a constant fails at compile time.
const fn check(text: &str, max: usize, rule: Rule) -> Result<(), Why> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(Why::Empty);
    }
    if bytes.len() > max {
        return Err(Why::TooLong { len: bytes.len(), max });
    }
    let mut at = 0;
    while at < bytes.len() {
        let allowed = match rule {
            Rule::Id => matches!(bytes[at], b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'),
            // The C1 control characters U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
            Rule::Printable | Rule::EventName => {
                bytes[at] >= 0x20
                    && bytes[at] != 0x7f
                    && !(bytes[at] == 0xc2 && at + 1 < bytes.len() && bytes[at + 1] < 0xa0)
            }
        };
        if !allowed {
            return Err(Why::Character { at });
        }
        at += 1;
    }
    let reserved = match rule {
        Rule::Printable => false,
        Rule::EventName => matches!(bytes, b"gap" | b"goodbye"),
        Rule::Id => looks_like_event_id(bytes),
    };
    if reserved { Err(Why::Reserved) } else { Ok(()) }
}

/// Whether the text begins like all of the crate's own [`EventId`](crate::EventId)s: twelve lower-case hexadecimal
/// digits and a hyphen.
const fn looks_like_event_id(bytes: &[u8]) -> bool {
    if bytes.len() < 13 || bytes[12] != b'-' {
        return false;
    }
    let mut at = 0;
    while at < 12 {
        if !matches!(bytes[at], b'0'..=b'9' | b'a'..=b'f') {
            return false;
        }
        at += 1;
    }
    true
}

macro_rules! validated_text {
    ($(#[$doc:meta])* $Name:ident, $what:literal, $max:literal, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $Name(Text);

        impl $Name {
            /// The maximum length, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Creates a value from a literal, without allocating.
            ///
            /// # Panics
            ///
            /// Panics if the literal is not valid. In a constant, that is a compile error.
            pub const fn from_static(text: &'static str) -> Self {
                assert!(check(text, Self::MAX_LEN, Rule::$rule).is_ok(), concat!("invalid ", $what));
                Self(Text::Static(text))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// What the text takes from the allocator; clones share it.
            #[allow(dead_code, reason = "the log counts what it keeps, which is not each of these types")]
            pub(crate) fn heap(&self) -> usize {
                self.0.heap()
            }

            fn check(text: &str) -> Result<(), InvalidText> {
                check(text, Self::MAX_LEN, Rule::$rule).map_err(|why| InvalidText::new($what, why))
            }
        }

        impl TryFrom<&str> for $Name {
            type Error = InvalidText;

            fn try_from(text: &str) -> Result<Self, InvalidText> {
                Self::check(text)?;
                Ok(Self(Text::Shared(text.into())))
            }
        }

        impl TryFrom<String> for $Name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::check(&text)?;
                Ok(Self(Text::Shared(text.into())))
            }
        }

        impl TryFrom<&String> for $Name {
            type Error = InvalidText;

            fn try_from(text: &String) -> Result<Self, InvalidText> {
                Self::try_from(text.as_str())
            }
        }

        impl From<&$Name> for $Name {
            fn from(name: &$Name) -> Self {
                name.clone()
            }
        }

        impl std::str::FromStr for $Name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::try_from(text)
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Equality, order and hash are those of the text, whether static or shared, so that maps can be looked up with
        // a `&str`.
        impl std::borrow::Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq for $Name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl PartialEq<str> for $Name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $Name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl Eq for $Name {}

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl hash::Hash for $Name {
            fn hash<H: hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

validated_text! {
    /// The name of a channel: 1 to 255 bytes of UTF-8 without control characters.
    ///
    /// ```
    /// use tower_sse::ChannelName;
    ///
    /// const NEWS: ChannelName = ChannelName::from_static("news");
    /// let room = ChannelName::try_from(format!("room/{}", 7))?;
    /// assert_eq!(room, "room/7");
    /// # Ok::<_, tower_sse::InvalidText>(())
    /// ```
    ChannelName, "channel name", 255, Printable
}

validated_text! {
    /// The identity of a reader: 1 to 255 bytes of UTF-8 without control characters. Several connections may share one.
    ///
    /// ```
    /// use tower_sse::ClientId;
    ///
    /// assert!(ClientId::try_from("ana").is_ok());
    /// assert!(ClientId::try_from("a\0b").is_err());
    /// ```
    ClientId, "client id", 255, Printable
}

validated_text! {
    /// The id that a page gives its connection: 1 to 128 bytes of UTF-8 without control characters.
    ///
    /// A page chooses one, such as a random number, and keeps it over its reconnects. It announces the id in the query
    /// of its stream's URL (`?connection=..`), and names it when it sends something that its own stream is to leave out:
    /// see [`Event::except_connection`](crate::Event::except_connection). An id grants nothing. A reader that announces
    /// somebody else's id only misses what that connection misses.
    ///
    /// ```
    /// use tower_sse::ConnectionId;
    ///
    /// assert!(ConnectionId::try_from("tab-7f3a").is_ok());
    /// ```
    ConnectionId, "connection id", 128, Printable
}

validated_text! {
    /// The name of an event, which a page passes to `addEventListener`: 1 to 128 bytes of UTF-8 without control
    /// characters. `gap` and `goodbye` are reserved for the crate's own events.
    ///
    /// `open` and `error` are allowed, but avoid them: a browser's `EventSource` fires events of these names itself.
    ///
    /// ```
    /// use tower_sse::{Event, EventName};
    ///
    /// const TOKEN: EventName = EventName::from_static("agent.token");
    /// let event = Event::text("Hel").name(TOKEN);
    /// assert!(EventName::try_from("gap").unwrap_err().is_reserved());
    /// # drop(event);
    /// ```
    EventName, "event name", 128, EventName
}

validated_text! {
    /// An id that the application gives an event: 1 to 127 bytes of `[A-Za-z0-9._-]`, not in the form of the crate's
    /// own [`EventId`](crate::EventId). Any other character would force a CORS preflight on every reconnect.
    ///
    /// ```
    /// use tower_sse::CustomId;
    ///
    /// assert!(CustomId::try_from("order-17").is_ok());
    /// assert!(CustomId::try_from("order 17").is_err());
    /// ```
    CustomId, "custom id", 127, Id
}

validated_text! {
    /// A key that identifies repeated publishes of one event: 1 to 255 bytes of UTF-8 without control characters, such
    /// as a UUID or the name of the thing that the event reports. See
    /// [`Event::idempotency_key`](crate::Event::idempotency_key).
    ///
    /// ```
    /// use tower_sse::IdempotencyKey;
    ///
    /// assert!(IdempotencyKey::try_from("order 17, paid").is_ok());
    /// ```
    IdempotencyKey, "idempotency key", 255, Printable
}

validated_text! {
    /// A comment, which clients skip: 1 to 1,024 bytes of UTF-8 without control characters.
    ///
    /// ```
    /// use tower_sse::Comment;
    ///
    /// assert_eq!(Comment::from_static("still here"), "still here");
    /// ```
    Comment, "comment", 1024, Printable
}

validated_text! {
    /// The id of an event in the form of another protocol, such as a URI: 1 to 1,024 bytes of UTF-8 without control
    /// characters. See [`Output::replace_as`](crate::Output::replace_as).
    ///
    /// ```
    /// use tower_sse::ForeignId;
    ///
    /// assert!(ForeignId::try_from("urn:uuid:e1ee88e2-532a-4d6f-ba70-f0f8bd584022").is_ok());
    /// ```
    ForeignId, "foreign id", 1024, Printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_both_ranges_are_refused() {
        for text in ["\r", "a\n", "\0", "\u{7f}", "a\u{80}", "a\u{85}b", "\u{9f}"] {
            assert!(ChannelName::try_from(text).is_err(), "{text:?}");
            assert!(EventName::try_from(text).is_err(), "{text:?}");
            assert!(Comment::try_from(text).is_err(), "{text:?}");
        }
        for text in ["\u{a0}", "é", "日本", "🦀", "a b", "/", "\u{feff}"] {
            assert!(ChannelName::try_from(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_custom_id_is_cors_safe_and_never_a_cursor() {
        assert!(CustomId::try_from("a.B_9-").is_ok());
        assert!(CustomId::try_from("é").is_err());
        assert!(CustomId::try_from("a b").is_err());
        assert!(CustomId::try_from("0123456789ab-1").unwrap_err().is_reserved());
        assert!(CustomId::try_from("0123456789ab-").unwrap_err().is_reserved());
        assert!(CustomId::try_from("0123456789ab").is_ok());
        assert!(CustomId::try_from("0123456789AB-1").is_ok());
        assert!(CustomId::try_from("2026-1").is_ok());
    }

    #[test]
    fn lengths_are_bounded_in_bytes() {
        assert!(ChannelName::try_from("x".repeat(ChannelName::MAX_LEN)).is_ok());
        assert!(ChannelName::try_from("x".repeat(ChannelName::MAX_LEN + 1)).unwrap_err().is_too_long());
        assert!(ChannelName::try_from("é".repeat(127)).is_ok());
        assert!(ChannelName::try_from("é".repeat(128)).unwrap_err().is_too_long());
        assert!(CustomId::try_from("x".repeat(128)).unwrap_err().is_too_long());
    }
}
