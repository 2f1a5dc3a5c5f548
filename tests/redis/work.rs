//! How much work one call causes in Redis, counted in commands and events. What is left to later calls is not lost.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use tower_sse::{
    BackendError, ChannelName, ClientId, CustomId, Event, GapReason, Grant, IdempotencyKey, Offset, OpenOptions,
    Publisher, Redis, Retention, Start,
    backend::{Append, Appended, Backend, Held, NewEvent, Progress},
    runs::{New, Plain, Runs, Writer},
};

use crate::{
    file::FileStore,
    proxy::{Mode, Proxy},
    reader::*,
    redis::RedisStore,
    store::{Shared as _, Store, defaults},
};

const CHANNEL: ChannelName = ChannelName::from_static("a");

/// An age that events reach within a test. It is long enough that a test can append events after that and read them.
const BRIEF: Duration = Duration::from_secs(3);

fn client(n: usize) -> ClientId {
    ClientId::try_from(format!("client{n}")).unwrap()
}

fn append(n: usize, client: Option<ClientId>, retention: Retention) -> Append {
    let mut event = NewEvent::new(Bytes::from(format!("data: {n}\n")));
    event.client = client;
    Append::new(CHANNEL, vec![event], retention)
}

/// Appends events, many at the same time: each for a client of its own, or all for everybody.
async fn fill(redis: &Redis, events: usize, targeted: bool, retention: Retention) {
    let appends = (0..events).map(|n| redis.append(append(n, targeted.then(|| client(n)), retention)));
    let mut appended = stream::iter(appends).buffer_unordered(64);
    while let Some(appended) = appended.next().await {
        assert!(matches!(appended.unwrap(), Appended::At(_)));
    }
}

/// Stops the clock for as long as it exists. Meanwhile, no timeout passes, and nothing is due that connections and nodes do
/// from time to time.
struct Still(JoinHandle<()>);

impl Still {
    fn new() -> Self {
        tokio::time::pause();
        // A runtime that has no work moves a paused clock on to the next timer.
        Self(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.abort();
        tokio::time::resume();
    }
}

/// The commands that Redis ran meanwhile, except those that ask for the counts.
///
/// A connection also checks its server once a second, and when it is opened, which is before the count begins.
async fn commands<T>(
    store: &RedisStore,
    work: impl AsyncFnOnce(&Redis) -> Result<T, BackendError>,
) -> (HashMap<String, usize>, T) {
    let redis = store.backend();
    let _still = Still::new();
    redis.heads(Vec::new()).await.unwrap();
    store.command(&["CONFIG", "RESETSTAT"]);
    let done = work(&redis).await.unwrap();
    let calls = store.calls().into_iter().filter(|(name, _)| name != "info" && !name.starts_with("config"));
    (calls.collect(), done)
}

fn sum(commands: &HashMap<String, usize>) -> usize {
    commands.values().sum()
}

fn held_in(store: &RedisStore) -> usize {
    store.command(&["XLEN", "{tower-sse}:s:a"]).parse().unwrap()
}

fn generous() -> Retention {
    Retention::new().events(1_000_000).bytes(1 << 30)
}

#[tokio::test]
async fn a_smaller_retention_is_reached_in_slices() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    fill(&redis, 1_000, false, generous()).await;
    let small = Retention::new().events(10);
    store.let_a_day_pass();
    let mut left = held_in(&store);
    while left > 10 {
        let (ran, _) = commands(&store, async |redis| redis.append(append(0, None, small)).await).await;
        let before = std::mem::replace(&mut left, held_in(&store));
        assert!(before + 1 - left <= 210, "{before} events, and then {left}");
        assert!(left == 10 || before - left >= 190, "{before} events, and then {left}");
        assert!(sum(&ran) < 40, "{ran:?}");
    }
    // A reader gets no more than the retention allows, whatever is still stored.
    fill(&redis, 300, false, generous()).await;
    store.let_a_day_pass();
    let read = redis.read(CHANNEL, Offset::START, small).await.unwrap();
    assert_eq!((read.entries.len(), read.marks.broadcast), (10, read.entries[0].previous));
}

#[tokio::test]
async fn events_that_are_too_old_are_evicted_in_slices_and_read_by_nobody() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    let brief = generous().age(BRIEF);
    let old = generous().age(Duration::from_secs(3_600));
    fill(&redis, 500, false, old).await;
    tokio::time::sleep(BRIEF).await;
    fill(&redis, 1, false, old).await;
    store.let_a_day_pass();
    let read = redis.read(CHANNEL, Offset::START, brief).await.unwrap();
    assert_eq!((read.entries.len(), read.marks.broadcast), (1, Offset::new(500)));
    let (ran, _) = commands(&store, async |redis| redis.append(append(0, None, brief)).await).await;
    assert!((290..=310).contains(&held_in(&store)), "{}", held_in(&store));
    assert!(sum(&ran) < 40, "{ran:?}");
}

#[tokio::test]
async fn a_publish_costs_the_same_however_many_clients_a_channel_has() {
    let mut costs = Vec::new();
    for clients in [3, 2_000] {
        let Some(store) = RedisStore::begin().await else { return };
        let redis = store.backend();
        let lasting = Retention::new().events(100);
        let brief = lasting.age(Duration::from_secs(1));
        fill(&redis, clients, true, lasting).await;
        let (one_more, _) =
            commands(&store, async |redis| redis.append(append(0, Some(client(1)), lasting)).await).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        store.let_a_day_pass();
        let (all_too_old, _) = commands(&store, async |redis| redis.append(append(0, None, brief)).await).await;
        let (closing, _) = commands(&store, async |redis| redis.close(CHANNEL).await).await;
        costs.push([one_more, all_too_old, closing].map(|ran| sum(&ran)));
    }
    let [few, many] = costs.try_into().unwrap();
    assert!(few.iter().zip(many).all(|(few, many)| many <= few + 5), "{few:?} commands, and {many:?}");
}

#[tokio::test]
async fn a_batch_takes_one_script_and_one_push() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    // From here on Redis knows the script.
    redis.append(append(0, None, generous())).await.unwrap();
    let (alone, _) = commands(&store, async |redis| redis.append(append(0, None, generous())).await).await;
    let events = (0..100).map(|n| NewEvent::new(Bytes::from(format!("data: {n}\n")))).collect();
    let (together, appended) =
        commands(&store, async |redis| redis.append(Append::new(CHANNEL, events, generous())).await).await;
    let Appended::At(places) = appended else { panic!("{appended:?}") };
    assert_eq!((places.len(), together["evalsha"], together["publish"], together["xadd"]), (100, 1, 1, 100));
    // Each event costs one command, and all else is done once.
    assert_eq!(sum(&together), sum(&alone) + 99, "{together:?}, and {alone:?} for one");
    // A batch evicts as much as it adds.
    let small = Retention::new().events(10);
    store.let_a_day_pass();
    for _ in 0..5 {
        let events = (0..500).map(|n| NewEvent::new(Bytes::from(format!("data: {n}\n")))).collect();
        redis.append(Append::new(CHANNEL, events, small)).await.unwrap();
        assert_eq!(held_in(&store), 10);
    }
}

#[tokio::test]
async fn a_key_is_kept_as_long_as_its_event_is_held_and_no_longer() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = Redis::builder(store.url()).idempotency_window(Duration::from_secs(20)).build().unwrap();
    let keyed = |n: usize, retention: Retention| {
        let mut append = append(n, None, retention);
        append.events[0].key = Some(IdempotencyKey::try_from(format!("key{n}")).unwrap());
        append
    };
    let left = |n: usize| -> i64 {
        let script = "return redis.call('PTTL', '{tower-sse}:i:a\\0key' .. ARGV[1])";
        store.command(&["EVAL", script, "0", &n.to_string()]).parse().unwrap()
    };
    let two = Retention::new().events(2).age(Duration::from_secs(3_600));
    redis.append(keyed(1, two)).await.unwrap();
    assert!((3_590_000..=3_600_000).contains(&left(1)), "{}", left(1));
    for n in 2..=3 {
        redis.append(keyed(n, two)).await.unwrap();
    }
    // The first event was evicted.
    assert!((1..=20_000).contains(&left(1)) && left(2) > 3_000_000, "{} and {}", left(1), left(2));
    let brief = Retention::new().events(2).age(Duration::from_millis(1));
    store.let_a_day_pass();
    redis.append(keyed(4, brief)).await.unwrap();
    assert!((10_000..=20_000).contains(&left(4)), "the window is longer: {}", left(4));
    redis.append(keyed(5, two.age(Duration::MAX))).await.unwrap();
    assert!(left(5) > 31_000_000_000, "{}", left(5));
    // A run holds its events until some time after its end.
    store.command(&["FLUSHALL"]);
    redis.append(keyed(6, two.after_finish(Duration::from_secs(30 * 86_400)))).await.unwrap();
    assert!(left(6) > 30 * 86_400_000, "{}", left(6));
}

#[tokio::test]
async fn a_long_channel_is_read_in_pages_outside_of_scripts() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    fill(&redis, 1_000, false, generous()).await;
    // From here on Redis knows the script.
    redis.read(CHANNEL, Offset::START, generous()).await.unwrap();
    let (ran, held) = commands(&store, async |redis| redis.read(CHANNEL, Offset::START, generous()).await).await;
    let all: Vec<_> = (1..=1_000).map(Offset::new).collect();
    assert_eq!(held.entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), all);
    // The script reads the newest sixteen events; the rest is read 128 at a time.
    assert_eq!((ran["evalsha"], ran["xrevrange"]), (1, 1 + 984_usize.div_ceil(128)));
    let (ran, held) = commands(&store, async |redis| redis.read(CHANNEL, Offset::new(995), generous()).await).await;
    assert_eq!((held.entries.len(), ran["xrevrange"]), (5, 1));
    // Large events are read fewer at a time.
    let large = |n: usize| {
        let event = NewEvent::new(Bytes::from(format!("data: {n}{}\n", "x".repeat(60_000))));
        Append::new(CHANNEL, vec![event], generous())
    };
    redis.close(CHANNEL).await.unwrap();
    for n in 0..6 {
        redis.append(large(n)).await.unwrap();
    }
    let (ran, held) = commands(&store, async |redis| redis.read(CHANNEL, Offset::START, generous()).await).await;
    assert_eq!((held.entries.len(), ran["xrevrange"]), (6, 6));
}

#[tokio::test]
async fn a_page_of_a_long_channel_costs_no_more_than_its_events() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    fill(&redis, 5_000, false, generous()).await;
    let retention = Some(generous());
    let read = async |after: u64, limit: usize| {
        let after = Offset::new(after);
        let (ran, held) =
            commands(&store, async |redis| redis.read_some(CHANNEL, after, retention, limit, Progress::new()).await)
                .await;
        let offsets: Vec<_> = held.entries.iter().map(|entry| entry.offset.get()).collect();
        assert_eq!((ran["evalsha"], held.head), (1, Offset::new(5_000)), "{ran:?}");
        (sum(&ran), ran["xrange"], offsets, held.more)
    };
    let about = async || commands(&store, async |redis| redis.about(CHANNEL, retention, Progress::new()).await).await;
    // From here on Redis knows the scripts.
    let _ = (redis.read_some(CHANNEL, Offset::START, retention, 1, Progress::new()).await, about().await);
    for after in [0, 2_000, 4_980] {
        let (all, ranges, offsets, more) = read(after, 10).await;
        assert!(all <= 10 && ranges == 1, "{all} commands");
        assert_eq!((offsets, more), ((after + 1..=after + 10).collect(), true));
    }
    let (_, ranges, offsets, more) = read(4_990, 10).await;
    assert_eq!((ranges, offsets, more), (1, (4_991..=5_000).collect(), false));
    // Sixteen in the script, and the others 128 at a time.
    let (_, ranges, offsets, more) = read(1_000, 300).await;
    assert_eq!((ranges, offsets, more), (1 + 3, (1_001..=1_300).collect(), true));
    let (ran, about) = about().await;
    assert!(sum(&ran) <= 10 && ran["xrange"] == 2, "{ran:?}");
    assert_eq!((about.events, about.first, about.head), (5_000, Some(Offset::new(1)), Some(Offset::new(5_000))));
    assert_eq!(about.newest.unwrap().offset, Offset::new(5_000));
}

/// The simpler store reads everything each time.
#[tokio::test]
async fn parts_agree_with_a_simpler_store() {
    let (Some(store), Some(file)) = (RedisStore::begin().await, FileStore::begin().await) else { return };
    let (redis, file) = (store.backend(), file.backend());
    for (retention, targeted) in [(generous(), false), (generous(), true), (Retention::new().events(60), false)] {
        redis.close(CHANNEL).await.unwrap();
        file.close(CHANNEL).await.unwrap();
        store.let_a_day_pass();
        for n in 0..100 {
            let client = (targeted && n % 3 == 0).then(|| client(n % 5));
            for backend in [&redis as &dyn Backend, &file] {
                backend.append(append(n, client.clone(), retention)).await.unwrap();
            }
            let head = redis.heads(vec![CHANNEL]).await.unwrap().channels[0].offset.get();
            for (after, limit) in [(0, 1), (0, 30), (0, 1_000), (head - 1, 5), (head - (n as u64).min(50), 20)] {
                let after = Offset::new(after);
                let some = async |backend: &dyn Backend| {
                    backend.read_some(CHANNEL, after, Some(retention), limit, Progress::new()).await.unwrap()
                };
                let [one, other] = [some(&redis).await, some(&file).await];
                assert_eq!((offsets(&one), one.more), (offsets(&other), other.more), "{limit} after {after:?}");
                assert_eq!((one.level, one.head, one.closed), (other.level, other.head, other.closed));
                let [one, other] = [one, other].map(|held| (held.marks.broadcast, held.since));
                let missed = |(mark, since): (Offset, Offset)| if mark > after.max(since) { mark } else { since };
                assert_eq!(missed(one), missed(other), "after {after:?}");
            }
            let about = async |backend: &dyn Backend| {
                let about = backend.about(CHANNEL, Some(retention), Progress::new()).await.unwrap();
                let newest = about.newest.map(|newest| newest.offset);
                (about.head, about.finished, about.first, about.events, about.bytes, newest)
            };
            assert_eq!(about(&redis).await, about(&file).await);
        }
    }
}

/// Some of it counts as evicted, though it is stored.
#[tokio::test]
async fn a_part_has_nothing_that_is_to_be_evicted() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    let brief = generous().age(BRIEF);
    let old = generous().age(Duration::from_secs(3_600));
    fill(&redis, 50, false, old).await;
    tokio::time::sleep(BRIEF).await;
    fill(&redis, 50, false, old).await;
    store.let_a_day_pass();
    for (retention, first) in [(brief, 51), (generous().events(30), 71), (generous().bytes(1), 100)] {
        let part = async |after, limit| {
            redis.read_some(CHANNEL, Offset::new(after), Some(retention), limit, Progress::new()).await.unwrap()
        };
        let held = part(0, 10).await;
        assert_eq!((held.entries[0].offset.get(), held.marks.broadcast.get()), (first, first - 1));
        assert!(part(10, 10).await.marks.broadcast >= Offset::new(first - 1));
        let about = redis.about(CHANNEL, Some(retention), Progress::new()).await.unwrap();
        assert_eq!((about.events as u64, about.first), (101 - first, Some(Offset::new(first))));
        store.let_a_day_pass();
    }
}

/// The simpler store keeps everything in one place, and so knows exactly what was evicted for each client.
#[tokio::test]
async fn reads_and_gaps_agree_with_a_simpler_store() {
    let (Some(store), Some(file)) = (RedisStore::begin().await, FileStore::begin().await) else { return };
    let (redis, file) = (store.backend(), file.backend());
    let retention = Retention::new().events(150);
    // Pseudo-random numbers, the same in each run.
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..12 {
        for n in 0..100 {
            let whom = next(600);
            let mut append = append(n, (whom % 10 > 0).then(|| client(whom)), retention);
            append.events[0].id = (next(3) == 0).then(|| CustomId::try_from(format!("id{}", next(100))).unwrap());
            let answers = [redis.append(append.clone()).await.unwrap(), file.append(append).await.unwrap()];
            let offset = |answer: &Appended| match answer {
                Appended::At(places) => Some(places[0].cursor.offset),
                Appended::DuplicateId => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(offset(&answers[0]), offset(&answers[1]));
        }
        if round == 8 {
            redis.close(CHANNEL).await.unwrap();
            file.close(CHANNEL).await.unwrap();
        }
        let one = redis.read(CHANNEL, Offset::START, retention).await.unwrap();
        let other = file.read(CHANNEL, Offset::START, retention).await.unwrap();
        assert_same(&one, &other);
        let after = Offset::new(one.head.get() - 40);
        let [one, other] =
            [redis.read(CHANNEL, after, retention).await.unwrap(), file.read(CHANNEL, after, retention).await.unwrap()];
        assert_eq!(offsets(&one), offsets(&other));
    }
    // There are more clients than are listed at once.
    assert!(store.command(&["ZCARD", "{tower-sse}:c:a"]).parse::<usize>().unwrap() > 400);
}

fn offsets(held: &Held) -> Vec<(Offset, Offset)> {
    held.entries.iter().map(|entry| (entry.offset, entry.previous)).collect()
}

fn assert_same(one: &Held, other: &Held) {
    assert_eq!(offsets(one), offsets(other));
    assert_eq!((one.level, one.head, one.closed), (other.level, other.head, other.closed));
    assert_eq!(one.marks.broadcast, other.marks.broadcast);
    for client in (0..600).map(client) {
        let [one, other] = [one, other].map(|held| held.marks.clients.get(&client).copied().unwrap_or_default());
        assert_eq!(one, other, "of {client:?}");
    }
}

/// All others share one mark.
#[tokio::test]
async fn no_more_than_ten_thousand_clients_are_remembered_and_nothing_is_hidden() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.backend();
    let retention = Retention::new().events(100);
    fill(&redis, 10_000, true, retention).await;
    let (ran, appended) =
        commands(&store, async |redis| redis.append(append(0, Some(client(10_000)), retention)).await).await;
    assert!(matches!(appended, Appended::At(_)) && sum(&ran) < 40, "{ran:?}");
    let held = redis.read(CHANNEL, Offset::START, retention).await.unwrap();
    assert_eq!(held.marks.clients.len(), 10_000);
    let unlisted: Vec<_> = (0..10_001).map(client).filter(|client| !held.marks.clients.contains_key(client)).collect();
    assert_eq!((unlisted.len(), held.marks.others), (1, Offset::new(1)));
}

#[tokio::test]
async fn clients_that_redis_has_lost_get_a_gap() {
    let Some(store) = RedisStore::begin().await else { return };
    fn brief(builder: tower_sse::PublisherBuilder) -> tower_sse::PublisherBuilder {
        builder.retention(Retention::new().events(1))
    }
    let one: Publisher = store.node(brief);
    let first = send(&one, "a", 1).await;
    send_to(&one, "a", "ana", 2).await;
    let last = send(&one, "a", 3).await;
    store.command(&["DEL", "{tower-sse}:c:a"]);
    let mut ana = resume(&store.node(brief), &["a"], "ana", &first).await;
    ana.gap(GapReason::Evicted).await;
    one.channel("a").send(Event::text("4")).await.unwrap();
    resume(&store.node(brief), &["a"], "ana", &first).await.gap(GapReason::Evicted).await;
    let mut bob = resume(&store.node(brief), &["a"], "bob", &last).await;
    assert_eq!(bob.text().await, "4");
}

#[tokio::test]
async fn channels_that_are_opened_or_left_together_take_a_few_commands() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = store.node(defaults);
    let _stays = live(&node, &["stays"], "").await;
    store.command(&["CONFIG", "RESETSTAT"]);
    let names: Vec<_> = (0..600).map(|n| format!("channel{n}")).collect();
    let opening = names.iter().map(async |name| live(&node, &[name], "").await);
    let readers = futures_util::future::join_all(opening).await;
    let ran = |name: &str| store.calls().into_iter().find(|(command, _)| command == name).map_or(0, |(_, calls)| calls);
    assert!(ran("subscribe") <= 6, "{} commands", ran("subscribe"));
    drop(readers);
    eventually(async || store.watched().await == Some(1)).await;
    assert!(ran("unsubscribe") <= 6, "{} commands", ran("unsubscribe"));
}

/// How many scripts Redis ran since the last call. Each takes a round trip.
fn scripts(store: &RedisStore) -> usize {
    let ran = store.calls().into_iter().find(|(command, _)| command == "evalsha").map_or(0, |(_, calls)| calls);
    store.command(&["CONFIG", "RESETSTAT"]);
    ran
}

#[tokio::test]
async fn a_run_costs_one_round_trip_more_than_the_same_events() {
    let Some(store) = RedisStore::begin().await else { return };
    let _still = Still::new();
    let publisher = store.node(defaults);
    let runs = Runs::new(publisher.clone(), Plain);
    let until_stopped = async |run: Writer| {
        run.stopped().await;
        Ok(())
    };
    let _takes_part = runs.start(New::run(), until_stopped).await;
    scripts(&store);
    publisher.channel(CHANNEL).send(Event::text("1")).await.unwrap();
    let whole = OpenOptions::new().start(Start::Whole);
    let _reader = whole.open(&publisher, Grant::new([CHANNEL]), None).await.unwrap();
    let plain = scripts(&store);

    let (token, mut tokens) = tokio::sync::mpsc::channel(1);
    let (sent, mut all_sent) = tokio::sync::mpsc::channel(1);
    let _response = runs
        .start(New::run(), async move |run| {
            while let Some(token) = tokens.recv().await {
                run.send(Event::text(token)).await?;
                sent.send(()).await?;
            }
            Ok(())
        })
        .await;
    let start = scripts(&store);
    assert!(start <= plain + 1, "{start} scripts, and {plain} for an event and its reader");
    for n in 0..100 {
        token.send(n.to_string()).await.unwrap();
        all_sent.recv().await.unwrap();
    }
    assert_eq!(scripts(&store), 100);
}

#[tokio::test]
async fn a_channel_opens_that_takes_longer_to_read_than_a_call_may_take() {
    let Some(store) = RedisStore::begin().await else { return };
    fill(&store.backend(), 3_000, false, generous()).await;
    let port = store.server.lock().unwrap().port();
    let proxy = Proxy::start(port).await;
    // There are 24 pages, and each takes a round trip of three tenths of a second. So do some ten calls before the first one.
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    let timeout = Duration::from_secs(5);
    let redis = Redis::builder(format!("redis://127.0.0.1:{}", proxy.port)).timeout(timeout).build().unwrap();
    let node = Publisher::builder().backend(redis).retention(generous()).timeout(timeout).build();
    let earliest = OpenOptions::new().start(Start::Earliest);
    let mut reader = try_open(&node, earliest, &["a"], "", None).await.unwrap();
    assert_eq!(reader.texts(3_000).await.len(), 3_000);
}
