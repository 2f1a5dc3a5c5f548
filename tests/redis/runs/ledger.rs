//! What happened: what clients asked for, what producers said, and which faults there were.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

#[derive(Default)]
pub struct Ledger {
    pub runs: HashMap<String, Run>,
    /// In the order in which they were asked for.
    pub ids: Vec<String>,
    pub faults: Vec<Fault>,
    pub stalls: Vec<Stall>,
    /// How starts were answered, by status; 0 is no answer.
    pub answers: HashMap<u16, usize>,
    pub stops: usize,
    /// How take-overs were answered, by status; 0 is no answer.
    pub take_overs: HashMap<u16, usize>,
}

/// A run that somebody asked for.
pub struct Run {
    pub thread: Option<u64>,
    pub parts: u64,
    pub end: &'static str,
    /// Somebody asked it to stop, or another run of its thread may have interrupted it.
    pub may_stop: bool,
    /// How many of its starts succeeded.
    pub started: usize,
    /// How many of its take-overs succeeded.
    pub taken: usize,
    /// How many more of its take-overs may have succeeded without an answer.
    pub unclear: usize,
    pub attempts: Vec<Attempt>,
}

/// What a producer has reported.
pub struct Attempt {
    /// The number of the attempt, from 1.
    pub number: u64,
    pub name: String,
    pub process: Process,
    pub begun: Instant,
    pub acknowledged: Vec<u64>,
    /// How it ended, by itself.
    pub end: Option<String>,
    /// It was dropped before its end, or refused. Then: what its writer got when it tried once more, and what the channel said to the fence.
    pub late: Option<(String, String)>,
}

/// A node's process: the number of the node, and how often it had been started.
pub type Process = (usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Kill,
    Stop,
    CutOff,
    Drain,
    Redis,
}

pub struct Fault {
    pub kind: Kind,
    /// The process; no matter for Redis.
    pub process: Process,
    pub from: Instant,
    /// When it was over; a killed process does not come back.
    pub to: Option<Instant>,
}

/// A process, or that of the test, was stalled for this long.
pub struct Stall {
    pub process: Option<Process>,
    pub at: Instant,
    pub time: Duration,
}

impl Run {
    /// The producer that began last.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.iter().max_by_key(|attempt| attempt.number)
    }
}

impl Ledger {
    pub fn stalled(&mut self, process: Option<Process>, time: Duration) {
        self.stalls.push(Stall { process, at: Instant::now(), time });
    }

    pub fn begin(&mut self, kind: Kind, process: Process) -> usize {
        self.faults.push(Fault { kind, process, from: Instant::now(), to: None });
        self.faults.len() - 1
    }

    pub fn end(&mut self, fault: usize) {
        self.faults[fault].to = Some(Instant::now());
    }

    pub fn is_over(&self, id: &str) -> bool {
        let ended = |attempt: &Attempt| attempt.end.is_some() || attempt.late.is_some();
        self.runs.get(id).is_some_and(|run| run.last().is_some_and(ended))
    }

    /// The runs whose producers go on in a process.
    pub fn active(&self, process: Process) -> Vec<String> {
        let goes_on = |attempt: &Attempt| attempt.process == process && attempt.end.is_none() && attempt.late.is_none();
        let ids = self.ids.iter().rev().take(200);
        ids.filter(|id| self.runs[*id].attempts.iter().any(goes_on)).cloned().collect()
    }

    /// Records what a process reports.
    pub fn hear(&mut self, process: Process, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["stalled", millis] => {
                self.stalled(Some(process), Duration::from_millis(millis.parse().unwrap()));
            }
            ["began", id, name, number] => {
                let (name, number, begun) = (name.to_owned(), number.parse().unwrap(), Instant::now());
                let attempt = Attempt { number, name, process, begun, acknowledged: Vec::new(), end: None, late: None };
                self.runs.entry(id.to_owned()).and_modify(|run| run.attempts.push(attempt));
            }
            ["acknowledged", id, name, from, to] => {
                let numbers: std::ops::Range<u64> = from.parse().unwrap()..to.parse().unwrap();
                self.with(id, name, |attempt| attempt.acknowledged.extend(numbers));
            }
            ["ended", id, name, how] => self.with(id, name, |attempt| attempt.end = Some(how.to_owned())),
            ["late", id, name, writer, channel] => {
                self.with(id, name, |attempt| attempt.late = Some((writer.to_owned(), channel.to_owned())));
            }
            _ => {}
        }
    }

    /// Changes what is known about a producer, until the test is over.
    fn with(&mut self, id: &str, name: &str, change: impl FnOnce(&mut Attempt)) {
        let mut attempts = self.runs.get_mut(id).into_iter().flat_map(|run| &mut run.attempts);
        if let Some(attempt) = attempts.find(|attempt| attempt.name == name) {
            change(attempt);
        }
    }
}
