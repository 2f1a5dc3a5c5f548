//! Promises 1 to 4 under races: publishers and readers on threads of their own, in many short rounds, and a checker for
//! what each reader got. Publishing races with reconnects, with the turn from replay to live, with eviction and with
//! the end.

mod common;

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use common::*;
use tower_sse::{Delivery, EndReason, Event, Limits, OpenOptions, Publisher, Retention, Start, Subscription};

const CLIENTS: [&str; 3] = ["", "ana", "bob"];

/// A published event: its channel, its client, and its offset.
#[derive(Debug, Clone)]
struct Published {
    offset: u64,
    channel: usize,
    client: &'static str,
}

/// What a reader got: an event's offset, or a gap.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Got {
    Event(u64),
    Gap,
}

#[derive(Clone, Copy)]
struct Round {
    seed: u64,
    channels: usize,
    publishers: u64,
    readers: u64,
    events: u64,
    /// A reader drops its connection after at most that many events; never if 0.
    reconnect_after: u64,
    /// Whether the readers open before the first event.
    open_first: bool,
}

fn name(channel: usize) -> String {
    format!("channel{channel}")
}

fn publish(publisher: &Publisher, round: Round, number: u64) -> Vec<Published> {
    let mut random = Random(round.seed * 31 + number + 1);
    let mut published = Vec::new();
    for _ in 0..round.events {
        let channel = random.below(round.channels as u64) as usize;
        let client = CLIENTS[random.below(4).saturating_sub(1) as usize];
        let text = format!("{channel} {client}");
        let result = try_send(publisher, &name(channel), (!client.is_empty()).then_some(client), text);
        match result {
            Ok(sent) => published.push(Published { offset: offset(&sent.id.to_string()), channel, client }),
            Err(error) => assert!(error.is_finished() || error.is_shutting_down(), "{error}"),
        }
        if random.below(3) == 0 {
            thread::yield_now();
        }
    }
    published
}

struct Reader {
    number: u64,
    client: &'static str,
    channels: Vec<usize>,
    got: Vec<Got>,
    end: Option<EndReason>,
}

impl Reader {
    fn new(round: Round, number: u64) -> Self {
        let client = CLIENTS[(number % 3) as usize];
        let channels = match number % 4 {
            0 | 1 => (0..round.channels).collect(),
            n => vec![n as usize % round.channels],
        };
        Self { number, client, channels, got: Vec::new(), end: None }
    }

    fn open(&self, publisher: &Publisher, id: Option<&str>) -> Option<Subscription> {
        let names: Vec<_> = self.channels.iter().map(|channel| name(*channel)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let options = OpenOptions::new().start(Start::Earliest);
        match ready(options.open(publisher, grant(&names, self.client), id.map(str::as_bytes))) {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                assert!(error.is_over() || error.is_shutting_down(), "{error}");
                None
            }
        }
    }

    /// Reads until the end, and now and then drops the connection and resumes with the last id.
    async fn read(
        mut self,
        publisher: Publisher,
        mut first: Option<Subscription>,
        Round { seed, reconnect_after, .. }: Round,
    ) -> Self {
        let mut random = Random(seed * 17 + self.number + 1);
        let (mut id, mut last) = (None, 0);
        while let Some(mut subscription) = first.take().or_else(|| self.open(&publisher, id.as_deref())) {
            let mut left = if reconnect_after == 0 { u64::MAX } else { 1 + random.below(reconnect_after) };
            while left > 0 {
                let Some(delivery) = next(&mut subscription).await else {
                    self.end = subscription.end_reason();
                    return self;
                };
                // A gap of several channels may have an id that lies before the loss: resuming with it gives the gap
                // again.
                left -= u64::from(matches!(delivery, Delivery::Event(_)));
                id = Some(common::id(&delivery));
                match delivery {
                    Delivery::Event(event) => {
                        let data = event.data();
                        let (channel, client) = data.split_once(' ').unwrap();
                        assert!(self.channels.contains(&channel.parse().unwrap()), "of another channel: {data}");
                        assert!(client.is_empty() || client == self.client, "leaked to {:?}: {data}", self.client);
                        // Checked at once: a reader that gets the same event repeatedly would never reach the end.
                        let offset = event.offset().get();
                        assert!(offset > last, "{offset} after {last}");
                        last = offset;
                        self.got.push(Got::Event(offset));
                    }
                    _ => self.got.push(Got::Gap),
                }
            }
        }
        self
    }

    /// The events meant for this reader, in order.
    fn meant(&self, published: &[Published]) -> Vec<u64> {
        let meant = |sent: &&Published| {
            self.channels.contains(&sent.channel) && (sent.client.is_empty() || sent.client == self.client)
        };
        let mut meant: Vec<_> = published.iter().filter(meant).map(|sent| sent.offset).collect();
        meant.sort_unstable();
        meant
    }

    /// Asserts every event once, in order, and no gap.
    fn check_whole(&self, published: &[Published]) {
        let meant: Vec<_> = self.meant(published).into_iter().map(Got::Event).collect();
        assert_eq!(self.got, meant, "{:?} on {:?}", self.client, self.channels);
    }

    /// Asserts strictly increasing offsets, a gap wherever an event is missing, and a missing event for every gap. This
    /// is exact for a reader of one channel; with several, a gap may be about events that are missing only later.
    fn check_told(&self, published: &[Published]) {
        let meant = self.meant(published);
        let (mut last, mut gaps) = (0, 0);
        for got in self.got.iter().chain(&[Got::Event(u64::MAX)]) {
            let Got::Event(offset) = *got else {
                gaps += 1;
                continue;
            };
            assert!(offset > last, "{offset} after {last}");
            let missing = meant.iter().filter(|meant| (last + 1..offset).contains(meant)).count();
            if self.channels.len() == 1 {
                assert_eq!(missing > 0, gaps > 0, "{missing} missing between {last} and {offset}, {gaps} gaps");
                gaps = 0;
            } else {
                assert!(missing == 0 || gaps > 0, "{missing} missing between {last} and {offset}");
            }
            last = offset;
        }
    }
}

/// One round on threads: publishers, readers that open at once or a little later, and finally `end`.
fn on_threads(publisher: &Publisher, round: Round, end: impl FnOnce(&Publisher)) -> (Vec<Published>, Vec<Reader>) {
    let together = Arc::new(Barrier::new((round.publishers + round.readers) as usize));
    let publishers: Vec<_> = (0..round.publishers)
        .map(|number| {
            let (publisher, together) = (publisher.clone(), together.clone());
            thread::spawn(move || {
                together.wait();
                publish(&publisher, round, number)
            })
        })
        .collect();
    let readers: Vec<_> = (0..round.readers)
        .map(|number| {
            let (publisher, together) = (publisher.clone(), together.clone());
            let reader = Reader::new(round, number);
            let first = round.open_first.then(|| reader.open(&publisher, None).unwrap());
            thread::spawn(move || {
                together.wait();
                block_on(reader.read(publisher, first, round))
            })
        })
        .collect();
    let published: Vec<_> = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    end(publisher);
    (published, readers.into_iter().map(|thread| thread.join().unwrap()).collect())
}

/// Finishes every channel, and adds the last events to those that were published.
fn finish_all(publisher: &Publisher, round: Round, published: &mut Vec<Published>) {
    for channel in 0..round.channels {
        let id = finish(publisher, &name(channel), format!("{channel} "));
        published.push(Published { offset: offset(&id), channel, client: "" });
    }
}

fn whole(rounds: u64, channels: usize, publishers: u64, reconnect_after: u64) {
    for seed in 1..=rounds {
        let round = Round { seed, channels, publishers, readers: 4, events: 24, reconnect_after, open_first: false };
        let publisher = Publisher::builder().retention(Retention::new().events(10_000)).build();
        let mut last = Vec::new();
        let (mut published, readers) = on_threads(&publisher, round, |hub| finish_all(hub, round, &mut last));
        published.extend(last);
        for reader in &readers {
            reader.check_whole(&published);
        }
        assert_eq!((publisher.stats().gaps, publisher.connections()), (0, 0));
    }
}

#[test]
fn publishing_against_reconnecting_on_one_channel() {
    whole(150, 1, 1, 3);
    whole(100, 1, 3, 3);
}

#[test]
fn publishing_against_reconnecting_on_several_channels() {
    whole(150, 3, 3, 3);
    whole(50, 2, 2, 1);
}

#[test]
fn publishing_against_reconnecting_on_more_channels_than_a_reader_looks_at_for_each_event() {
    whole(40, 60, 3, 20);
    whole(20, 60, 3, 0);
}

#[test]
fn replay_turning_live_under_publishing() {
    whole(100, 1, 2, 0);
    whole(100, 3, 3, 0);
}

#[test]
fn eviction_under_readers_is_always_told() {
    for seed in 1..=240 {
        let channels = [1, 2, 3, 1, 2, 40][(seed % 6) as usize];
        let round = Round {
            seed,
            channels,
            publishers: 2,
            readers: 4,
            events: 60 * (1 + channels as u64 / 10),
            reconnect_after: seed % 5 * (1 + channels as u64 / 4),
            open_first: true,
        };
        let publisher = Publisher::builder().retention(Retention::new().events(1 + seed as usize % 4)).build();
        let mut last = Vec::new();
        let (mut published, readers) = on_threads(&publisher, round, |hub| finish_all(hub, round, &mut last));
        published.extend(last);
        for reader in &readers {
            reader.check_told(&published);
        }
    }
}

#[test]
fn an_event_whose_publish_succeeded_before_a_shutdown_is_delivered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for seed in 1..=200 {
        let channels = 1 + (seed % 2) as usize;
        let round =
            Round { seed, channels, publishers: 2, readers: 4, events: 30, reconnect_after: 0, open_first: true };
        let publisher = Publisher::builder().retention(Retention::new().events(10_000)).build();
        // They open first, because nobody can after the shutdown.
        let readers: Vec<_> = (0..round.readers)
            .map(|number| {
                let reader = Reader::new(round, number);
                let subscription = reader.open(&publisher, None).unwrap();
                thread::spawn(move || block_on(read_to_end(reader, subscription)))
            })
            .collect();
        let publishers: Vec<_> = (0..round.publishers)
            .map(|number| {
                let publisher = publisher.clone();
                thread::spawn(move || publish(&publisher, round, number))
            })
            .collect();
        (0..seed % 7).for_each(|_| thread::yield_now());
        assert!(runtime.block_on(publisher.shutdown(Duration::from_secs(20))));
        let published: Vec<_> = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        for reader in readers {
            let reader = reader.join().unwrap();
            reader.check_whole(&published);
            assert_eq!(reader.end, Some(EndReason::Shutdown));
        }
    }
}

async fn read_to_end(mut reader: Reader, mut subscription: Subscription) -> Reader {
    while let Some(delivery) = next(&mut subscription).await {
        reader.got.push(match delivery {
            Delivery::Event(event) => Got::Event(event.offset().get()),
            _ => Got::Gap,
        });
    }
    reader.end = subscription.end_reason();
    reader
}

#[test]
fn an_event_whose_publish_succeeded_before_a_finish_is_delivered() {
    for seed in 1..=150 {
        let round = Round {
            seed,
            channels: 1,
            publishers: 3,
            readers: 3,
            events: 20,
            reconnect_after: seed % 4,
            open_first: false,
        };
        let publisher = Publisher::builder().retention(Retention::new().events(10_000)).build();
        let finisher = {
            let publisher = publisher.clone();
            thread::spawn(move || {
                (0..seed % 9).for_each(|_| thread::yield_now());
                ready(publisher.channel(name(0)).finish(Event::text("0 "))).unwrap()
            })
        };
        let (mut published, readers) = on_threads(&publisher, round, |_| {});
        let last = offset(&finisher.join().unwrap().id.to_string());
        assert!(published.iter().all(|sent| sent.offset < last), "an event after the last one");
        published.push(Published { offset: last, channel: 0, client: "" });
        readers.iter().for_each(|reader| reader.check_whole(&published));
    }
}

/// On a runtime's threads the wakers are tokio's, and a task wakes the readers if there are many.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn publishing_against_reconnecting_on_a_runtime() {
    for seed in 1..=60 {
        let round =
            Round { seed, channels: 2, publishers: 2, readers: 150, events: 12, reconnect_after: 4, open_first: false };
        let publisher = Publisher::builder().retention(Retention::new().events(10_000)).build();
        let readers: Vec<_> = (0..round.readers)
            .map(|number| tokio::spawn(Reader::new(round, number).read(publisher.clone(), None, round)))
            .collect();
        let publishers: Vec<_> = (0..round.publishers)
            .map(|number| {
                let publisher = publisher.clone();
                tokio::spawn(async move { publish(&publisher, round, number) })
            })
            .collect();
        let mut published = Vec::new();
        for task in publishers {
            published.extend(task.await.unwrap());
        }
        finish_all(&publisher, round, &mut published);
        for task in readers {
            let reader =
                tokio::time::timeout(Duration::from_secs(20), task).await.expect("a wake-up was lost").unwrap();
            reader.check_whole(&published);
        }
        assert_eq!(publisher.connections(), 0);
    }
}

#[test]
fn opening_and_dropping_on_many_threads_leaves_nothing() {
    let publisher = Publisher::new();
    let threads: Vec<_> = (0..4u64)
        .map(|number| {
            let publisher = publisher.clone();
            thread::spawn(move || {
                let mut random = Random(number + 1);
                for _ in 0..1_500 {
                    let (one, other) = (name(random.below(3) as usize), name(random.below(3) as usize));
                    let mut reader = live(&publisher, &[&one, &other], CLIENTS[random.below(3) as usize]);
                    let _ = poll(&mut reader);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = publisher.stats();
    assert_eq!((stats.channels, stats.subscriptions, stats.held_bytes), (0, 0, 0));
}

#[test]
fn closing_against_dropping_forgets_that_a_channel_was_finished() {
    for _ in 0..5_000 {
        // Every event is evicted at once, so a finished channel is idle, and the last reader that leaves drops it.
        let publisher = Publisher::builder().limits(Limits::new().hub_bytes(0)).build();
        common::finish(&publisher, "a", "x");
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                drop(ready(OpenOptions::new().open(&publisher, common::grant(&["a"], ""), None)));
            });
            barrier.wait();
            close(&publisher, "a");
        });
        assert!(common::try_send(&publisher, "a", None, "y").is_ok());
    }
}

#[test]
fn a_channel_is_not_over_for_a_reader_that_just_lost_its_last_event() {
    let with_two = |hub_bytes| {
        let publisher = Publisher::builder().limits(Limits::new().hub_bytes(hub_bytes)).build();
        let id = common::send(&publisher, "a", "1");
        common::finish(&publisher, "a", "2");
        (publisher, id)
    };
    // Both events fit, but not a third on another channel.
    let hub_bytes = with_two(usize::MAX).0.stats().held_bytes + 100;
    for _ in 0..5_000 {
        let (publisher, id) = with_two(hub_bytes);
        assert_eq!(publisher.channel("a").recent(9).len(), 2);
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                common::send(&publisher, "b", "x".repeat(500));
            });
            barrier.wait();
            assert!(common::try_resume(&publisher, &["a"], "", &id).is_ok());
        });
        assert!(publisher.channel("a").recent(9).is_empty());
    }
}
