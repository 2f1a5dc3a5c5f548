//! An independent parser reads back what was published, as the standard says: the same text, with each CR, LF and CRLF
//! as LF. `sseer` is that parser; `tests/browser` does the same with Chromium's.

#[path = "../common/pieces.rs"]
mod pieces;
#[path = "../common/standard.rs"]
mod standard;

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use pieces::PIECES;
use proptest::{collection::vec, prelude::*, sample::select};
use sseer::event_stream::EventStream;
use standard::CASES;
use tower_sse::{Comment, CustomId, Event, EventName, Limits, Publisher};

/// Text of every kind: characters that the format treats specially, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => vec(select(&PIECES[..]), 0..24).prop_map(|pieces| pieces.concat()),
        20 => vec(any::<char>(), 0..64).prop_map(String::from_iter),
        1 => (0..3usize).prop_map(|ends| format!("{}{}", "x".repeat(1 << 20), "\n".repeat(ends))),
    ]
}

fn event_name() -> impl Strategy<Value = EventName> {
    vec(any::<char>(), 1..20).prop_filter_map("a valid name", |name| EventName::try_from(String::from_iter(name)).ok())
}

fn comment() -> impl Strategy<Value = Comment> {
    vec(any::<char>(), 1..20).prop_filter_map("a valid comment", |text| Comment::try_from(String::from_iter(text)).ok())
}

fn custom_id() -> impl Strategy<Value = CustomId> {
    "[A-Za-z0-9._-]{1,40}".prop_filter_map("a valid id", |id| CustomId::try_from(id).ok())
}

/// What the standard makes of a text: "lines must be separated by either a CRLF pair, a single LF, or a single CR", and
/// the parser joins them by LF.
fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Parses an event's bytes as readers get them, in pieces of at most that size.
fn parse(wire: &Bytes, piece: usize) -> Vec<sseer::event::Event> {
    let pieces: Vec<Result<Bytes, Infallible>> =
        wire.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let events = EventStream::new(stream::iter(pieces)).map(|event| event.unwrap()).collect();
    FutureExt::now_or_never(events).unwrap()
}

/// Publishes to a fresh hub, and returns the id and the bytes.
fn publish(event: Event) -> (String, Bytes) {
    let publisher = Publisher::builder().limits(Limits::default().event_bytes(64 << 20)).build();
    let channel = publisher.channel("any");
    let sent = channel.send(event).now_or_never().expect("in memory a publish does not wait").unwrap();
    (sent.id.to_string(), channel.recent(1)[0].as_bytes().clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_survives_a_round_trip(
        text in text(),
        name in proptest::option::of(event_name()),
        id in proptest::option::of(custom_id()),
        comment in proptest::option::of(comment()),
        piece in 1..200usize,
    ) {
        let mut event = Event::text(&text);
        if let Some(name) = &name {
            event = event.name(name.clone());
        }
        if let Some(id) = &id {
            event = event.id(id.clone());
        }
        if let Some(comment) = comment {
            event = event.comment(comment);
        }
        let (sent, wire) = publish(event);
        let piece = if text.len() > 1 << 16 { 1 << 14 } else { piece };
        let got = parse(&wire, piece);
        prop_assert_eq!(got.len(), 1, "one event, whatever it holds");
        prop_assert_eq!(&*got[0].data, normalised(&text));
        prop_assert_eq!(&*got[0].event, name.as_ref().map_or("message", |name| name.as_str()));
        prop_assert_eq!(&*got[0].id, &sent);
        if let Some(id) = id {
            prop_assert_eq!(id.as_str(), sent);
        }
    }

    #[test]
    fn json_survives_a_round_trip(text in text(), piece in 1..200usize) {
        let (_, wire) = publish(Event::json(&text).unwrap());
        let piece = if text.len() > 1 << 16 { 1 << 14 } else { piece };
        let got = parse(&wire, piece);
        prop_assert_eq!(got.len(), 1);
        prop_assert_eq!(serde_json::from_str::<String>(&got[0].data).unwrap(), text);
    }

    #[test]
    fn events_do_not_run_into_each_other(texts in vec(text(), 1..6), piece in 1..200usize) {
        let wire: Bytes = texts.iter().flat_map(|text| publish(Event::text(text)).1).collect();
        let piece = if wire.len() > 1 << 16 { 1 << 14 } else { piece };
        let got = parse(&wire, piece);
        prop_assert_eq!(got.len(), texts.len());
        for (got, text) in got.iter().zip(&texts) {
            prop_assert_eq!(&*got.data, normalised(text));
        }
    }
}

/// Tests the parser itself. `tests/browser` gives the same streams to Chromium.
#[test]
fn the_parser_follows_the_standard() {
    // The parser refuses invalid UTF-8. That suits an oracle, since the server never sends any.
    for (what, wire, events) in CASES.iter().filter(|(_, wire, _)| std::str::from_utf8(wire).is_ok()) {
        for piece in [1, 2, 3, wire.len()] {
            let got = parse(&Bytes::from_static(wire), piece);
            let got: Vec<_> = got.iter().map(|event| (&*event.event, &*event.data, &*event.id)).collect();
            assert_eq!(got, *events, "{what}, in pieces of {piece}");
        }
    }
}
