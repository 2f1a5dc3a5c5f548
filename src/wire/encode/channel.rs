//! Writes the channel of an event on the wire, for readers of several channels.

use crate::wire::name::ChannelName;

/// Writes a whole event again, under a name that says its channel.
pub(crate) fn write_with_channel(out: &mut Vec<u8>, channel: &ChannelName, event: &[u8]) {
    let (mut rest, mut name) = (event, None);
    // The head is before the data: a comment, a reconnection time and the name.
    while !rest.starts_with(b"data: ")
        && let Some(end) = memchr::memchr(b'\n', rest)
    {
        match rest[..end].strip_prefix(b"event: ") {
            Some(text) => name = std::str::from_utf8(text).ok(),
            None => out.extend_from_slice(&rest[..=end]),
        }
        rest = &rest[end + 1..];
    }
    write_name(out, channel, name);
    out.extend_from_slice(rest);
}

/// Writes the name of an event that says its channel: `channel:name`, with `message` for an event without a name, as
/// browsers call it. A `:` or `%` in the channel's name is percent-encoded, so that no two channels share a name, and
/// none can be taken for an event of the crate's own.
pub(super) fn write_name(out: &mut Vec<u8>, channel: &ChannelName, name: Option<&str>) {
    out.extend_from_slice(b"event: ");
    for byte in channel.as_str().bytes() {
        match byte {
            b':' => out.extend_from_slice(b"%3A"),
            b'%' => out.extend_from_slice(b"%25"),
            _ => out.push(byte),
        }
    }
    out.push(b':');
    out.extend_from_slice(name.unwrap_or("message").as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::{Draft, write_lines},
        event::Event,
        name::{Comment, EventName},
    };

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    fn shown(channel: &'static str, event: Event) -> String {
        let (channel, mut lines) = (ChannelName::from_static(channel), Vec::new());
        write_lines(&mut lines, &event, Some(&channel));
        let (sealed, _) = Draft::new(event, CURSOR.offset).seal(CURSOR);
        let mut out = Vec::new();
        write_with_channel(&mut out, &channel, sealed.as_bytes());
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.strip_suffix("id: 000000000abc-7\n\n").unwrap().as_bytes(), lines);
        out
    }

    #[test]
    fn an_event_is_named_by_its_channel_and_its_own_name() {
        assert_eq!(shown("news", Event::text("x")), "event: news:message\ndata: x\nid: 000000000abc-7\n\n");
        let named = Event::text("event: y\nz").name(EventName::from_static("a:b")).retry(Duration::from_secs(1));
        let expected = ": seen\nretry: 1000\nevent: news:a:b\ndata: event: y\ndata: z\nid: 000000000abc-7\n\n";
        assert_eq!(shown("news", named.comment(Comment::from_static("seen"))), expected);
    }

    #[test]
    fn no_channel_is_taken_for_another_or_for_an_event_of_the_crates_own() {
        for (channel, name) in [("gap", "gap:message"), ("a:b", "a%3Ab:message"), ("a%3Ab", "a%253Ab:message")] {
            assert!(shown(channel, Event::text("")).starts_with(&format!("event: {name}\n")), "{channel}");
        }
        assert!(shown("a", Event::text("").name(EventName::from_static("b"))).starts_with("event: a:b\n"));
    }
}
