//! What most events consist of: a name and data. An event with more than that is not taken apart.

use std::borrow::Cow;

use super::{
    encode::{TRACE, write_lines},
    encoded::EncodedEvent,
    event::Event,
};

/// The name and the data of an event that has nothing else, besides the id that the log gave it.
pub(crate) struct Parts<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) data: Cow<'a, str>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        let Event { data, name, id: None, retry: None, comment: None, rare: None } = event else { return None };
        Self::read(std::str::from_utf8(data).ok()?, name.as_ref().map(|name| name.as_str()))
    }

    /// The id, which may be a custom one, has to be there: an ephemeral event is not taken apart. The trace is left out.
    pub(crate) fn of_encoded(event: &'a EncodedEvent) -> Option<Self> {
        let text = std::str::from_utf8(event.as_bytes()).ok()?.strip_suffix("\n\n")?;
        let (lines, id) = text.split_at(text.rfind('\n')? + 1);
        id.strip_prefix("id: ")?;
        let lines = match lines.strip_prefix(TRACE).and_then(|rest| rest.split_once('\n')) {
            Some((_, lines)) => lines,
            None => lines,
        };
        match lines.strip_prefix("event: ").and_then(|rest| rest.split_once('\n')) {
            Some((name, lines)) => Self::read(lines, Some(name)),
            None => Self::read(lines, None),
        }
    }

    /// `lines` are `data:` lines, each with its line feed.
    fn read(lines: &'a str, name: Option<&'a str>) -> Option<Self> {
        let lines = lines.strip_suffix('\n')?;
        let data = match memchr::memchr(b'\n', lines.as_bytes()) {
            None => lines.strip_prefix("data: ")?.into(),
            Some(_) => {
                let data: Option<Vec<_>> = lines.split('\n').map(|line| line.strip_prefix("data: ")).collect();
                data?.join("\n").into()
            }
        };
        Some(Self { name, data })
    }
}

impl EncodedEvent {
    /// Returns an event that stands for this one and has its id and its position.
    pub(crate) fn replaced_by(&self, event: &Event) -> Self {
        let mut bytes = Vec::with_capacity(event.data.len() + 80);
        write_lines(&mut bytes, event, None);
        if let Some(id) = self.id_text() {
            bytes.extend_from_slice(b"id: ");
            bytes.extend_from_slice(id.as_bytes());
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        bytes.shrink_to_fit();
        self.with_bytes(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::Draft,
        name::{ChannelName, Comment, CustomId, EventName},
        traceparent::TraceParent,
    };

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    fn encoded(event: Event) -> EncodedEvent {
        let (sealed, _) = Draft::new(event, CURSOR.offset).seal(CURSOR);
        EncodedEvent::new(ChannelName::from_static("news"), CURSOR.epoch, sealed)
    }

    #[test]
    fn an_event_has_the_same_parts_before_and_after_it_is_encoded() {
        let name = EventName::from_static("data: x");
        for text in ["", "a", "two\nlines", "\n", "data: x\nid: 1\n\n", " a", "event: x"] {
            for event in [Event::text(text), Event::text(text).name(name.clone())] {
                let encoded = encoded(event.clone());
                for parts in [Parts::of(&event).unwrap(), Parts::of_encoded(&encoded).unwrap()] {
                    assert_eq!((parts.name, &*parts.data), (event.name.as_ref().map(|name| name.as_str()), text));
                }
            }
        }
    }

    #[test]
    fn a_late_reader_gets_an_event_merged_without_its_trace_and_a_writer_does_not_merge_it() {
        let trace = TraceParent::new(1, 2, true).unwrap();
        let event = Event::text("a").name(EventName::from_static("n")).traceparent(trace);
        assert!(Parts::of(&event).is_none());
        let encoded = encoded(event);
        let parts = Parts::of_encoded(&encoded).unwrap();
        assert_eq!((parts.name, &*parts.data), (Some("n"), "a"));
    }

    #[test]
    fn an_event_with_anything_else_has_no_parts() {
        let with = [
            Event::text("a").retry(Duration::from_secs(1)),
            Event::text("a").comment(Comment::from_static("c")),
            Event::text("a").comment(Comment::from_static("c")).name(EventName::from_static("n")),
        ];
        for event in with {
            assert!(Parts::of(&event).is_none() && Parts::of_encoded(&encoded(event)).is_none());
        }
        let custom = Event::text("a").id(CustomId::from_static("7"));
        assert!(Parts::of(&custom).is_none(), "the id of the application would be lost");
        assert!(Parts::of_encoded(&encoded(custom)).is_some(), "the id is that of the last event");
        assert!(Parts::of(&Event::text("a").ephemeral()).is_none());
    }

    #[test]
    fn an_event_that_stands_for_another_has_its_id() {
        for source in [Event::text("a"), Event::text("a").id(CustomId::from_static("7"))] {
            let source = encoded(source);
            let other = source.replaced_by(&Event::text("b\nc").name(EventName::from_static("n")));
            assert_eq!((other.id(), other.offset(), other.data()), (source.id(), source.offset(), "b\nc".to_owned()));
            assert_eq!((other.name(), other.id_text()), (Some("n"), source.id_text()));
        }
    }
}
