//! The table of what is measured. `measure` runs a line of it.

use std::time::Duration;

use serde::Serialize;

use crate::server::{Kind, Settings};

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub servers: &'static [Kind],
    pub cores: Cores,
    pub audience: Audience,
    pub work: Work,
    pub metrics: &'static [Metric],
    pub settings: Settings,
}

/// With server and load generator on different cores, the kernel's cost about doubles. CPU time is therefore measured
/// on one core, and elapsed time on two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    One,
    Two,
}

/// The readers.
#[derive(Debug, Clone, Copy)]
pub enum Audience {
    /// That many readers of one channel.
    Channel(u32),
    /// That many channels with one reader each.
    OneEach(u32),
    /// That many clients of one channel, each of which gets events of its own.
    Clients(u32),
    /// Readers that each read all channels.
    Merged { readers: u32, channels: u32 },
}

impl Audience {
    pub fn readers(self) -> u32 {
        match self {
            Self::Channel(readers) | Self::OneEach(readers) | Self::Clients(readers) => readers,
            Self::Merged { readers, .. } => readers,
        }
    }

    pub fn streams(self) -> u32 {
        match self {
            Self::Channel(_) => 1,
            Self::OneEach(streams) | Self::Clients(streams) | Self::Merged { channels: streams, .. } => streams,
        }
    }

    /// How many readers an event reaches.
    pub fn reached(self) -> u32 {
        match self {
            Self::Channel(readers) | Self::Merged { readers, .. } => readers,
            Self::OneEach(_) | Self::Clients(_) => 1,
        }
    }
}

/// What is published, and how.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// The next round is published when everybody has all but `window - 1` of the rounds before. `history` events exist
    /// before. With `at_once` a round is `burst` events for every stream, otherwise for the next stream in turn.
    Closed { rounds: u32, burst: u32, window: u32, at_once: bool, history: u32 },
    /// Rounds of one event at a fixed rate, whatever the readers do.
    Rate { rounds: u32, interval: Duration },
    /// Connected readers all request at once everything after the first of `events + 1` events.
    Replay { events: u32 },
    /// The same, one reader after the other, while events are published at a fixed rate.
    ReplayLive { events: u32, live: u32, interval: Duration },
    /// Nothing is published.
    Idle,
    /// Nothing is published, for this long.
    KeepAlive { lasting: Duration },
    /// Beside the audience, readers of channel 0 connect and leave, a few at a time. There are `channels` more
    /// channels, and `history` events in channel 0.
    Churn { cycles: u32, channels: u32, history: u32 },
    /// Channels with events and without readers.
    Channels { channels: u32, events: u32 },
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    CpuPerDelivery,
    UserPerDelivery,
    DeliveriesPerSecond,
    BytesPerConnection,
    BytesPerChannel,
    CpuPerKeepAlive,
    CpuPerVisit,
    LatencyMedian,
    LatencyP99,
    LatencyOfLast,
    CpuPerPublish,
}

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Self::CpuPerDelivery => "µs of CPU per delivery",
            Self::UserPerDelivery => "µs of it outside the kernel",
            Self::DeliveriesPerSecond => "deliveries per second",
            Self::BytesPerConnection => "bytes per connection",
            Self::BytesPerChannel => "bytes per channel",
            Self::CpuPerKeepAlive => "µs of CPU per keep-alive",
            Self::CpuPerVisit => "µs of CPU per connect and leave",
            Self::LatencyMedian => "ms to a reader, median",
            Self::LatencyP99 => "ms to a reader, p99",
            Self::LatencyOfLast => "ms to the last reader, median",
            Self::CpuPerPublish => "µs of CPU in publish, median",
        }
    }
}

use Audience::{Channel, Clients, Merged, OneEach};
use Cores::{One, Two};
use Kind::{
    AxumBroadcast, AxumQueue, Nchan, NeverAxum, NeverHyper, RawEpoll, TowerSseAxum, TowerSseHyper, TowerSseServer,
};
use Metric::{
    BytesPerChannel, BytesPerConnection, CpuPerDelivery, CpuPerKeepAlive, CpuPerPublish, CpuPerVisit,
    DeliveriesPerSecond, LatencyMedian, LatencyOfLast, LatencyP99, UserPerDelivery,
};
use Work::{Churn, Closed, Idle, Rate, Replay, ReplayLive};

const ALL: &[Kind] = &[RawEpoll, TowerSseServer, TowerSseHyper, TowerSseAxum, AxumBroadcast, AxumQueue];
const ALL_AND_NCHAN: &[Kind] = &[RawEpoll, TowerSseServer, TowerSseHyper, TowerSseAxum, AxumBroadcast, AxumQueue, Nchan];
const MAIN: &[Kind] = &[RawEpoll, TowerSseServer, TowerSseHyper, TowerSseAxum, AxumBroadcast];
const PAIR: &[Kind] = &[TowerSseServer, TowerSseHyper, AxumBroadcast];
const CPU: &[Metric] = &[CpuPerDelivery, UserPerDelivery];
const TIMES: &[Metric] = &[LatencyMedian, LatencyP99, LatencyOfLast, CpuPerPublish];

const fn with_history(history: usize) -> Settings {
    Settings { history, ..DEFAULT }
}

const DEFAULT: Settings = Settings { history: 1_024, keep_alive: Duration::from_secs(15), event_size: 100 };
const TICKING: Settings = Settings { keep_alive: Duration::from_secs(1), ..DEFAULT };

/// One event at a time.
const fn single(rounds: u32) -> Work {
    Closed { rounds, burst: 1, window: 1, at_once: false, history: 0 }
}

const fn burst(rounds: u32, burst: u32) -> Work {
    Closed { rounds, burst, window: 1, at_once: false, history: 0 }
}

/// As many events as possible, published one by one, with at most `window` in flight.
const fn saturated(rounds: u32, window: u32) -> Work {
    Closed { rounds, burst: 1, window, at_once: false, history: 0 }
}

const fn after(rounds: u32, history: u32) -> Work {
    Closed { rounds, burst: 1, window: 1, at_once: false, history }
}

const fn churn(channels: u32, history: u32) -> Work {
    Churn { cycles: 2_000, channels, history }
}

macro_rules! scenarios {
    ($($name:literal $title:literal: $servers:ident, $cores:ident, $audience:expr, $work:expr, $metrics:expr $(, $settings:expr)?;)*) => {
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name,
            title: $title,
            servers: $servers,
            cores: $cores,
            audience: $audience,
            work: $work,
            metrics: $metrics,
            settings: scenarios!(@settings $($settings)?),
        }),*];
    };
    (@settings) => { DEFAULT };
    (@settings $settings:expr) => { $settings };
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

scenarios! {
    "fanout-10" "one event at a time to 10 readers": MAIN, One, Channel(10), single(5_000), CPU;
    "fanout-100" "one event at a time to 100 readers": ALL_AND_NCHAN, One, Channel(100), single(2_000), CPU;
    "fanout-1k" "one event at a time to 1,000 readers": ALL_AND_NCHAN, One, Channel(1_000), single(400), CPU;
    "fanout-10k" "one event at a time to 10,000 readers": ALL, One, Channel(10_000), single(40), CPU;
    "burst-100" "bursts of 100 events to 100 readers": MAIN, One, Channel(100), burst(100, 100), CPU;
    "burst-1k" "bursts of 100 events to 1,000 readers": ALL, One, Channel(1_000), burst(15, 100), CPU;
    "channels-1k" "1,000 channels, one reader each, one event in flight": ALL_AND_NCHAN, One, OneEach(1_000), single(10_000), CPU;
    "channels-1k-at-once" "1,000 channels, one reader each, an event to all at once": ALL, One, OneEach(1_000),
        Closed { rounds: 60, burst: 1, window: 1, at_once: true, history: 0 }, CPU;
    "channels-10" "10 channels, one reader each, one event in flight": MAIN, One, OneEach(10), single(10_000), CPU;
    "channels-10k" "10,000 channels, one reader each, one event in flight": MAIN, One, OneEach(10_000), single(10_000), CPU;
    "targeted-10" "events for one of 10 clients of a channel": ALL, One, Clients(10), single(4_000), CPU;
    "targeted-10k" "events for one of 10,000 clients of a channel": ALL, One, Clients(10_000), single(4_000), CPU;
    "replay-1k" "replay of 1,000 events to 1,000 readers": ALL, One, Channel(1_000), Replay { events: 1_000 }, CPU;
    "replay-live" "replay of 1,000 events to 300 readers, who come while 1,000 more are published": ALL, One, Channel(300),
        ReplayLive { events: 1_000, live: 1_000, interval: MS }, CPU, with_history(4_096);
    "idle-10k" "10,000 idle connections":
        EVERY, Two, Channel(10_000), Idle, &[BytesPerConnection];
    "idle-clients-5k" "5,000 idle connections of as many clients": SMALL, Two, Clients(5_000), Idle, &[BytesPerConnection];
    "idle-clients-10k" "10,000 idle connections of as many clients": SMALL, Two, Clients(10_000), Idle, &[BytesPerConnection];
    "idle-clients-19k" "19,000 idle connections of as many clients": SMALL, Two, Clients(19_000), Idle, &[BytesPerConnection];
    "keepalive-10k" "keep-alives of 10,000 idle readers, each second": MAIN, One, Channel(10_000),
        Work::KeepAlive { lasting: Duration::from_secs(4) }, &[CpuPerKeepAlive], TICKING;
    "saturated-1k" "1,000 readers, saturated, at most 4 events on their way": ALL_AND_NCHAN, Two, Channel(1_000),
        saturated(2_000, 4), &[DeliveriesPerSecond];
    "saturated-10k" "10,000 readers, saturated, at most 4 events on their way": ALL, Two, Channel(10_000),
        saturated(200, 4), &[DeliveriesPerSecond];
    "saturated-10k-64" "10,000 readers, saturated, at most 64 events on their way": ALL, Two, Channel(10_000),
        saturated(600, 64), &[DeliveriesPerSecond];
    "rate-1k" "100 events per second to 1,000 readers": ALL, Two, Channel(1_000), Rate { rounds: 200, interval: Duration::from_millis(10) }, TIMES;
    "rate-10k" "10 events per second to 10,000 readers": ALL, Two, Channel(10_000), Rate { rounds: 30, interval: Duration::from_millis(100) }, TIMES;
    "merged-1" "1 channel on each of 100 connections": MAIN, One, Merged { readers: 100, channels: 1 }, single(1_000), CPU;
    "merged-10" "10 channels on each of 100 connections": MAIN, One, Merged { readers: 100, channels: 10 }, single(1_000), CPU;
    "merged-100" "100 channels on each of 100 connections": MAIN, One, Merged { readers: 100, channels: 100 }, single(1_000), CPU;
    "churn" "connect and leave": MAIN, One, Channel(0), churn(0, 0), &[CpuPerVisit];
    "churn-readers" "connect and leave beside 10,000 readers": MAIN, One, Channel(10_000), churn(0, 0), &[CpuPerVisit];
    "churn-channels" "connect and leave beside 10,000 channels": MAIN, One, Channel(0), churn(10_000, 0), &[CpuPerVisit];
    "churn-history" "connect and leave, 10,000 events held": MAIN, One, Channel(0), churn(0, 10_000), &[CpuPerVisit], with_history(10_000);
    "history-1k" "one event at a time to 1,000 readers, 1,000 events held": PAIR, One, Channel(1_000), after(200, 1_000), CPU;
    "history-10k" "one event at a time to 1,000 readers, 10,000 events held": PAIR, One, Channel(1_000), after(200, 10_000), CPU, with_history(10_000);
    "history-100k" "one event at a time to 1,000 readers, 100,000 events held": PAIR, One, Channel(1_000), after(200, 100_000), CPU, with_history(100_000);
    "channel-memory" "100,000 channels with 10 events each": OURS, Two, Channel(0), Work::Channels { channels: 100_000, events: 10 },
        &[BytesPerChannel];
    "channel-memory-1" "100,000 channels with one event each": OURS, Two, Channel(0), Work::Channels { channels: 100_000, events: 1 },
        &[BytesPerChannel];
}

const EVERY: &[Kind] = &[RawEpoll, NeverHyper, NeverAxum, TowerSseServer, TowerSseHyper, TowerSseAxum, AxumBroadcast, AxumQueue, Nchan];
const SMALL: &[Kind] = &[RawEpoll, TowerSseServer, TowerSseHyper, AxumBroadcast];
const OURS: &[Kind] = &[TowerSseHyper, AxumBroadcast];
/// No measurement takes longer than this.
pub const AT_MOST: Duration = SECOND.saturating_mul(3);
