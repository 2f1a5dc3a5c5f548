//! Promise 7: any text arrives as exactly itself, and text that the format can't carry is a typed error. Nothing
//! panics.

#[path = "../common/mod.rs"]
mod common;

use common::*;
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use tower_sse::{ChannelName, ClientId, Comment, CustomId, Event, EventId, EventName, Publisher};

/// What a client makes of the bytes by the steps of the standard: (event, data, last event id) for each dispatch.
fn interpret(stream: &str) -> Vec<(String, String, String)> {
    let (mut dispatched, mut last_id) = (Vec::new(), String::new());
    let (mut event, mut data) = (String::new(), String::new());
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    for line in lines.strip_suffix('\n').unwrap_or(&lines).split('\n') {
        if line.is_empty() {
            let (event, data) = (std::mem::take(&mut event), std::mem::take(&mut data));
            if !data.is_empty() {
                dispatched.push((event, data.strip_suffix('\n').unwrap().into(), last_id.clone()));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = value.into(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => last_id = value.into(),
            "retry" => assert!(value.bytes().all(|digit| digit.is_ascii_digit())),
            "" => {}
            other => panic!("an unknown field {other:?}"),
        }
    }
    dispatched
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn arrives_as_itself(text: &str) {
    let publisher = Publisher::new();
    let id = send(&publisher, "a", text);
    let held = &publisher.channel("a").recent(1)[0];
    let wire = std::str::from_utf8(held.as_bytes()).unwrap();
    assert_eq!(interpret(wire), [(String::new(), normalised(text), id)], "{text:?}");
    assert_eq!(held.data(), normalised(text));
}

#[test]
fn awkward_texts_arrive_as_themselves() {
    for text in [
        "",
        " ",
        "  two",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\r",
        "\n\r",
        "\r\n\r\n",
        "a\n",
        "\na",
        "a\rid: 7\r\rdata: b",
        "data: x\n\nevent: y",
        ":",
        ": comment",
        "\u{feff}bom",
        "\0",
        "\u{85}\u{2028}\u{2029}\u{b}\u{c}",
        "🦀\r🦀",
        "retry: 1",
        "id",
        "event:gap",
    ] {
        arrives_as_itself(text);
    }
}

/// Texts made of pieces that trip parsers.
fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop_oneof!["\r", "\n", "\r\n", " ", ":", "\u{feff}", "\0", "data: ", "id: 1", "event: x", "retry: 1"]
            .prop_map(String::from),
        2 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// The same through `Serialize`: serde_json escapes the string, so parsing the JSON gives it back unchanged.
struct Json<'a>(&'a str);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_arrives_as_itself(text in awkward()) {
        arrives_as_itself(&text);
    }

    #[test]
    fn any_json_arrives_as_itself(text in awkward()) {
        let publisher = Publisher::new();
        ready(publisher.channel("a").send(Event::json(&Json(&text)).unwrap())).unwrap();
        let held = &publisher.channel("a").recent(1)[0];
        let wire = std::str::from_utf8(held.as_bytes()).unwrap();
        let data = &interpret(wire)[0].1;
        prop_assert_eq!(&serde_json::from_str::<String>(data).unwrap(), &text);
    }

    #[test]
    fn an_accepted_name_id_or_comment_can_not_forge_a_line(text in awkward()) {
        let publisher = Publisher::new();
        let mut event = Event::text("data");
        let name = EventName::try_from(text.as_str());
        let id = CustomId::try_from(text.as_str());
        if let Ok(name) = &name {
            event = event.name(name.clone());
        }
        if let Ok(id) = &id {
            event = event.id(id.clone());
        }
        if let Ok(comment) = Comment::try_from(text.as_str()) {
            event = event.comment(comment);
        }
        let sent = ready(publisher.channel("a").send(event)).unwrap();
        let held = &publisher.channel("a").recent(1)[0];
        let wire = std::str::from_utf8(held.as_bytes()).unwrap();
        let name = name.map(|name| name.to_string()).unwrap_or_default();
        prop_assert_eq!(interpret(wire), [(name, "data".to_owned(), sent.id.to_string())]);
    }

    #[test]
    fn no_name_id_or_last_event_id_panics(text in any::<String>(), id in proptest::collection::vec(any::<u8>(), 0..200)) {
        let publisher = Publisher::new();
        let _ = (ChannelName::try_from(text.as_str()), ClientId::try_from(text.as_str()));
        let _ = (try_send(&publisher, &text, None, ""), try_send(&publisher, "a", Some(&text), ""));
        let channel = publisher.channel(text.as_str());
        let _ = (channel.recent(1), channel.recent_for(text.as_str(), 1), channel.clients(), channel.connections());
        let _ = (ready(channel.disconnect(text.as_str())).unwrap(), ready(channel.close()).unwrap(), ready(publisher.disconnect(text.as_str())).unwrap());
        if let Some(parsed) = EventId::parse(&id) {
            prop_assert_eq!(parsed.to_string().into_bytes(), id.clone());
        }
        if !id.is_empty() {
            drop(resume(&publisher, &["a"], "", &id));
        }
    }
}

#[test]
fn a_megabyte_of_line_endings_arrives() {
    arrives_as_itself(&"\r\n".repeat(70_000));
}

#[test]
fn a_name_that_is_not_valid_is_an_error_of_the_send_and_otherwise_nobodys() {
    let publisher = Publisher::new();
    let reader = live(&publisher, &["a"], "ana");
    for name in ["", "two\nlines", "nul\0"] {
        let channel = publisher.channel(name);
        assert_eq!(channel.name().unwrap_err().to_string(), ChannelName::try_from(name).unwrap_err().to_string());
        assert_eq!((channel.connections(), channel.clients(), channel.recent(9).len()), (0, vec![], 0));
        assert_eq!((ready(channel.close()).unwrap(), ready(channel.presence()).unwrap()), (0, vec![]));
        assert_eq!((ready(channel.disconnect("ana")).unwrap(), ready(publisher.disconnect(name)).unwrap()), (0, 0));
        assert!(try_send(&publisher, name, None, "").unwrap_err().is_invalid_text());
        assert!(try_send(&publisher, "a", Some(name), "").unwrap_err().is_invalid_text());
    }
    assert_eq!((publisher.stats().publish_refused, publisher.stats().channels), (6, 1));
    drop(reader);
}
