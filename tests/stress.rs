//! Promises 1 to 4 with everything at once, on threads: publishers of broadcast and targeted events, readers of one and
//! of several channels that hang up and resume, eviction, disconnects, closes and the end. The test runs rounds, each
//! with its own seed, until the time is over, and accounts for every event.
//!
//! It takes a few seconds by default. For ten minutes:
//!
//! ```sh
//! STRESS_SECONDS=600 cargo test --release --test stress -- --nocapture
//! ```
//!
//! `STRESS_SEED` starts with the round of that seed, and repeats its random choices, as far as threads allow.

mod common;

use std::{
    collections::HashSet,
    env,
    ops::AddAssign,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use common::*;
use tower_sse::{
    Batch, Channel, ClientId, Delivery, EndReason, Event, EventId, OpenOptions, PublishError, Publisher, Retention,
    Sent, Start, Subscription,
};

const CLIENTS: [&str; 3] = ["", "ana", "bob"];

/// The parameters of a round, which its seed determines.
#[derive(Debug, Clone)]
struct Round {
    seed: u64,
    channels: u64,
    publishers: u64,
    readers: u64,
    events: u64,
    /// How many events a channel may hold.
    held: u64,
    /// A reader hangs up after at most that many events.
    patience: u64,
    /// One in that many steps of the troublemaker ends a client's connections or closes a channel; none if 0.
    trouble: u64,
}

impl Round {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(9);
        let mut one_of = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        Self {
            seed,
            channels: one_of(&[1, 2, 3, 5]),
            publishers: one_of(&[1, 2, 3]),
            readers: one_of(&[2, 4, 6]),
            events: one_of(&[20, 21, 61, 200, 201]),
            held: one_of(&[1, 3, 10, 40, 10_000]),
            patience: one_of(&[1, 3, 10, 50]),
            trouble: one_of(&[0, 0, 3, 10]),
        }
    }

    fn random(&self, salt: u64) -> Random {
        let mut random = Random((self.seed ^ (salt << 48)).wrapping_mul(0xd129_42f0_ed4b_4b95) | 1);
        random.below(9);
        random
    }
}

fn name(channel: u64) -> String {
    format!("channel{channel}")
}

/// An acknowledged event.
#[derive(Debug, Clone, Copy)]
struct Published {
    offset: u64,
    channel: u64,
    client: &'static str,
    /// Whom it excludes; empty if nobody.
    except: &'static str,
}

/// Whether a reader is to get an event for `client` that excludes `except`.
fn is_for(client: &str, except: &str, reader: &str) -> bool {
    (client.is_empty() || client == reader) && (except.is_empty() || except != reader)
}

/// What a reader got.
#[derive(Debug, Clone, Copy)]
enum Got {
    Event(u64),
    Gap,
}

/// What became of the events.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    rounds: u64,
    published: u64,
    received: u64,
    /// Ephemeral events that were received.
    passed: u64,
    resumes: u64,
    gaps: u64,
    /// Events that were not received, but told of by a gap.
    told: u64,
    lost: u64,
    repeated: u64,
    reordered: u64,
    leaked: u64,
    false_alarms: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.published += other.published;
        self.received += other.received;
        self.passed += other.passed;
        self.resumes += other.resumes;
        self.gaps += other.gaps;
        self.told += other.told;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.leaked += other.leaked;
        self.false_alarms += other.false_alarms;
    }
}

impl Tally {
    fn is_clean(&self) -> bool {
        (self.lost, self.repeated, self.reordered, self.leaked, self.false_alarms) == (0, 0, 0, 0, 0)
    }
}

fn publish(publisher: &Publisher, round: &Round, number: u64) -> Vec<Published> {
    let mut random = round.random(100 + number);
    let mut published = Vec::new();
    for _ in 0..round.events {
        let channel = random.below(round.channels);
        // Half of the events are for everybody.
        let client = CLIENTS[random.below(4).saturating_sub(1) as usize];
        let except = if random.below(8) == 0 { CLIENTS[1 + random.below(2) as usize] } else { "" };
        let size = random.below(300) as usize;
        let mut event = Event::text(format!("{channel} {client} {except} {}", "x".repeat(size)));
        if !except.is_empty() {
            event = event.except(ClientId::from_static(except));
        }
        let is_ephemeral = random.below(5) == 0;
        if is_ephemeral {
            event = event.ephemeral();
        }
        let handle = publisher.channel(name(channel));
        let sent = match client {
            // Some rounds publish several at once.
            client if round.events.is_multiple_of(5) && !is_ephemeral => send_thrice(&handle, client, &event),
            "" => ready(handle.send(event)).map(|sent| vec![sent]),
            client => ready(handle.send_to(client, event)).map(|sent| vec![sent]),
        };
        match sent {
            Ok(_) if is_ephemeral => {}
            Ok(sent) => published.extend(sent.iter().map(|sent| {
                let offset = sent.cursor.offset.get();
                Published { offset, channel, client, except }
            })),
            Err(error) => assert!(error.is_finished(), "{error}"),
        }
        if random.below(3) == 0 {
            thread::yield_now();
        }
    }
    published
}

/// Publishes an event three times in one step.
fn send_thrice(channel: &Channel, client: &str, event: &Event) -> Result<Vec<Sent>, PublishError> {
    let add = |batch: Batch, event| match client {
        "" => batch.event(event),
        client => batch.event_to(client, event),
    };
    let sent = ready(channel.send_all(vec![event.clone(); 3].into_iter().fold(Batch::new(), add)))?;
    let offsets: Vec<_> = sent.iter().map(|sent| sent.cursor.offset.get()).collect();
    assert!(offsets.windows(2).all(|two| two[0] + 1 == two[1]), "{offsets:?}");
    Ok(sent)
}

/// Ends clients' connections, closes channels, and finishes one half-way, until the publishers are done.
fn make_trouble(publisher: &Publisher, round: &Round, over: &AtomicBool) -> Vec<Published> {
    let mut random = round.random(200);
    let (mut published, mut finished) = (Vec::new(), HashSet::new());
    while !over.load(Ordering::SeqCst) {
        thread::yield_now();
        if round.trouble == 0 || random.below(round.trouble) > 0 {
            continue;
        }
        let channel = name(random.below(round.channels));
        match random.below(8) {
            // Its readers are gone for good, and would not see the events that follow.
            0 | 1 if finished.contains(&channel) => {}
            0 => drop(close(publisher, &channel)),
            1 => {
                published.extend(finish_one(publisher, &channel));
                finished.insert(channel);
            }
            2 => drop(ready(publisher.disconnect(CLIENTS[1 + random.below(2) as usize])).unwrap()),
            _ => drop(ready(publisher.channel(channel).disconnect(CLIENTS[1 + random.below(2) as usize])).unwrap()),
        }
    }
    published
}

fn finish_one(publisher: &Publisher, channel: &str) -> Option<Published> {
    let number = channel.strip_prefix("channel").unwrap().parse().unwrap();
    match ready(publisher.channel(channel).finish(Event::text(format!("{number}   ")))) {
        Ok(sent) => Some(Published { offset: offset(&sent.id.to_string()), channel: number, client: "", except: "" }),
        Err(error) => {
            assert!(error.is_finished(), "{error}");
            None
        }
    }
}

struct Reader {
    number: u64,
    client: &'static str,
    channels: Vec<u64>,
    got: Vec<Got>,
    resumes: u64,
    leaked: u64,
    passed: u64,
}

impl Reader {
    fn new(round: &Round, number: u64) -> Self {
        let channels = match number % 3 {
            0 => (0..round.channels).collect(),
            1 => vec![number % round.channels],
            _ => (0..round.channels).filter(|channel| channel % 2 == number / 3 % 2 || round.channels == 1).collect(),
        };
        let client = CLIENTS[(number / 2 % 3) as usize];
        Self { number, client, channels, got: Vec::new(), resumes: 0, leaked: 0, passed: 0 }
    }

    /// `None` when everything is over.
    fn open(&self, publisher: &Publisher, id: Option<&str>) -> Option<Subscription> {
        let names: Vec<_> = self.channels.iter().map(|channel| name(*channel)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let options = OpenOptions::new().start(Start::Earliest);
        match ready(options.open(publisher, grant(&names, self.client), id.map(str::as_bytes))) {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                assert!(error.is_over(), "{error}");
                None
            }
        }
    }

    /// Reads until the end, and now and then hangs up and resumes with the last id.
    async fn read(mut self, publisher: &Publisher, first: Subscription, round: &Round) -> Self {
        let mut random = round.random(300 + self.number);
        // As on a route that announces the cursor.
        let mut id = EventId::from(first.cursor()).to_string();
        let mut opened = Some(first);
        while let Some(mut subscription) = opened {
            let mut left = 1 + random.below(round.patience);
            while left > 0 {
                let Some(delivery) = next(&mut subscription).await else {
                    match subscription.end_reason() {
                        Some(EndReason::Finished) => return self,
                        Some(EndReason::Closed | EndReason::Disconnected) => break,
                        other => panic!("{other:?}"),
                    }
                };
                // A gap of several channels may have an id that lies before the loss: resuming with it gives the gap
                // again.
                left -= u64::from(matches!(delivery, Delivery::Event(_)));
                if !matches!(&delivery, Delivery::Event(event) if event.is_ephemeral()) {
                    id = common::id(&delivery);
                }
                self.take(&delivery);
                if random.below(8) == 0 {
                    thread::yield_now();
                }
            }
            // A reader that gets the same event repeatedly would never reach the end.
            if self.got.len() as u64 > 1_000 + 30 * round.publishers * round.events {
                return self;
            }
            // Events go on while it is away, as its place is given up first.
            drop(subscription);
            opened = self.open(publisher, Some(&id));
            self.resumes += u64::from(opened.is_some());
        }
        self
    }

    fn take(&mut self, delivery: &Delivery) {
        let Delivery::Event(event) = delivery else { return self.got.push(Got::Gap) };
        let data = event.data();
        let mut words = data.split(' ');
        let channel = words.next().unwrap().parse().unwrap();
        let (client, except) = (words.next().unwrap(), words.next().unwrap());
        let is_meant = self.channels.contains(&channel) && is_for(client, except, self.client);
        self.leaked += u64::from(!is_meant);
        if event.is_ephemeral() {
            self.passed += 1;
            return;
        }
        self.got.push(Got::Event(event.offset().get()));
    }

    /// Counts what became of the events meant for this reader. Every missing event needs a gap, and every gap a missing
    /// event: with one channel between the two events around it; with several, a gap may be about events that are
    /// missing only later.
    fn tally(&self, published: &[Published]) -> Tally {
        let is_meant =
            |sent: &&Published| self.channels.contains(&sent.channel) && is_for(sent.client, sent.except, self.client);
        let mut meant: Vec<_> = published.iter().filter(is_meant).map(|sent| sent.offset).collect();
        meant.sort_unstable();
        let mut tally = Tally { resumes: self.resumes, leaked: self.leaked, passed: self.passed, ..Tally::default() };
        let (mut seen, mut last, mut gaps) = (HashSet::new(), 0, 0);
        let received: HashSet<_> = self.got.iter().filter_map(|got| got.event()).collect();
        let missing = |from: u64, to: u64| {
            let between = &meant[meant.partition_point(|offset| *offset <= from)..];
            between.iter().take_while(|offset| **offset < to).filter(|offset| !received.contains(*offset)).count()
                as u64
        };
        for got in self.got.iter().chain(&[Got::Event(u64::MAX)]) {
            let offset = match *got {
                Got::Gap => {
                    tally.gaps += 1;
                    gaps += 1;
                    tally.false_alarms += u64::from(missing(last, u64::MAX) == 0);
                    continue;
                }
                Got::Event(offset) => offset,
            };
            tally.received += u64::from(offset < u64::MAX);
            if !seen.insert(offset) {
                tally.repeated += 1;
            } else if offset < last {
                tally.reordered += 1;
            }
            let missing = missing(last, offset);
            match gaps {
                0 => tally.lost += missing,
                _ => tally.told += missing,
            }
            if self.channels.len() == 1 {
                tally.false_alarms += u64::from(gaps > 0 && missing == 0);
                gaps = 0;
            }
            last = last.max(offset);
        }
        tally
    }
}

impl Got {
    fn event(&self) -> Option<u64> {
        match *self {
            Got::Event(offset) => Some(offset),
            _ => None,
        }
    }
}

/// Names the round in which any thread panicked.
struct Says<'a>(&'a Round);

impl Drop for Says<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("STRESS_SEED={}: {:?}", self.0.seed, self.0);
        }
    }
}

fn run(round: &Round) -> Tally {
    let _says = Says(round);
    let publisher = Publisher::builder().retention(Retention::new().events(round.held as usize)).build();
    let (together, over) = (Barrier::new((round.publishers + round.readers) as usize), AtomicBool::new(false));
    let (publisher, together, over) = (&publisher, &together, &over);
    let (published, readers) = thread::scope(|scope| {
        let publishers: Vec<_> = (0..round.publishers)
            .map(|number| {
                scope.spawn(move || {
                    together.wait();
                    publish(publisher, round, number)
                })
            })
            .collect();
        let readers: Vec<_> = (0..round.readers)
            .map(|number| {
                let reader = Reader::new(round, number);
                // It opens before anything is published: events evicted before a reader opens are not its loss.
                let first = reader.open(publisher, None).unwrap();
                scope.spawn(move || {
                    together.wait();
                    block_on(reader.read(publisher, first, round))
                })
            })
            .collect();
        let trouble = scope.spawn(|| make_trouble(publisher, round, over));
        let mut published: Vec<_> = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        over.store(true, Ordering::SeqCst);
        published.extend(trouble.join().unwrap());
        published.extend((0..round.channels).filter_map(|channel| finish_one(publisher, &name(channel))));
        (published, readers.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!(publisher.connections(), 0);
    let mut tally = Tally { rounds: 1, published: published.len() as u64, ..Tally::default() };
    readers.iter().for_each(|reader| tally += reader.tally(&published));
    tally
}

#[test]
fn concurrent_use_loses_repeats_reorders_and_leaks_nothing() {
    let given = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given("STRESS_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    let time = Duration::from_secs(given("STRESS_SECONDS").unwrap_or(5));
    println!("STRESS_SEED={seed}, {time:?}");
    let (start, mut all) = (Instant::now(), Tally::default());
    while start.elapsed() < time {
        let round = Round::new(seed + all.rounds);
        let tally = run(&round);
        assert!(tally.is_clean(), "{tally:?}, STRESS_SEED={}: {round:?}", round.seed);
        all += tally;
    }
    println!("{all:?}");
    // Otherwise the run would prove nothing.
    assert!(all.rounds > 0 && all.received > 0 && all.passed > 0);
}
