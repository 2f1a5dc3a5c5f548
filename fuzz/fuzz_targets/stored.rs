//! Anything that a store holds under the hub's keys, or pushes to its feeds, is read without a panic, and what of it
//! reaches a reader is whole events, in order, and its own.
#![no_main]

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream,
};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use redis::Value;
use sseer::EventStream;
use tokio::{runtime::Builder, sync::mpsc, time::timeout};
use tower_sse::{
    BackendError, ChannelName, ClientId, Cursor, Delivery, Epoch, EventId, GapReason, Grant, KeepAlive, Offset,
    OpenOptions, Publisher, Retention, SseBody, Start, Subscription,
    backend::{
        Append, Appended, Backend, BackendFuture, Entry, Head, Heads, Held, Message, Messages, Request, Requests,
        stored,
    },
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// The answer to a read of each channel.
    held: [Reply<'a>; 2],
    /// What is pushed later, and to which channel.
    pushed: Vec<(bool, Pushed<'a>)>,
    present: Text<'a>,
}

/// An answer of the script `read`, or of somebody else.
#[derive(Debug, Arbitrary)]
enum Reply<'a> {
    Held {
        hub: Hub<'a>,
        finished: bool,
        closed: Text<'a>,
        /// The last offset, the highest one that is evicted, the last one for everybody, and the last one for clients
        /// that are not listed; how many events there are, of how many bytes; the time; and how many were asked for.
        numbers: [Text<'a>; 9],
        clients: Vec<(Client<'a>, Text<'a>)>,
        entries: Vec<Stored<'a>>,
    },
    None {
        hub: Hub<'a>,
        mark: Text<'a>,
    },
    Any(Tree<'a>),
}

#[derive(Debug, Arbitrary)]
struct Hub<'a> {
    level: Text<'a>,
    /// The epoch before, and the offset of what was lost after it.
    before: (Text<'a>, Text<'a>),
    /// How many events, bytes and milliseconds are held.
    held: [Text<'a>; 3],
}

impl Hub<'_> {
    fn value(&self) -> Value {
        let (former, lost) = &self.before;
        let before = Value::Array(vec![former.value(), lost.value()]);
        let held = Value::Array(self.held.iter().map(Text::value).collect());
        Value::Array(vec![self.level.value(), before, held, text("0")])
    }
}

#[derive(Debug, Arbitrary)]
enum Tree<'a> {
    Nil,
    Int(i64),
    Text(Text<'a>),
    List(Vec<Tree<'a>>),
}

/// A text that is mostly a number as a script writes it.
#[derive(Debug, Arbitrary)]
enum Text<'a> {
    Small(u8),
    Large(u64),
    Bytes(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Stored<'a> {
    at: Text<'a>,
    previous: Text<'a>,
    time: Text<'a>,
    before: Text<'a>,
    event: Event<'a>,
}

#[derive(Debug, Arbitrary)]
struct Event<'a> {
    client: Client<'a>,
    custom: Custom<'a>,
    data: Data<'a>,
}

#[derive(Debug, Arbitrary)]
enum Client<'a> {
    Nobody,
    Ana,
    Bob,
    Any(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Custom<'a> {
    None,
    Own,
    Any(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Data<'a> {
    Valid(u8),
    Any(&'a [u8]),
    /// Bytes after the beginning of a valid line.
    Begun(&'a [u8]),
    Ended(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Pushed<'a> {
    Event {
        epoch: u8,
        at: Text<'a>,
        previous: Text<'a>,
        last: bool,
        event: Event<'a>,
    },
    End {
        epoch: u8,
        at: Text<'a>,
        previous: Text<'a>,
    },
    /// Several of them in one.
    Several(Vec<Pushed<'a>>),
    Closed,
    Level(Text<'a>),
    Any(&'a [u8]),
}

const EPOCH: u64 = 0xabc;

impl Text<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Small(number) => number.to_string().into(),
            Self::Large(number) => number.to_string().into(),
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }

    fn value(&self) -> Value {
        Value::BulkString(self.bytes())
    }
}

fn text(text: impl AsRef<[u8]>) -> Value {
    Value::BulkString(text.as_ref().to_vec())
}

impl Tree<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => text.value(),
            Self::List(list) => Value::Array(list.iter().map(Tree::value).collect()),
        }
    }
}

impl Client<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Self::Nobody => b"",
            Self::Ana => b"ana",
            Self::Bob => b"bob",
            Self::Any(bytes) => bytes,
        }
    }
}

impl Event<'_> {
    fn client(&self) -> &[u8] {
        self.client.name()
    }

    fn custom(&self) -> &[u8] {
        match self.custom {
            Custom::None => b"",
            Custom::Own => b"own",
            Custom::Any(bytes) => bytes,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self.data {
            Data::Valid(number) => format!("event: n\ndata: {number}\n").into(),
            Data::Any(bytes) => bytes.to_vec(),
            Data::Begun(bytes) => [b"data: x\n", bytes].concat(),
            Data::Ended(bytes) => [bytes, b"\ndata: x\n"].concat(),
        }
    }
}

impl Reply<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Held { hub, finished, closed, numbers, clients, entries } => {
                let numbers = numbers.iter().map(Text::value).collect();
                let clients = clients.iter().flat_map(|(client, last)| [text(client.name()), last.value()]).collect();
                let entries = entries.iter().map(Stored::value).collect();
                let lists = [numbers, clients, entries].map(Value::Array);
                let finished = text(if *finished { "1" } else { "0" });
                let head = [text("held"), hub.value(), finished, closed.value()];
                Value::Array(head.into_iter().chain(lists).collect())
            }
            Self::None { hub, mark } => Value::Array(vec![text("none"), hub.value(), mark.value()]),
            Self::Any(tree) => tree.value(),
        }
    }
}

impl Stored<'_> {
    fn value(&self) -> Value {
        let id = [&self.at.bytes()[..], b"-0"].concat();
        let [previous, time, before] = [&self.previous, &self.time, &self.before].map(Text::value);
        let event = &self.event;
        let values = [text(event.data()), text(event.client()), text(event.custom()), previous, time, before];
        let fields = ["d", "c", "i", "p", "t", "w"].into_iter().zip(values);
        Value::Array(vec![text(id), Value::Array(fields.flat_map(|(name, value)| [text(name), value]).collect())])
    }
}

impl Pushed<'_> {
    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Event { epoch, at, previous, last, event } => {
                let epoch = EPOCH + u64::from(epoch % 8 == 7);
                let (client, custom) = (event.client(), event.custom());
                let lengths = format!(" {} {} {}\n", u8::from(*last), client.len(), custom.len());
                let head = [format!("E {epoch:012x} ").as_bytes(), &at.bytes(), b" ", &previous.bytes()].concat();
                [&head[..], lengths.as_bytes(), client, custom, &event.data()].concat()
            }
            Self::End { epoch, at, previous } => {
                let epoch = EPOCH + u64::from(epoch % 8 == 7);
                [format!("F {epoch:012x} ").as_bytes(), &at.bytes(), b" ", &previous.bytes()].concat()
            }
            Self::Several(pushed) => {
                let pushed: Vec<_> = pushed.iter().map(Pushed::payload).collect();
                let lengths: Vec<_> = pushed.iter().map(|payload| payload.len().to_string()).collect();
                [format!("M {}\n", lengths.join(" ")).into_bytes(), pushed.concat()].concat()
            }
            Self::Closed => b"C".into(),
            Self::Level(last) => [format!("L {EPOCH:012x} ").as_bytes(), &last.bytes()].concat(),
            Self::Any(bytes) => bytes.to_vec(),
        }
    }
}

/// A store that answers as the input says.
struct Store {
    held: [Value; 2],
    epoch: AtomicU64,
    /// What will be pushed.
    pushed: tokio::sync::Mutex<mpsc::UnboundedReceiver<Message>>,
    /// The events that it returned, and for whom they are.
    given: Mutex<HashSet<(Offset, Option<ClientId>)>>,
}

impl Store {
    fn epoch(&self) -> Epoch {
        Epoch::from_bits(self.epoch.load(Ordering::Relaxed))
    }

    fn held(&self, channel: &ChannelName) -> Result<Held, BackendError> {
        let held = stored::held(self.epoch(), &self.held[usize::from(channel == "b")]);
        let held = held.ok_or_else(|| BackendError::new("an answer that was not expected"))?;
        held.entries.iter().for_each(|entry| self.give(entry));
        Ok(held)
    }

    fn give(&self, entry: &Entry) {
        self.given.lock().unwrap().insert((entry.offset, entry.client.clone()));
    }

    fn answer<T: Send + 'static>(answer: Result<T, BackendError>) -> BackendFuture<'static, T> {
        Box::pin(std::future::ready(answer))
    }
}

/// The store as publishers and the test share it.
struct Shared(std::sync::Arc<Store>);

impl Backend for Shared {
    fn append(&self, _: Append) -> BackendFuture<'_, Appended> {
        Store::answer(Err(BackendError::new("it takes none")))
    }

    fn read(&self, channel: ChannelName, after: Offset, _: Retention) -> BackendFuture<'_, Held> {
        let mut held = self.0.held(&channel);
        // Events that were read before are not requested again, but an answer may contain them.
        if let Ok(held) = &mut held
            && after.get() % 2 == 0
        {
            held.entries.retain(|entry| entry.offset > after);
        }
        Store::answer(held)
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        let held: Result<Vec<_>, _> = channels.iter().map(|channel| self.0.held(channel)).collect();
        let heads = held.map(|held| {
            let level = held.iter().map(|held| held.level).max().unwrap_or_default();
            let head = |held: Held| {
                let mut head = Head::new(held.head);
                (head.forgotten, head.closed) = (held.marks.others, held.closed);
                head
            };
            Heads::new(self.0.epoch(), level, held.into_iter().map(head).collect())
        });
        Store::answer(heads)
    }

    fn close(&self, _: ChannelName) -> BackendFuture<'_, ()> {
        Store::answer(Ok(()))
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        if self.0.epoch() == lost {
            self.0.epoch.fetch_add(1, Ordering::Relaxed);
        }
        Store::answer(Ok(self.0.epoch()))
    }

    fn feed(&self, mut requests: Requests, messages: Messages) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            let mut pushed = self.0.pushed.lock().await;
            loop {
                let message = match select(pin!(requests.next()), pin!(pushed.recv())).await {
                    Either::Left((Some(Request::Watch(channel)), _)) => Message::Watching(channel),
                    Either::Left((Some(Request::Sync), _)) => {
                        let level = |channel| self.0.held(&channel).map_or(Offset::START, |held| held.level);
                        let offset = level(ChannelName::from_static("a")).max(level(ChannelName::from_static("b")));
                        Message::Level(Cursor { epoch: self.0.epoch(), offset })
                    }
                    Either::Left((Some(_), _)) => continue,
                    Either::Right((Some(message), _)) => message,
                    Either::Left((None, _)) | Either::Right((None, _)) => return Ok(()),
                };
                if let Message::Entry { entry, .. } = &message {
                    self.0.give(entry);
                }
                messages.send(message).await;
            }
        })
    }
}

/// A reader that repeatedly reads everything there is.
struct Reader {
    client: Option<ClientId>,
    subscription: Option<Subscription>,
    last: Offset,
}

impl Reader {
    fn grant(channels: &[&'static str], client: &str) -> (Grant, Option<ClientId>) {
        let client = (!client.is_empty()).then(|| ClientId::try_from(client).unwrap());
        (Grant::new(channels.iter().map(|name| ChannelName::from_static(name))).client(client.clone()), client)
    }

    async fn open(publisher: &Publisher, channels: &[&'static str], client: &str) -> Self {
        let (grant, client) = Self::grant(channels, client);
        let opened = OpenOptions::new().start(Start::Earliest).open(publisher, grant, None).await;
        Self { client, subscription: opened.ok(), last: Offset::START }
    }

    async fn read(&mut self, store: &Store) {
        let Some(subscription) = &mut self.subscription else { return };
        while let Ok(Some(delivery)) = timeout(Duration::from_millis(1), subscription.next()).await {
            match delivery {
                Delivery::Event(event) => {
                    assert!(event.offset() > self.last, "{} after {}", event.offset(), self.last);
                    self.last = event.offset();
                    check_given(store, event.offset(), &self.client);
                    let events = parse([event.as_bytes().clone()]);
                    let [(id, data, name)] = &events[..] else { panic!("{events:?} of {event:?}") };
                    let expected = (event.id().to_string(), event.data(), event.name().unwrap_or("message"));
                    assert_eq!((id, data, &name[..]), (&expected.0, &expected.1, expected.2));
                }
                Delivery::Gap(gap) if gap.reason == GapReason::OtherEpoch => self.last = Offset::START,
                Delivery::Gap(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn check_given(store: &Store, offset: Offset, client: &Option<ClientId>) {
    let given = store.given.lock().unwrap();
    let is_its = |client: &Option<ClientId>| given.contains(&(offset, client.clone()));
    assert!(is_its(&None) || client.is_some() && is_its(client), "{offset} is for somebody else than {client:?}");
}

/// The id, data and name of each event, as an independent parser reads it. Nothing may be left over.
fn parse(pieces: impl IntoIterator<Item = Bytes>) -> Vec<(String, String, String)> {
    let pieces: Vec<_> = pieces.into_iter().collect();
    let whole = pieces.concat();
    assert!(whole.ends_with(b"\n\n") || whole.ends_with(b":\n"), "cut: {:?}", whole.escape_ascii().to_string());
    assert!(!whole.starts_with(b"\n") && !whole.windows(3).any(|end| end == b"\n\n\n") && !whole.contains(&b'\r'));
    let blocks = whole.windows(2).filter(|end| end == b"\n\n").count();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let events: Vec<_> = EventStream::new(pieces).collect().now_or_never().unwrap();
    assert_eq!(events.len(), blocks, "a block that is no event");
    let texts = |event: sseer::event::Event| (event.id.to_string(), event.data.to_string(), event.event.to_string());
    events.into_iter().map(|event| texts(event.expect("it is UTF-8"))).collect()
}

/// Checks what is sent to one of the readers.
async fn wire(store: &Store, publisher: &Publisher, client: &str) {
    let (grant, client) = Reader::grant(&["a", "b"], client);
    let opened = OpenOptions::new().start(Start::Earliest).open(publisher, grant, None).await;
    let Ok(subscription) = opened else { return };
    let mut body = SseBody::new(subscription).keep_alive(KeepAlive::off());
    let mut pieces = Vec::new();
    while let Ok(Some(frame)) = timeout(Duration::from_millis(1), body.frame()).await {
        pieces.extend(frame.unwrap().into_data());
    }
    for (id, _, name) in parse(pieces) {
        let id = EventId::parse(id.as_bytes()).expect("an id of the hub's, or the application's own");
        if let ("n" | "message", Some(cursor)) = (&name[..], id.cursor()) {
            check_given(store, cursor.offset, &client);
        }
    }
}

fuzz_target!(|input: Input| {
    let present = input.present.value();
    assert!(stored::present(&[present.clone(), present]).len() <= input.present.bytes().len());
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (push, pushed) = mpsc::unbounded_channel();
        let store = std::sync::Arc::new(Store {
            held: input.held.each_ref().map(Reply::value),
            epoch: AtomicU64::new(EPOCH),
            pushed: pushed.into(),
            given: Mutex::default(),
        });
        let retention = Retention::new().events(8);
        let backend = Shared(store.clone());
        let publisher =
            Publisher::builder().backend(backend).retention(retention).timeout(Duration::from_secs(1)).build();
        let mut readers = Vec::new();
        for (channels, client) in [(&["a"][..], ""), (&["a"], "ana"), (&["a", "b"], "ana"), (&["b"], "bob")] {
            readers.push(Reader::open(&publisher, channels, client).await);
        }
        for reader in &mut readers {
            reader.read(&store).await;
        }
        wire(&store, &publisher, "ana").await;
        for (to, pushed) in &input.pushed {
            let messages = stored::messages(if *to { "f:0:a" } else { "f:0:b" }, &pushed.payload());
            messages.into_iter().for_each(|message| push.send(message).unwrap());
        }
        // Longer than it takes to notice that the feed lost something.
        for _ in 0..4 {
            for reader in &mut readers {
                reader.read(&store).await;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        wire(&store, &publisher, "ana").await;
        wire(&store, &publisher, "").await;
    });
});
