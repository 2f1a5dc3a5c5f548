//! Ids of updates: what they are in Mercure, and what they are in the channel.
//!
//! "The hub MAY generate a relative URI composed of a fragment (starting with `#`)": an update without an id of its own has
//! `#` and the event's id. A publisher's id may be any text, such as a URI, which a custom id spells with escapes: `_` and
//! two hexadecimal digits for each byte that a custom id can't have.

use tower_sse::{CustomId, EventId, ForeignId, Start};

/// The custom id of an update with this id, or `None` if the hub has to make one, because this one is too long or has the
/// form of the hub's own.
pub(crate) fn custom(id: &str) -> Option<CustomId> {
    CustomId::try_from(escape(id.as_bytes())).ok()
}

/// What a subscriber is told as the id of an event. `None` if it can't be told.
pub(crate) fn told(id: &EventId) -> Option<ForeignId> {
    let text = id.to_string();
    let told = if id.cursor().is_some() { format!("#{text}") } else { unescape(&text)? };
    ForeignId::try_from(told).ok()
}

/// Where a subscriber begins that brings this last event id: at the earliest event, or after the event with this id.
pub(crate) fn asked(last: Option<&[u8]>) -> (Start, Option<Vec<u8>>) {
    match last {
        None => (Start::Live, None),
        Some(b"earliest") => (Start::Earliest, None),
        Some([b'#', own @ ..]) => (Start::Live, Some(own.to_vec())),
        // The ids of a `gap` and a `goodbye` have the form of the crate.
        Some(own) if is_own(own) => (Start::Live, Some(own.to_vec())),
        Some(id) => (Start::Live, Some(escape(id).into_bytes())),
    }
}

fn is_own(id: &[u8]) -> bool {
    std::str::from_utf8(id).is_ok_and(|id| CustomId::try_from(id).is_err_and(|error| error.is_reserved()))
}

fn escape(id: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let spell = |byte: &u8| if plain(*byte) { char::from(*byte).into() } else { format!("_{byte:02X}") };
    id.iter().map(spell).collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('_');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_as_it_was_given() {
        for id in ["urn:uuid:e1ee88e2-532a-4d6f-ba70-f0f8bd584022", "1", "id-[\"a_b\"]", "é ?", "_5F"] {
            let event = EventId::from(custom(id).unwrap());
            assert_eq!(told(&event).unwrap(), id);
            assert_eq!(asked(Some(id.as_bytes())).1.unwrap(), event.to_string().as_bytes());
        }
    }

    #[test]
    fn the_ids_of_the_hub_are_its_own() {
        for id in ["0123456789ab-7", "", &"x".repeat(128)] {
            assert!(custom(id).is_none(), "{id}");
        }
        for last in ["#0123456789ab-7", "0123456789ab-7"] {
            assert_eq!(asked(Some(last.as_bytes())), (Start::Live, Some(b"0123456789ab-7".to_vec())));
        }
        assert_eq!(asked(Some(b"earliest")), (Start::Earliest, None));
        assert_eq!(asked(None), (Start::Live, None));
    }
}
