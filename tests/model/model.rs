//! The engine against a model that is too simple to be wrong: all events ever published in one vector, each held or
//! not.
//!
//! It checks promises 1 to 4 exactly: what a reader gets, in which order, and that it gets a gap if and only if an
//! event that is meant for it, and lies after its position, is no longer held.

#[path = "../common/mod.rs"]
mod common;

use std::{
    collections::{HashMap, HashSet},
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::{Duration, SystemTime},
};

use common::*;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use tower_sse::{
    Batch, Channel, ChannelState, ClientId, ConnectionId, Cursor, CustomId, Delivery, Denied, Duplicates, EndReason,
    Event, EventId, GapReason, IdempotencyKey, OpenOptions, Publisher, Resumed, Retention, Sent, Start, Subscription,
};

const CHANNELS: [&str; 3] = ["red", "green", "blue"];
const CLIENTS: [&str; 3] = ["", "ana", "bob"];
/// The id that some connections announce.
const TAB: ConnectionId = ConnectionId::from_static("tab");
/// How many events a channel holds: few, so that a run soon holds nothing, or many, so that they form runs.
const HELD: [usize; 2] = [4, 40];
/// The number of lengths.
pub const LENGTHS: usize = HELD.len();
/// Data sizes, of which some are large enough for a run of their own.
pub const SIZES: [usize; 4] = [0, 10, 700, 9_000];
const AGE: u64 = 10;
/// How long a key is known at least.
const WINDOW: u64 = 300;

#[derive(Debug, Clone)]
pub enum Op {
    Publish {
        channel: usize,
        target: usize,
        except: usize,
        custom: bool,
        last: bool,
        size: usize,
    },
    Pass {
        channel: usize,
        target: usize,
        except: usize,
    },
    Write {
        channel: usize,
        events: Vec<New>,
        after: After,
        fence: Option<u64>,
        last: bool,
    },
    End {
        channel: usize,
        fence: Option<u64>,
    },
    Open {
        channels: usize,
        client: usize,
        tab: bool,
        options: Options,
        id: Id,
    },
    Poll {
        reader: usize,
        times: usize,
    },
    Drop {
        reader: usize,
    },
    Age {
        seconds: u64,
    },
    Close {
        channel: usize,
    },
    Disconnect {
        client: usize,
        channel: Option<usize>,
    },
    /// From now on the authorizer grants the client these of the channels.
    Reauthorize {
        client: usize,
        channels: usize,
    },
    Recent {
        channel: usize,
        client: usize,
        n: usize,
    },
    Read {
        channel: usize,
        client: usize,
        after: Id,
        limit: usize,
    },
    Info {
        channel: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub start: Start,
    pub duplicates: Duplicates,
    pub existing: bool,
    /// Whether the access can be decided anew.
    pub recheck: bool,
}

/// An event of a batch.
#[derive(Debug, Clone)]
pub struct New {
    pub target: usize,
    pub except: usize,
    pub custom: bool,
    pub key: Option<usize>,
    pub size: usize,
}

/// What a batch expects of the channel's last event.
#[derive(Debug, Clone, Copy)]
pub enum After {
    Anything,
    Nothing,
    Last,
    /// The n-th event ever published, which is the channel's last one now and then.
    Of(usize),
}

#[derive(Debug, Clone)]
pub enum Id {
    None,
    /// The id of the n-th event ever published, as a browser would know it.
    Of(usize),
    /// The cursor at any offset, whether or not the event has a custom id.
    At(usize),
    /// The position of the n-th reader.
    Reader(usize),
    Future,
    OtherEpoch,
    Unknown,
    Garbage,
}

/// Whom an event excludes: nobody, a client, the connections with an id, or the last of each.
fn except() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 3 => 1..5usize]
}

fn excludes(except: usize, who: Who) -> bool {
    (who.client > 0 && (except == who.client || (except == 4 && who.client == 2))) || (who.tab && except >= 3)
}

fn excluding(event: Event, except: usize) -> Event {
    match except {
        0 => event,
        3 => event.except_connection(TAB),
        4 => event.except(ClientId::from_static(CLIENTS[2])).except_connection(TAB),
        client => event.except(ClientId::from_static(CLIENTS[client])),
    }
}

/// Who reads: as which client, and whether its connection has announced the id.
#[derive(Debug, Clone, Copy)]
struct Who {
    client: usize,
    tab: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let start =
        prop_oneof![Just(Start::Live), Just(Start::Earliest), Just(Start::Whole), (0..4usize).prop_map(Start::Last)];
    let duplicates =
        prop_oneof![6 => Just(Duplicates::Keep), 1 => Just(Duplicates::Replace), 1 => Just(Duplicates::Refuse)];
    let options = (start, duplicates, proptest::bool::weighted(0.2), any::<bool>())
        .prop_map(|(start, duplicates, existing, recheck)| Options { start, duplicates, existing, recheck });
    let id = || {
        prop_oneof![
            3 => Just(Id::None),
            4 => any::<usize>().prop_map(Id::Of),
            2 => any::<usize>().prop_map(Id::At),
            4 => any::<usize>().prop_map(Id::Reader),
            1 => prop_oneof![Just(Id::Future), Just(Id::OtherEpoch), Just(Id::Unknown), Just(Id::Garbage)],
        ]
    };
    let key = proptest::option::weighted(0.2, 0..4usize);
    let new = (0..3usize, except(), proptest::bool::weighted(0.3), key, 0..SIZES.len())
        .prop_map(|(target, except, custom, key, size)| New { target, except, custom, key, size });
    let after = prop_oneof![
        4 => Just(After::Anything),
        1 => Just(After::Nothing),
        2 => Just(After::Last),
        1 => any::<usize>().prop_map(After::Of),
    ];
    let fence = || proptest::option::weighted(0.3, 0..4u64);
    let op = prop_oneof![
        5 => (0..3usize, proptest::collection::vec(new, 0..6), after, fence(), proptest::bool::weighted(0.04))
            .prop_map(|(channel, events, after, fence, last)| Op::Write { channel, events, after, fence, last }),
        1 => (0..3usize, fence()).prop_map(|(channel, fence)| Op::End { channel, fence }),
        12 => (0..3usize, 0..3usize, except(), proptest::bool::weighted(0.3), proptest::bool::weighted(0.02), 0..SIZES.len())
            .prop_map(|(channel, target, except, custom, last, size)| {
                Op::Publish { channel, target, except, custom, last, size }
            }),
        4 => (0..3usize, 0..3usize, except())
            .prop_map(|(channel, target, except)| Op::Pass { channel, target, except }),
        5 => (1..8usize, 0..3usize, any::<bool>(), options, id())
            .prop_map(|(channels, client, tab, options, id)| Op::Open { channels, client, tab, options, id }),
        10 => (any::<usize>(), 1..5usize).prop_map(|(reader, times)| Op::Poll { reader, times }),
        2 => any::<usize>().prop_map(|reader| Op::Drop { reader }),
        2 => (1..AGE + 3).prop_map(|seconds| Op::Age { seconds }),
        1 => (0..3usize).prop_map(|channel| Op::Close { channel }),
        1 => (1..3usize, proptest::option::of(0..3usize))
            .prop_map(|(client, channel)| Op::Disconnect { client, channel }),
        2 => (1..3usize, 0..8usize).prop_map(|(client, channels)| Op::Reauthorize { client, channels }),
        1 => (0..3usize, 0..3usize, 0..6usize).prop_map(|(channel, client, n)| Op::Recent { channel, client, n }),
        3 => (0..3usize, 0..3usize, id(), 0..6usize)
            .prop_map(|(channel, client, after, limit)| Op::Read { channel, client, after, limit }),
        1 => (0..3usize).prop_map(|channel| Op::Info { channel }),
    ];
    proptest::collection::vec(op, 1..80)
}

/// An ephemeral event, which comes after the event `place`.
struct Passed {
    channel: usize,
    target: usize,
    except: usize,
    place: usize,
}

/// The reference: offset `n` is `events[n - 1]`.
#[derive(Default)]
struct Model {
    /// How many events each channel may hold.
    max: usize,
    events: Vec<Published>,
    passed: Vec<Passed>,
    finished: HashSet<usize>,
    /// The last event of each channel since it was closed, and its highest fence.
    last: [usize; 3],
    /// The last event of all when each channel was closed.
    since: [usize; 3],
    fences: [Option<u64>; 3],
    /// The first event with each key, by channel.
    keys: HashMap<(usize, usize), usize>,
    /// What the authorizer grants each client.
    granted: Arc<[AtomicUsize; 3]>,
    now: u64,
}

struct Published {
    channel: usize,
    target: usize,
    except: usize,
    custom: bool,
    at: u64,
    held: bool,
}

struct Reader {
    real: Subscription,
    channels: Vec<usize>,
    who: Who,
    /// Of each channel, the ephemeral events up to here were read, or passed before it came.
    passed: [usize; 3],
    /// Everything up to here has been read.
    cursor: usize,
    /// The events that a gap has told it of.
    told: HashSet<usize>,
    /// For each channel, why its subscription is to end at once, and the reason that came first.
    ending: Vec<Option<EndReason>>,
    ended_first: Option<EndReason>,
    /// Whether its access can be decided anew, and has to be.
    recheck: bool,
    called: bool,
    gap: Option<Expected>,
    over: bool,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Event(usize),
    /// An ephemeral event.
    Passed(usize),
    Gap {
        reason: GapReason,
        first: Option<usize>,
        cursor: usize,
    },
    Pending,
    End(EndReason),
}

fn is_for(target: usize, except: usize, who: Who) -> bool {
    (target == 0 || target == who.client) && !excludes(except, who)
}

impl Model {
    fn publish(&mut self, channel: usize, target: usize, except: usize, custom: bool) -> usize {
        self.events.push(Published { channel, target, except, custom, at: self.now, held: true });
        self.last[channel] = self.events.len();
        self.expire();
        let held: Vec<usize> = (1..=self.events.len()).filter(|n| self.is_held(*n, channel)).collect();
        for n in &held[..held.len().saturating_sub(self.max)] {
            self.events[n - 1].held = false;
        }
        self.events.len()
    }

    /// The first event with a key, if it is held or was published within the window.
    fn first_with(&self, channel: usize, key: usize) -> Option<usize> {
        let n = *self.keys.get(&(channel, key))?;
        let event = &self.events[n - 1];
        (event.held || self.now - event.at <= WINDOW).then_some(n)
    }

    fn is_held(&self, n: usize, channel: usize) -> bool {
        self.events[n - 1].held && self.events[n - 1].channel == channel
    }

    fn expire(&mut self) {
        let now = self.now;
        self.events.iter_mut().filter(|event| now - event.at > AGE).for_each(|event| event.held = false);
    }

    /// The offsets after `after` that are meant for a reader, held or not.
    fn after(&self, channels: &[usize], who: Who, after: usize) -> Vec<usize> {
        let seen = |n: &usize| {
            let event = &self.events[n - 1];
            channels.contains(&event.channel) && is_for(event.target, event.except, who)
        };
        (after + 1..=self.events.len()).filter(seen).collect()
    }

    fn held_after(&self, channels: &[usize], who: Who, after: usize) -> Vec<usize> {
        let mut held = self.after(channels, who, after);
        held.retain(|n| self.events[n - 1].held);
        held
    }

    fn lost_after(&self, channels: &[usize], who: Who, after: usize) -> Vec<usize> {
        let mut lost = self.after(channels, who, after);
        lost.retain(|n| !self.events[n - 1].held);
        lost
    }

    /// Whether an event is lost that one of the channels had since it was closed.
    fn has_lost_beginning(&self, channels: &[usize], who: Who) -> bool {
        self.lost_after(channels, who, 0).iter().any(|n| *n > self.since[self.events[n - 1].channel])
    }

    fn state(&self, channel: usize) -> ChannelState {
        match self.last[channel] {
            _ if self.finished.contains(&channel) => ChannelState::Finished,
            0 => ChannelState::Absent,
            _ => ChannelState::Open,
        }
    }

    fn all_finished(&self, channels: &[usize]) -> bool {
        channels.iter().all(|channel| self.finished.contains(channel))
    }
}

impl Reader {
    /// What the next poll has to return. Where either of two is right, it is the one that was `seen`.
    fn expect(&mut self, model: &Model, seen: &Expected) -> Expected {
        if let Some(gap) = self.gap.take() {
            return gap;
        }
        if let Some(reason) = self.ended_first {
            return self.end(reason);
        }
        if std::mem::take(&mut self.called) {
            let granted = model.granted[self.who.client].load(Relaxed);
            self.channels.retain(|channel| granted & (1 << channel) != 0);
            if self.channels.is_empty() {
                return self.end(EndReason::Revoked);
            }
        }
        let (channels, who) = (&self.channels, self.who);
        let lost = model.lost_after(channels, who, self.cursor);
        let first = model.held_after(channels, who, self.cursor).first().copied();
        // Of several channels, what is lost behind the next event may be told before it or behind it.
        let is_due = |n: &&usize| channels.len() == 1 || first.is_none_or(|first| **n < first);
        let untold = || lost.iter().filter(|n| !self.told.contains(n));
        // And so may one of these be that is passed before it.
        let is_passed = channels.len() > 1 && matches!(seen, Expected::Passed(_));
        let must_tell = || untold().any(|n| is_due(&n)) || !matches!(seen, Expected::Event(_));
        if !is_passed && untold().next().is_some() && must_tell() {
            self.told.extend(lost);
            self.cursor = first.map_or(model.events.len(), |first| first - 1).max(self.cursor);
            return Expected::Gap { reason: GapReason::Lagged, first, cursor: self.cursor };
        }
        // Of several channels, those between the same two events come in any order.
        let passing = |channel: &usize| {
            let passed = model.passed.iter().enumerate().skip(self.passed[*channel]);
            let mut own =
                passed.filter(|(_, event)| event.channel == *channel && is_for(event.target, event.except, who));
            own.next().map(|(n, event)| (event.place.max(self.cursor), n))
        };
        let passing: Vec<_> = channels.iter().filter_map(passing).collect();
        let next =
            passing.iter().map(|(place, _)| *place).min().filter(|place| first.is_none_or(|first| *place < first));
        if let Some(next) = next {
            let any = |n: &usize| passing.contains(&(next, *n));
            let n = match seen {
                Expected::Passed(n) if any(n) => *n,
                _ => passing.iter().find(|(place, _)| *place == next).unwrap().1,
            };
            self.passed[model.passed[n].channel] = n + 1;
            return Expected::Passed(n);
        }
        match first {
            Some(first) => {
                self.cursor = first;
                Expected::Event(first)
            }
            None if model.all_finished(channels) => self.end(EndReason::Finished),
            None => Expected::Pending,
        }
    }

    fn end(&mut self, reason: EndReason) -> Expected {
        self.over = true;
        Expected::End(reason)
    }

    /// What the next poll returns.
    fn look(&mut self) -> Expected {
        match poll(&mut self.real) {
            Poll::Pending => Expected::Pending,
            Poll::Ready(None) => Expected::End(self.real.end_reason().unwrap()),
            Poll::Ready(Some(Delivery::Event(event))) if event.is_ephemeral() => {
                Expected::Passed(event.data().parse().unwrap())
            }
            Poll::Ready(Some(Delivery::Event(event))) => {
                assert_eq!(event.data().split(' ').next().unwrap(), event.offset().to_string());
                Expected::Event(number(event.offset().get()))
            }
            Poll::Ready(Some(Delivery::Gap(gap))) => Expected::Gap {
                reason: gap.reason,
                first: gap.first.map(|first| number(first.get())),
                cursor: number(gap.cursor.offset.get()),
            },
            Poll::Ready(Some(other)) => unreachable!("{other:?}"),
        }
    }

    /// Whether it is a live connection of that client on that channel.
    fn is_on(&self, channel: usize, client: usize) -> bool {
        !self.over && self.who.client == client && self.channels.contains(&channel) && self.ending[channel].is_none()
    }
}

fn number(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

struct World {
    publisher: Publisher,
    epoch: String,
    model: Model,
    readers: Vec<Reader>,
}

impl World {
    fn new(max: usize) -> Self {
        let retention = Retention::new().events(max).age(Duration::from_secs(AGE));
        let publisher = Publisher::builder().retention(retention).build();
        let epoch = live(&publisher, &["other"], "").cursor().epoch.to_string();
        Self { publisher, epoch, model: Model { max, ..Model::default() }, readers: Vec::new() }
    }

    async fn run(&mut self, op: Op) {
        match op {
            Op::Publish { channel, target, except, custom, last, size } => {
                self.publish(channel, target, except, custom, last, SIZES[size]);
            }
            Op::Pass { channel, target, except } => self.pass(channel, target, except),
            Op::Write { channel, events, after, fence, last } => self.write(channel, events, after, fence, last),
            Op::End { channel, fence } => {
                let ended = ready(fenced(self.publisher.channel(CHANNELS[channel]), fence).end());
                match self.refuses_fence(channel, fence) {
                    Some(seen) => assert_eq!(ended.unwrap_err().fence(), Some(seen)),
                    None => {
                        ended.unwrap();
                        self.end_of(channel, fence);
                    }
                }
            }
            Op::Open { channels, client, tab, options, id } => {
                self.open(subset(channels), Who { client, tab }, options, &id);
            }
            Op::Poll { reader, times } => {
                let count = self.readers.len().max(1);
                let Some(reader) = self.readers.get_mut(reader % count) else { return };
                for _ in 0..times {
                    if reader.over {
                        assert!(matches!(poll(&mut reader.real), Poll::Ready(None)));
                        return;
                    }
                    let seen = reader.look();
                    assert_eq!(seen, reader.expect(&self.model, &seen));
                }
            }
            Op::Drop { reader } => {
                if !self.readers.is_empty() {
                    self.readers.swap_remove(reader % self.readers.len());
                }
            }
            Op::Age { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.model.now += seconds;
                self.model.expire();
                // The sweep may run at any time. Looking at a channel evicts what is too old.
                CHANNELS.iter().for_each(|channel| drop(self.publisher.channel(*channel).recent(0)));
            }
            Op::Close { channel } => {
                close(&self.publisher, CHANNELS[channel]);
                self.model.finished.remove(&channel);
                self.model.last[channel] = 0;
                self.model.since[channel] = self.model.events.len();
                self.model.events.iter_mut().filter(|event| event.channel == channel).for_each(|e| e.held = false);
                self.end(EndReason::Closed, |reader| reader.channels.contains(&channel).then_some(vec![channel]));
            }
            Op::Disconnect { client, channel } => {
                match channel {
                    Some(channel) => {
                        ready(self.publisher.channel(CHANNELS[channel]).disconnect(CLIENTS[client])).unwrap()
                    }
                    None => ready(self.publisher.disconnect(CLIENTS[client])).unwrap(),
                };
                let on = channel.map_or(vec![0, 1, 2], |channel| vec![channel]);
                self.end(EndReason::Disconnected, |reader| (reader.who.client == client).then(|| on.clone()));
            }
            Op::Reauthorize { client, channels } => self.reauthorize(client, channels),
            Op::Recent { channel, client, n } => self.recent(channel, client, n),
            Op::Read { channel, client, after, limit } => self.read(channel, client, &after, limit),
            Op::Info { channel } => self.info(channel),
        }
        let over = self.readers.iter().filter(|reader| reader.over || reader.ended_first.is_some()).count();
        assert_eq!((self.publisher.connections(), self.publisher.stats().lingering), (self.readers.len() - over, over));
        assert!(self.publisher.stats().channels <= CHANNELS.len() + 1);
    }

    /// The connections that an event is for.
    fn reached(&self, channel: usize, target: usize, except: usize) -> usize {
        let on = |reader: &&Reader| match target {
            0 => (0..CLIENTS.len()).any(|client| reader.is_on(channel, client)),
            _ => reader.is_on(channel, target),
        };
        self.readers.iter().filter(on).filter(|reader| !excludes(except, reader.who)).count()
    }

    fn pass(&mut self, channel: usize, target: usize, except: usize) {
        let event = excluding(Event::text(self.model.passed.len().to_string()).ephemeral(), except);
        let handle = self.publisher.channel(CHANNELS[channel]);
        let sent = match target {
            0 => ready(handle.send(event)),
            _ => ready(handle.send_to(CLIENTS[target], event)),
        };
        // A channel that nobody reads may have been dropped, and then nothing is known of its end.
        if self.model.finished.contains(&channel) && sent.is_err() {
            return;
        }
        let sent = sent.unwrap();
        assert_eq!(sent.reached, self.reached(channel, target, except));
        self.model.passed.push(Passed { channel, target, except, place: self.model.events.len() });
    }

    fn publish(&mut self, channel: usize, target: usize, except: usize, custom: bool, last: bool, size: usize) {
        let n = self.model.events.len() + 1;
        let mut event = excluding(Event::text(format!("{n} {}", "x".repeat(size))), except);
        if custom {
            event = event.id(custom_id(n));
        }
        let handle = self.publisher.channel(CHANNELS[channel]);
        let (target, sent) = match target {
            _ if last => (0, ready(handle.finish(event))),
            0 => (0, ready(handle.send(event))),
            _ => (target, ready(handle.send_to(CLIENTS[target], event))),
        };
        if self.model.finished.contains(&channel) {
            assert!(sent.unwrap_err().is_finished());
            return;
        }
        let sent = sent.unwrap();
        assert_eq!(sent.id.to_string(), if custom { custom_id(n).to_string() } else { format!("{}-{n}", self.epoch) });
        assert_eq!(sent.reached, self.reached(channel, target, except));
        self.model.publish(channel, target, except, custom);
        if last {
            self.model.finished.insert(channel);
        }
    }

    /// Publishes several events at once, perhaps with a condition.
    fn write(&mut self, channel: usize, events: Vec<New>, after: After, fence: Option<u64>, last: bool) {
        self.model.expire();
        let (mut batch, mut in_these, mut places) = (Batch::new(), HashMap::new(), Vec::new());
        let mut next = self.model.events.len() + 1;
        for New { target, except, custom, key, size } in &events {
            let text = format!("{next} {}", "x".repeat(SIZES[*size]));
            let mut event = excluding(Event::text(text), *except);
            if *custom {
                event = event.id(custom_id(next));
            }
            if let Some(key) = key {
                event = event.idempotency_key(IdempotencyKey::try_from(format!("key {key}")).unwrap());
            }
            batch = if *target == 0 { batch.event(event) } else { batch.event_to(CLIENTS[*target], event) };
            let first = key.and_then(|key| self.model.first_with(channel, key).or(in_these.get(&key).copied()));
            places.push((first.unwrap_or(next), first.is_some()));
            if first.is_none() {
                key.map(|key| in_these.insert(key, next));
                next += 1;
            }
        }
        let is_new = places.iter().any(|(_, repeated)| !repeated);
        let known = self.model.last[channel];
        let expected = match after {
            After::Anything => None,
            After::Nothing => Some(0),
            After::Last => Some(known),
            After::Of(n) => Some(n % (self.model.events.len() + 1)),
        };
        if let Some(n) = expected {
            batch = batch.only_after(self.cursor(n));
        }
        batch = if last { batch.finish() } else { batch };
        let sent = ready(fenced(self.publisher.channel(CHANNELS[channel]), fence).send_all(batch));
        if !is_new && (!events.is_empty() || !last) {
            assert!(sent.unwrap().iter().zip(&places).all(|(sent, (n, _))| sent.repeated && self.is_at(sent, *n)));
        } else if let Some(seen) = self.refuses_fence(channel, fence) {
            assert_eq!(sent.unwrap_err().fence(), Some(seen));
        } else if self.model.finished.contains(&channel) {
            assert!(sent.unwrap_err().is_finished());
        } else if expected.is_some_and(|expected| expected != known) {
            let error = sent.unwrap_err();
            assert!(error.is_conflict() && error.last() == self.cursor(known), "{error}, and not {known}");
        } else {
            self.written(channel, &events, &places, &sent.unwrap());
            self.model.keys.extend(in_these.into_iter().map(|(key, n)| ((channel, key), n)));
            self.model.fences[channel] = self.model.fences[channel].max(fence);
            if last {
                self.end_of(channel, fence);
            }
        }
    }

    fn written(&mut self, channel: usize, events: &[New], places: &[(usize, bool)], sent: &[Sent]) {
        assert_eq!(sent.len(), events.len());
        for ((event, (n, repeated)), sent) in events.iter().zip(places).zip(sent) {
            let reached = if *repeated { 0 } else { self.reached(channel, event.target, event.except) };
            if !repeated {
                assert_eq!(self.model.publish(channel, event.target, event.except, event.custom), *n);
            }
            assert!(self.is_at(sent, *n));
            assert_eq!((sent.repeated, sent.reached), (*repeated, reached));
        }
    }

    fn is_at(&self, sent: &Sent, n: usize) -> bool {
        let custom = self.model.events[n - 1].custom;
        sent.cursor.to_string() == format!("{}-{n}", self.epoch)
            && sent.id.to_string() == if custom { custom_id(n).to_string() } else { sent.cursor.to_string() }
    }

    /// The cursor of an event, if it is one.
    fn cursor(&self, n: usize) -> Option<Cursor> {
        let id = format!("{}-{n}", self.epoch);
        (n > 0).then(|| EventId::parse(id.as_bytes()).unwrap().cursor().unwrap())
    }

    /// The fence that the channel has seen, if it is higher.
    fn refuses_fence(&self, channel: usize, fence: Option<u64>) -> Option<u64> {
        self.model.fences[channel].filter(|seen| fence.is_some_and(|fence| fence < *seen))
    }

    fn end_of(&mut self, channel: usize, fence: Option<u64>) {
        // A fence that comes too late counts for nothing.
        if self.model.finished.insert(channel) {
            self.model.fences[channel] = self.model.fences[channel].max(fence);
        }
    }

    fn open(&mut self, channels: Vec<usize>, who: Who, options: Options, id: &Id) {
        let (client, id) = (who.client, self.id(id));
        let Options { start, duplicates, existing, recheck } = options;
        let options = OpenOptions::new().start(start).duplicates(duplicates).existing(existing);
        let options = options.connection(who.tab.then_some(TAB));
        let grant = self.grant(&channels, who, recheck);
        let opened = ready(options.open(&self.publisher, grant, id.as_ref().map(|id| id.as_bytes())));
        self.model.expire();

        let refuses = duplicates == Duplicates::Refuse && client != 0;
        if refuses && channels.iter().any(|channel| self.has_connection(*channel, client)) {
            assert!(opened.unwrap_err().is_limit());
            return;
        }
        if existing && channels.iter().any(|channel| self.model.state(*channel) == ChannelState::Absent) {
            assert!(opened.unwrap_err().is_absent());
            return;
        }
        let (cursor, reason) = self.start(&channels, who, start, id.as_deref());
        let model = &self.model;
        let first = model.held_after(&channels, who, cursor).first().copied();
        if reason.is_none() && first.is_none() && model.all_finished(&channels) {
            assert!(opened.unwrap_err().is_over());
            return;
        }
        if duplicates == Duplicates::Replace && client != 0 {
            self.end(EndReason::Replaced, |reader| (reader.who.client == client).then(|| channels.clone()));
        }
        let told = self.model.lost_after(&channels, who, 0).into_iter().collect();
        let (mut cursor, mut gap) = (cursor, None);
        if let Some(reason) = reason {
            cursor = first.map_or(self.model.events.len(), |first| first - 1).max(cursor);
            gap = Some(Expected::Gap { reason, first, cursor });
        }
        let real = opened.unwrap();
        assert_eq!(number(real.cursor().offset.get()), cursor);
        let resumed = if id.is_some() { Resumed::Exact } else { Resumed::Fresh };
        assert_eq!(real.resumed(), reason.map_or(resumed, Resumed::Gap));
        self.readers.push(Reader {
            real,
            channels,
            who,
            passed: [self.model.passed.len(); 3],
            cursor,
            told,
            ending: vec![None; 3],
            ended_first: None,
            recheck,
            called: false,
            gap,
            over: false,
        });
    }

    fn grant(&self, channels: &[usize], who: Who, is_rechecked: bool) -> tower_sse::Grant {
        let names: Vec<&str> = channels.iter().map(|channel| CHANNELS[*channel]).collect();
        let granted = self.model.granted.clone();
        let recheck = move || {
            let names = subset(granted[who.client].load(Relaxed)).into_iter().map(|channel| CHANNELS[channel]);
            let grant = grant(&names.collect::<Vec<_>>(), CLIENTS[who.client]);
            async move { Ok::<_, Denied>(grant) }
        };
        let of_channels = grant(&names, CLIENTS[who.client]);
        if is_rechecked { of_channels.recheck(recheck) } else { of_channels }
    }

    /// Whether a client is connected to a channel, when that decides about another connection.
    fn has_connection(&mut self, channel: usize, client: usize) -> bool {
        if self.readers.iter().any(|reader| reader.is_on(channel, client)) {
            // Then those that have ended on another channel, and were not polled since, count as ended on this one.
            for reader in self.readers.iter_mut().filter(|reader| reader.channels.contains(&channel)) {
                reader.ending[channel] = reader.ending[channel].or(reader.ended_first);
            }
        }
        self.readers.iter().any(|reader| reader.is_on(channel, client))
    }

    fn reauthorize(&mut self, client: usize, channels: usize) {
        self.model.granted[client].store(channels, Relaxed);
        let on = |reader: &Reader| (0..CHANNELS.len()).filter(|channel| reader.is_on(*channel, client)).count();
        let connected: usize = self.readers.iter().map(on).sum();
        assert_eq!(ready(self.publisher.reauthorize(CLIENTS[client])).unwrap(), connected);
        for reader in self.readers.iter_mut().filter(|reader| reader.recheck && on(reader) > 0) {
            reader.called = true;
        }
        self.end(EndReason::Reauthorize, |reader| {
            (reader.who.client == client && !reader.recheck).then(|| reader.channels.clone())
        });
    }

    /// Where a reader starts, and the reason if it gets a gap.
    fn start(&self, channels: &[usize], who: Who, start: Start, id: Option<&str>) -> (usize, Option<GapReason>) {
        let model = &self.model;
        let Some(id) = id else {
            if start == Start::Whole && model.has_lost_beginning(channels, who) {
                return (0, Some(GapReason::Evicted));
            }
            let held = model.held_after(channels, who, 0);
            let cursor = match start {
                Start::Live if !model.all_finished(channels) => model.events.len(),
                Start::Last(n) if n == 0 || held.is_empty() => model.events.len(),
                Start::Last(n) => held[held.len().saturating_sub(n)] - 1,
                _ => held.first().map_or(model.events.len(), |first| first - 1),
            };
            return (cursor, None);
        };
        let cursor = match EventId::parse(id.as_bytes()) {
            None => return (0, Some(GapReason::UnknownId)),
            Some(id) if id.custom().is_some() => {
                let held = model.held_after(channels, who, 0).into_iter();
                let found =
                    held.filter(|n| model.events[n - 1].custom).find(|n| *id.custom().unwrap() == custom_id(*n));
                match found {
                    Some(cursor) => cursor,
                    None => return (0, Some(GapReason::UnknownId)),
                }
            }
            Some(id) if id.cursor().unwrap().epoch.to_string() != self.epoch => {
                return (0, Some(GapReason::OtherEpoch));
            }
            Some(id) => match number(id.cursor().unwrap().offset.get()) {
                cursor if cursor > model.events.len() => return (0, Some(GapReason::UnknownId)),
                cursor => cursor,
            },
        };
        let lost = !model.lost_after(channels, who, cursor).is_empty();
        (cursor, lost.then_some(GapReason::Evicted))
    }

    fn id(&self, id: &Id) -> Option<String> {
        let count = self.model.events.len();
        let at = |offset: usize| Some(format!("{}-{offset}", self.epoch));
        match *id {
            Id::None => None,
            Id::Of(n) if count > 0 => match 1 + n % count {
                n if self.model.events[n - 1].custom => Some(custom_id(n).to_string()),
                n => at(n),
            },
            Id::Reader(n) if !self.readers.is_empty() => at(self.readers[n % self.readers.len()].cursor),
            Id::Of(n) | Id::At(n) | Id::Reader(n) => at(n % (count + 1)),
            Id::Future => at(count + 1),
            Id::OtherEpoch => Some("0123456789ab-0".into()),
            Id::Unknown => Some("nothing".into()),
            Id::Garbage => Some("\u{1F980}\r\n".into()),
        }
    }

    /// Ends readers on the channels that `on` returns.
    fn end(&mut self, reason: EndReason, on: impl Fn(&Reader) -> Option<Vec<usize>>) {
        for reader in &mut self.readers {
            for channel in on(reader).into_iter().flatten().filter(|channel| reader.channels.contains(channel)) {
                reader.ending[channel].get_or_insert(reason);
                reader.ended_first.get_or_insert(reason);
            }
        }
    }

    fn recent(&self, channel: usize, client: usize, n: usize) {
        let handle = self.publisher.channel(CHANNELS[channel]);
        let recent = if client == 0 { handle.recent(n) } else { handle.recent_for(CLIENTS[client], n) };
        let held = self.model.held_after(&[channel], Who { client, tab: false }, 0);
        let expected = &held[held.len().saturating_sub(n)..];
        assert_eq!(recent.iter().map(|event| number(event.offset().get())).collect::<Vec<_>>(), expected);
    }

    fn read(&mut self, channel: usize, client: usize, after: &Id, limit: usize) {
        self.model.expire();
        let id = self.id(after);
        // What is no id is none that was ever given.
        let asked = id.as_ref().map(|id| EventId::parse(id.as_bytes()).unwrap_or(custom_id(0).into()));
        let handle = self.publisher.channel(CHANNELS[channel]);
        let page = match client {
            0 => ready(handle.read(asked, limit)),
            _ => ready(handle.read_for(CLIENTS[client], asked, limit)),
        };
        let (page, who, model) = (page.unwrap(), Who { client, tab: false }, &self.model);
        let (cursor, reason) = self.start(&[channel], who, Start::Whole, id.as_deref());
        let cursor = if id.is_none() { 0 } else { cursor };
        let held = model.held_after(&[channel], who, cursor);
        let (expected, rest) = held.split_at(limit.min(held.len()));
        assert_eq!(page.events.iter().map(|event| number(event.offset().get())).collect::<Vec<_>>(), expected);
        assert_eq!((page.caught_up, page.finished), (rest.is_empty(), model.finished.contains(&channel)));
        let next = number(page.next.offset.get());
        assert_eq!(model.held_after(&[channel], who, next), rest, "the next page goes on after {next}");
        assert!(next >= expected.last().copied().unwrap_or(cursor));
        assert!(page.gap.is_some() || expected.is_empty() || model.lost_after(&[channel], who, next).is_empty());
        let gap = page.gap.map(|gap| (gap.reason, gap.first.map(|first| number(first.get())), gap.cursor));
        let first = held.first().copied();
        let begin = first.map_or(next, |first| first - 1);
        let begin = Cursor { offset: tower_sse::Offset::new(begin as u64), ..page.next };
        assert_eq!(gap, reason.map(|reason| (reason, first, begin)));
    }

    fn info(&mut self, channel: usize) {
        self.model.expire();
        let info = ready(self.publisher.channel(CHANNELS[channel]).info()).unwrap();
        let held: Vec<usize> = (1..=self.model.events.len()).filter(|n| self.model.is_held(*n, channel)).collect();
        assert_eq!((info.state, info.events), (self.model.state(channel), held.len()));
        assert_eq!(info.first, held.first().and_then(|first| self.cursor(*first)));
        assert_eq!(info.last, self.cursor(self.model.last[channel]));
        assert_eq!(info.bytes > 0, !held.is_empty());
        let newest = held.iter().rfind(|n| self.model.events[*n - 1].target == 0);
        assert_eq!(info.last_event.map(|event| number(event.offset().get())), newest.copied());
    }
}

fn subset(channels: usize) -> Vec<usize> {
    (0..CHANNELS.len()).filter(|channel| channels & (1 << channel) != 0).collect()
}

fn fenced(channel: Channel, fence: Option<u64>) -> Channel {
    match fence {
        Some(fence) => channel.fence(fence),
        None => channel,
    }
}

fn custom_id(n: usize) -> CustomId {
    CustomId::try_from(format!("custom.{n}")).unwrap()
}

/// Runs one case: the index of a length, and the operations. The fuzz target of that name runs cases as well.
pub fn run(held: usize, ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(HELD[held]);
        for op in ops {
            world.run(op).await;
        }
    });
}

/// Runs 40,000 random cases on threads. `MODEL_CASES` sets another number, and `MODEL_SEED` repeats the cases of a
/// seed.
#[test]
fn every_reader_gets_what_the_model_says() {
    const PARTS: u32 = 4;
    let given = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given("MODEL_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    let cases = given("MODEL_CASES").map_or(40_000, |cases| u32::try_from(cases).unwrap());
    println!("MODEL_SEED={seed} MODEL_CASES={cases}");
    thread::scope(|scope| {
        for part in 0..PARTS {
            scope.spawn(move || {
                let config = ProptestConfig { cases: cases / PARTS, failure_persistence: None, ..Default::default() };
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.to_le_bytes());
                bytes[8..12].copy_from_slice(&part.to_le_bytes());
                let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
                let result = TestRunner::new_with_rng(config, random).run(&(0..LENGTHS, ops()), |(held, ops)| {
                    run(held, ops);
                    Ok(())
                });
                assert!(result.is_ok(), "MODEL_SEED={seed} MODEL_CASES={cases}: {}", result.unwrap_err());
            });
        }
    });
}
