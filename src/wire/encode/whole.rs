//! Checks that bytes from a store are those of one event, because nothing else may get on the wire.

use super::write::MAX_RETRY;
use crate::wire::name::EventName;

/// Whether the bytes are whole lines of exactly one event, without its id. Anything else would change the meaning of
/// the lines that follow it, including those of the next event.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let Some(lines) = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')) else { return false };
    let mut has_data = false;
    let mut is_field = |line: &str| match line.split_once(": ") {
        Some(("data", _)) => {
            has_data = true;
            true
        }
        Some(("event", name)) => EventName::try_from(name).is_ok(),
        Some(("retry", millis)) => is_retry(millis),
        // A comment.
        Some(("", _)) => true,
        _ => false,
    };
    !lines.contains('\r') && lines.split('\n').all(&mut is_field) && has_data
}

/// Whether this is a reconnection time as `write_retry` writes it.
fn is_retry(millis: &str) -> bool {
    millis.bytes().all(|byte| byte.is_ascii_digit()) && millis.parse().is_ok_and(|millis: u32| millis <= MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{cursor::Offset, encode::Draft, event::Event, name::Comment};

    #[test]
    fn encoded_events_are_whole() {
        let named = Event::text("a\r\n\u{feff}\0: b").name(EventName::from_static("n")).retry(Duration::MAX);
        for event in [Event::default(), Event::text("\n\r"), named.comment(Comment::from_static("seen"))] {
            let bytes = Draft::new(event, Offset::new(1)).into_parts().0;
            assert!(is_whole(&bytes), "{bytes:?}");
        }
    }

    #[test]
    fn truncated_forged_or_non_text_bytes_are_not_whole() {
        let bytes: [&[u8]; 22] = [
            b"",
            b"\n",
            b"data: x",
            b"data: x\n\n",
            b"data: x\n\ndata: y\n",
            b"\ndata: x\n",
            b"data: x\r\n",
            b"data: x\rdata: y\n",
            b"data: \xff\n",
            b"data:x\n",
            b"data\n",
            b"dat",
            b" data: x\n",
            b"id: 1\ndata: x\n",
            b"data: x\nid: 000000000abc-1\n",
            b"event: gap\ndata: x\n",
            b"event: goodbye\ndata: x\n",
            b"event: \ndata: x\n",
            b"event: x\n",
            b": x\n",
            b"retry: +1\ndata: x\n",
            b"retry: 2147483648\ndata: x\n",
        ];
        for bytes in bytes {
            assert!(!is_whole(bytes), "{}", bytes.escape_ascii());
        }
    }
}
