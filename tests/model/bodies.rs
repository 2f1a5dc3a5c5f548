//! Bodies that change their events, against those that do not: a body that passes everything on is a plain one, and a
//! connection that breaks anywhere loses nothing, whatever a transform makes of the events.

#[path = "../common/mod.rs"]
mod common;

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::*;
use http_body::Body;
use proptest::{collection::vec, prelude::*};
use tower_sse::{
    ClientId, EncodedEvent, Event, Grant, OpenOptions, Output, Publisher, Retention, SseBody, Start, Transform,
};

const CHANNELS: [&str; 2] = ["red", "green"];
/// Data sizes, of which some are large enough for a chunk of their own.
const SIZES: [usize; 4] = [0, 10, 700, 40_000];

#[derive(Debug, Clone)]
enum Op {
    Publish { channel: usize, kind: Kind, size: usize, times: usize },
    Poll,
    Close,
    Finish,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Targeted,
    Ephemeral,
    NotForAna,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let kind = prop_oneof![
        6 => Just(Kind::Plain),
        2 => Just(Kind::Targeted),
        2 => Just(Kind::Ephemeral),
        1 => Just(Kind::NotForAna),
    ];
    let op = prop_oneof![
        10 => (0..2usize, kind, 0..SIZES.len(), 1..12usize)
            .prop_map(|(channel, kind, size, times)| Op::Publish { channel, kind, size, times }),
        6 => Just(Op::Poll),
        1 => Just(Op::Close),
        1 => Just(Op::Finish),
    ];
    vec(op, 1..40)
}

fn publish(publisher: &Publisher, channel: &str, kind: Kind, text: String) {
    let ana = ClientId::from_static("ana");
    let (channel, event) = (publisher.channel(channel), Event::text(text));
    // Some are refused, once the channel is finished.
    _ = match kind {
        Kind::Plain => ready(channel.send(event)),
        Kind::Targeted => ready(channel.send_to(ana, event)),
        Kind::Ephemeral => ready(channel.send(event.ephemeral())),
        Kind::NotForAna => ready(channel.send(event.except(ana))),
    };
}

fn open(publisher: &Publisher, channels: usize, id: Option<&str>) -> Option<SseBody> {
    let grant = Grant::new(CHANNELS[..channels].iter().map(|name| (*name).try_into().unwrap()))
        .client(ClientId::from_static("ana"));
    let options = OpenOptions::new().start(Start::Earliest);
    let opened = ready(options.open(publisher, grant, id.map(str::as_bytes)));
    opened.ok().map(SseBody::new)
}

/// What a body has now, and whether it is over.
fn drain(body: &mut Pin<Box<SseBody>>, over: &mut bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !*over {
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => bytes.extend_from_slice(frame.unwrap().data_ref().unwrap()),
            Poll::Ready(None) => *over = true,
            Poll::Pending => break,
        }
    }
    bytes
}

/// Text without its padding.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('x', "")
}

fn pass(event: &EncodedEvent, out: &mut Output) {
    out.pass(event);
}

/// Makes a number of events of each source, by its offset, and joins the sources of others.
struct Split;

fn parts_of(offset: u64) -> u64 {
    offset % 4
}

impl Transform for Split {
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            let offset = event.offset().get();
            for part in 0..parts_of(offset) {
                if part == 1 {
                    out.send(Event::text("between"));
                }
                if offset % 3 == part {
                    out.pass(event);
                } else {
                    out.replace(event, Event::text(format!("{offset}")));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_body_that_passes_everything_on_is_a_plain_one(held in 1..60usize, channels in 1..3usize, ops in ops()) {
        // What is lost of several channels may be told at another time.
        let held = if channels > 1 { 10_000 } else { held };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let publisher = Publisher::builder().retention(Retention::new().events(held)).build();
        let open = || open(&publisher, channels, None).unwrap();
        let bodies = [open(), open().transform(pass), open().filter(|_| true), open().filter(|_| true).transform(pass)];
        let mut bodies = bodies.map(Box::pin);
        let mut over = [false; 4];
        let mut n = 0;
        for op in ops {
            match op {
                Op::Publish { channel, kind, size, times } => for _ in 0..times {
                    n += 1;
                    publish(&publisher, CHANNELS[channel], kind, format!("{n} {}", "x".repeat(SIZES[size])));
                },
                Op::Close => _ = ready(publisher.channel(CHANNELS[0]).close()),
                Op::Finish => CHANNELS.iter().for_each(|name| _ = ready(publisher.channel(*name).finish(Event::text("last")))),
                Op::Poll => {
                    let mut all = bodies.iter_mut().zip(&mut over).map(|(body, over)| (drain(body, over), *over));
                    let plain = all.next().unwrap();
                    for mapped in all {
                        prop_assert_eq!(readable(&mapped.0), readable(&plain.0));
                        prop_assert_eq!(mapped.1, plain.1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_connection_that_breaks_anywhere_loses_nothing_of_what_a_transform_made(
        sources in vec((0..2usize, 0..3usize), 1..60),
        channels in 1..3usize,
        cuts in vec(0..2_000usize, 0..12),
    ) {
        let publisher = Publisher::builder().retention(Retention::new().events(1_000)).build();
        let mut expected = Vec::new();
        for (channel, size) in sources {
            let sent = ready(publisher.channel(CHANNELS[channel]).send(Event::text("x".repeat(SIZES[size])))).unwrap();
            let offset = sent.id.cursor().unwrap().offset.get();
            if channel < channels {
                expected.push(offset);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let (mut id, mut got) = (None::<String>, BTreeMap::<u64, u64>::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let Some(body) = open(&publisher, channels, id.as_deref()) else { break };
            let mut bytes = drain(&mut Box::pin(body.retry(Duration::ZERO).transform(Split)), &mut false);
            bytes.truncate(cut);
            let text = String::from_utf8(bytes).unwrap();
            // A source whose parts did not all come is begun again.
            let mut open_source = 0;
            for event in text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n") && !event.contains("between")) {
                open_source += 1;
                if let Some(line) = event.lines().find_map(|line| line.strip_prefix("id: ")) {
                    let offset = line.rsplit('-').next().unwrap().parse().unwrap();
                    prop_assert_eq!(open_source, parts_of(offset), "all that stands for it, in order");
                    let before = got.insert(offset, open_source);
                    prop_assert_eq!(before, None, "what has an id comes once");
                    (id, open_source) = (Some(line.to_owned()), 0);
                }
            }
        }
        let all: Vec<_> = expected.into_iter().filter(|offset| parts_of(*offset) > 0).collect();
        prop_assert_eq!(got.into_keys().collect::<Vec<_>>(), all);
    }
}
