//! Published events, read back by an independent parser.
#![no_main]

use std::{convert::Infallible, time::Duration};

use arbitrary::Arbitrary;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;
use sseer::event_stream::EventStream;
use tower_sse::{Comment, CustomId, Event, EventName, Publisher};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    events: Vec<Fields<'a>>,
    /// The lengths of the pieces that the bytes are cut into, used repeatedly.
    pieces: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
struct Fields<'a> {
    data: &'a str,
    json: bool,
    name: Option<&'a str>,
    id: Option<&'a str>,
    comment: Option<&'a str>,
    retry: Option<u64>,
}

struct Sent {
    data: String,
    name: String,
    id: String,
    retry: Option<Duration>,
}

fuzz_target!(|input: Input| {
    let publisher = Publisher::new();
    let channel = publisher.channel("any");
    let (mut wire, mut sent) = (Vec::new(), Vec::new());
    for fields in &input.events {
        let name = fields.name.and_then(|name| EventName::try_from(name).ok());
        let id = fields.id.and_then(|id| CustomId::try_from(id).ok());
        let comment = fields.comment.and_then(|comment| Comment::try_from(comment).ok());
        let mut event = if fields.json { Event::json(fields.data).unwrap() } else { Event::text(fields.data) };
        if let Some(name) = &name {
            event = event.name(name.clone());
        }
        if let Some(id) = &id {
            event = event.id(id.clone());
        }
        if let Some(comment) = comment {
            event = event.comment(comment);
        }
        let retry = fields.retry.map(Duration::from_millis);
        if let Some(retry) = retry {
            event = event.retry(retry);
        }
        let answer = match channel.send(event).now_or_never().expect("in memory a publish does not wait") {
            Ok(answer) => answer,
            Err(error) => {
                assert!(error.is_duplicate_id() || error.is_too_large(), "{error}");
                continue;
            }
        };
        let held = channel.recent(1).pop().expect("the newest event is held");
        assert_eq!(held.id(), answer.id);
        let lines = fields.data.replace("\r\n", "\n").replace('\r', "\n");
        let data = if fields.json { held.data() } else { lines };
        assert_eq!(held.data(), data);
        assert_eq!(held.name(), name.as_ref().map(|name| name.as_str()));
        if let Some(id) = id {
            assert_eq!(answer.id.custom(), Some(&id));
        }
        wire.extend_from_slice(held.as_bytes());
        sent.push(Sent {
            data,
            name: name.map_or("message".into(), |name| name.to_string()),
            id: answer.id.to_string(),
            retry: retry.map(|retry| retry.min(Duration::from_millis(i32::MAX.unsigned_abs().into()))),
        });
    }

    let mut sizes = input.pieces.iter().map(|&size| usize::from(size) + 1).collect::<Vec<_>>().into_iter().cycle();
    let (mut rest, mut pieces) = (Bytes::from(wire), Vec::new());
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        pieces.push(Ok::<_, Infallible>(rest.split_to(size)));
    }
    let parsed: Vec<_> = EventStream::new(stream::iter(pieces)).collect().now_or_never().unwrap();
    assert_eq!(parsed.len(), sent.len());
    for (parsed, sent) in parsed.into_iter().zip(sent) {
        let parsed = parsed.unwrap();
        assert_eq!(&*parsed.data, sent.data);
        assert_eq!(&*parsed.event, sent.name);
        assert_eq!(&*parsed.id, sent.id);
        assert_eq!(parsed.retry, sent.retry);
    }
});
