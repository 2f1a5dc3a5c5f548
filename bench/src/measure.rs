//! Runs one scenario once on one server.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use crate::{
    control::{Command, Publish},
    load::{Ask, Load, Timing},
    process::Server,
    scenario::{AT_MOST, Audience, Cores, Metric, Scenario, Work},
    server::Kind,
    sys,
};

/// The result of one run.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub values: BTreeMap<Metric, f64>,
    /// Events that were lost, repeated or foreign, and readers that were refused.
    pub faults: u64,
}

/// The cores: the server's, and the generator's if it has one of its own.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub server: usize,
    pub generator: usize,
}

/// Runs a scenario; `scale` is the part of its work that is done.
pub fn sample(scenario: &Scenario, kind: Kind, machine: Machine, scale: f64) -> io::Result<Sample> {
    let shared = scenario.cores == Cores::One;
    sys::pin(if shared { machine.server } else { machine.generator })?;
    sys::batch(shared)?;
    let server = Server::start(kind, scenario.settings, machine.server)?;
    let mut run = Run { scenario, server, load: Load::new()?, scale, values: BTreeMap::new() };
    run.work()?;
    let faults = run.load.tally.faults() + run.load.tally.closed as u64;
    if faults > 0 {
        eprintln!("{} on {}: {:?}", scenario.name, kind.name(), run.load.tally);
    }
    Ok(Sample { values: run.values, faults })
}

struct Run<'a> {
    scenario: &'a Scenario,
    server: Server,
    load: Load,
    scale: f64,
    values: BTreeMap<Metric, f64>,
}

impl Run<'_> {
    fn work(&mut self) -> io::Result<()> {
        match self.scenario.work {
            Work::Closed { rounds, burst, window, at_once, history } => {
                self.prefill(1, history)?;
                self.audience(history)?;
                let rounds = self.scaled(rounds);
                let closed = Closed { burst, window, at_once };
                self.closed(closed, rounds.div_ceil(10).max(3), false)?;
                self.closed(closed, rounds, true)
            }
            Work::Rate { rounds, interval } => self.rate(self.scaled(rounds), interval),
            Work::Replay { events } => self.replay(events),
            Work::ReplayLive { events, live, interval } => self.replay_live(events, self.scaled(live), interval),
            Work::Idle => self.idle(),
            Work::KeepAlive { lasting } => self.keep_alive(lasting),
            Work::Churn { cycles, channels, history } => self.churn(self.scaled(cycles), channels, history),
            Work::Channels { channels, events } => self.channels(self.scaled(channels), events),
        }
    }

    fn scaled(&self, count: u32) -> u32 {
        // Values beyond `u32` saturate.
        ((f64::from(count) * self.scale) as u32).max(1)
    }

    fn set(&mut self, metric: Metric, value: f64) {
        if self.scenario.metrics.contains(&metric) {
            self.values.insert(metric, value);
        }
    }

    fn fail<T>(&self, why: &str) -> io::Result<T> {
        Err(io::Error::other(format!("{}: {why}: {:?}", self.scenario.name, self.load.tally)))
    }

    /// Publishes before anybody reads. Returns the first event's id.
    fn prefill(&mut self, channels: u32, events: u32) -> io::Result<String> {
        if channels == 0 || events == 0 {
            return Ok(String::new());
        }
        let publish = Publish { streams: channels, burst: events, answered: true, ..Publish::one_to(0) };
        self.server.control.ask(Command::Publish(publish))
    }

    fn asks(&self, next: u32, id: Option<&str>) -> impl Iterator<Item = Ask> + use<> {
        let audience = self.scenario.audience;
        let id = id.map(ToOwned::to_owned);
        (0..audience.readers()).map(move |reader| {
            let (target, streams) = match audience {
                Audience::Channel(_) => ("/sse/c0".into(), 0..1),
                Audience::OneEach(_) => (format!("/sse/c{reader}"), reader..reader + 1),
                Audience::Clients(_) => (format!("/sse/c0/u{reader}"), reader..reader + 1),
                Audience::Merged { channels, .. } => {
                    let names: Vec<_> = (0..channels).map(|channel| format!("channel=c{channel}")).collect();
                    (format!("/multi?{}", names.join("&")), 0..channels)
                }
            };
            Ask { target, last_event_id: id.clone(), streams, next }
        })
    }

    /// Opens all readers, which start live.
    fn audience(&mut self, next: u32) -> io::Result<()> {
        let asks = self.asks(next, None);
        self.load.open(self.server.addr, asks)?;
        if self.load.tally.opened < self.scenario.audience.readers() as usize {
            return self.fail("not all readers were let in");
        }
        self.server.settle()
    }

    fn closed(&mut self, Closed { burst, window, at_once }: Closed, rounds: u32, counts: bool) -> io::Result<()> {
        let audience = self.scenario.audience;
        let streams = if at_once { audience.streams() } else { 1 };
        let per_round = u64::from(burst * streams * audience.reached());
        let targeted = matches!(audience, Audience::Clients(_));
        if window > 1 && self.load.timing.is_none() {
            self.load.timing = Some(Timing::new(audience.reached(), false));
        }
        let complete = |load: &Load| load.timing.as_ref().map_or(0, |timing| timing.complete);
        let (came, completed) = (self.load.tally.deliveries, complete(&self.load));
        let meter = self.meter()?;
        let (mut issued, mut progress) = (0, Instant::now());
        let mut turn = 0;
        loop {
            let done = match window {
                1 => u32::try_from((self.load.tally.deliveries - came) / per_round).unwrap_or(u32::MAX),
                _ => (complete(&self.load) - completed) / burst,
            };
            let over = issued == rounds || meter.begin.elapsed() > AT_MOST;
            if over && done >= issued {
                break;
            }
            while !over && issued < rounds && issued < done + window {
                let publish = Publish { streams, burst, targeted, ..Publish::one_to(turn) };
                self.server.control.send(Command::Publish(publish))?;
                turn = if at_once { 0 } else { self.next_turn(turn) };
                (issued, progress) = (issued + 1, Instant::now());
            }
            if progress.elapsed() > 10 * AT_MOST {
                return self.fail("nothing comes any more");
            }
            self.load.poll(1000)?;
        }
        if counts {
            self.per_delivery(&meter, self.load.tally.deliveries - came)?;
        }
        Ok(())
    }

    /// The stream after this one. It is not its neighbour, so that caches do not help.
    fn next_turn(&self, turn: u32) -> u32 {
        (turn + 7) % self.scenario.audience.streams()
    }

    fn meter(&self) -> io::Result<Meter> {
        Ok(Meter { cpu: self.server.cpu()?, user: self.server.user()?, begin: Instant::now() })
    }

    /// Records what was used since `meter` was read.
    fn per_delivery(&mut self, meter: &Meter, deliveries: u64) -> io::Result<()> {
        let wall = meter.begin.elapsed();
        let (cpu, user) = (self.server.cpu()? - meter.cpu, self.server.user()? - meter.user);
        let deliveries = deliveries.max(1) as f64;
        self.set(Metric::CpuPerDelivery, cpu.as_secs_f64() * 1e6 / deliveries);
        self.set(Metric::UserPerDelivery, user.as_secs_f64() * 1e6 / deliveries);
        self.set(Metric::DeliveriesPerSecond, deliveries / wall.as_secs_f64());
        Ok(())
    }

    fn rate(&mut self, rounds: u32, interval: Duration) -> io::Result<()> {
        self.audience(0)?;
        let readers = self.scenario.audience.reached();
        let warm = rounds.div_ceil(10);
        for (rounds, timed) in [(warm, false), (rounds, true)] {
            self.load.timing = Some(Timing::new(readers, true));
            let expected = self.load.tally.deliveries + u64::from(rounds) * u64::from(readers);
            let publish = Publish { rounds, interval, timed, ..Publish::one_to(0) };
            self.server.control.send(Command::Publish(publish))?;
            if !self.load.until(interval * rounds + 10 * AT_MOST, |load| load.tally.deliveries >= expected)? {
                return self.fail("not everything came");
            }
        }
        let Some(timing) = self.load.timing.take() else { return Ok(()) };
        if let Some(each) = timing.each {
            self.set(Metric::LatencyMedian, each.value_at_quantile(0.5) as f64 / 1e6);
            self.set(Metric::LatencyP99, each.value_at_quantile(0.99) as f64 / 1e6);
        }
        self.set(Metric::LatencyOfLast, timing.last.value_at_quantile(0.5) as f64 / 1e6);
        let publish = self.server.control.ask(Command::Times)?;
        // A server that does not record them answers 0.
        if let Ok(nanos @ 1.0..) = publish.parse::<f64>() {
            self.set(Metric::CpuPerPublish, nanos / 1e3);
        }
        Ok(())
    }

    fn replay(&mut self, events: u32) -> io::Result<()> {
        let id = self.prefill(1, events + 1)?;
        for ask in self.asks(1, Some(&id)) {
            self.load.connect(self.server.addr, ask)?;
            if self.load.readers().is_multiple_of(64) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.server.settle()?;
        let meter = self.meter()?;
        for key in 0..self.load.readers() {
            self.load.request(key)?;
        }
        let expected = u64::from(events) * u64::from(self.scenario.audience.readers());
        if !self.load.until(10 * AT_MOST, |load| load.tally.deliveries >= expected)? {
            return self.fail("not everything came");
        }
        self.per_delivery(&meter, expected)
    }

    fn replay_live(&mut self, events: u32, live: u32, interval: Duration) -> io::Result<()> {
        let id = self.prefill(1, events + 1)?;
        self.server.settle()?;
        let meter = self.meter()?;
        let publish = Publish { rounds: live, interval, ..Publish::one_to(0) };
        self.server.control.send(Command::Publish(publish))?;
        let readers = self.scenario.audience.readers();
        for (nth, ask) in (1..).zip(self.asks(1, Some(&id))) {
            self.load.open(self.server.addr, [ask])?;
            // Readers are spread over the first three quarters of the time.
            let due = meter.begin + interval * live * nth / readers * 3 / 4;
            self.load.until(due.saturating_duration_since(Instant::now()), |_| false)?;
        }
        let expected = u64::from(events + live) * u64::from(readers);
        if !self.load.until(10 * AT_MOST, |load| load.tally.deliveries >= expected)? {
            return self.fail("not everything came");
        }
        self.per_delivery(&meter, expected)
    }

    fn idle(&mut self) -> io::Result<()> {
        // What the first connections set up is not the connections' memory.
        let ask = Ask { target: "/sse/c0".into(), last_event_id: None, streams: 0..1, next: 0 };
        self.load.open(self.server.addr, std::iter::repeat_n(ask, 100))?;
        self.server.settle()?;
        let before = self.server.memory()?;
        self.audience(0)?;
        let grown = self.server.memory()?.saturating_sub(before);
        self.set(Metric::BytesPerConnection, grown as f64 / f64::from(self.scenario.audience.readers()));
        Ok(())
    }

    fn keep_alive(&mut self, lasting: Duration) -> io::Result<()> {
        self.audience(0)?;
        let interval = self.scenario.settings.keep_alive;
        self.load.until(interval * 3 / 2, |_| false)?;
        self.load.count_comments = true;
        let cpu = self.server.cpu()?;
        self.load.until(lasting, |_| false)?;
        let cpu = self.server.cpu()? - cpu;
        let count = self.load.tally.comments;
        if count == 0 {
            return self.fail("no keep-alives came");
        }
        self.set(Metric::CpuPerKeepAlive, cpu.as_secs_f64() * 1e6 / count as f64);
        Ok(())
    }

    fn churn(&mut self, cycles: u32, channels: u32, history: u32) -> io::Result<()> {
        const AT_ONCE: u32 = 10;
        self.prefill(channels, 1)?;
        // With channels, channel 0 has an event already.
        let held = if channels > 0 { 1 } else { history };
        self.prefill(1, history)?;
        self.audience(held)?;
        let parked = self.load.readers();
        let ask = Ask { target: "/sse/c0".into(), last_event_id: None, streams: 0..1, next: held };
        let cpu = self.server.cpu()?;
        for _ in 0..cycles.div_ceil(AT_ONCE) {
            self.load.open(self.server.addr, std::iter::repeat_n(ask.clone(), AT_ONCE as usize))?;
            self.load.close_from(parked);
        }
        self.server.settle()?;
        let visits = cycles.div_ceil(AT_ONCE) * AT_ONCE;
        self.set(Metric::CpuPerVisit, (self.server.cpu()? - cpu).as_secs_f64() * 1e6 / f64::from(visits));
        Ok(())
    }

    fn channels(&mut self, channels: u32, events: u32) -> io::Result<()> {
        self.server.settle()?;
        let before = self.server.memory()?;
        self.prefill(channels, events)?;
        let grown = self.server.memory()?.saturating_sub(before);
        self.set(Metric::BytesPerChannel, grown as f64 / f64::from(channels));
        Ok(())
    }
}

/// What a server had used at one moment.
struct Meter {
    cpu: Duration,
    user: Duration,
    begin: Instant,
}

#[derive(Clone, Copy)]
struct Closed {
    burst: u32,
    window: u32,
    at_once: bool,
}
