//! Results, and what is computed from them: medians of the rounds, and ratios with their spread.

pub mod json;
pub mod plot;
pub mod table;

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use crate::{
    cli::RunArgs,
    measure::Sample,
    scenario::{Metric, Scenario},
    server::Kind,
};

type ByName<T> = BTreeMap<String, T>;
type Rounds = BTreeMap<usize, f64>;

/// The results of all rounds, by names, so that older files can be read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    pub rounds: usize,
    pub scale: f64,
    /// Values by scenario, metric, server and round.
    pub values: ByName<ByName<ByName<Rounds>>>,
    /// Events lost, repeated or foreign, and readers refused, by scenario and server. Zeros are left out.
    pub faults: ByName<ByName<u64>>,
    pub failures: Vec<String>,
    /// Samples that other processes disturbed.
    #[serde(default)]
    pub disturbed: usize,
    #[serde(default)]
    pub samples: usize,
}

/// One measure of one scenario on one server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Cell {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

impl Results {
    pub fn new(args: &RunArgs) -> Self {
        Self { machine: machine(), rounds: args.rounds, scale: args.scale, ..Self::default() }
    }

    pub fn add(&mut self, scenario: &str, kind: Kind, round: usize, sample: Sample) {
        for (metric, value) in &sample.values {
            let metrics = self.values.entry(scenario.to_owned()).or_default();
            let servers = metrics.entry(name(*metric)).or_default();
            servers.entry(kind.name().to_owned()).or_default().insert(round, *value);
        }
        self.samples += 1;
        if sample.faults > 0 {
            let servers = self.faults.entry(scenario.to_owned()).or_default();
            *servers.entry(kind.name().to_owned()).or_default() += sample.faults;
        }
    }

    pub fn failed(&mut self, scenario: &str, kind: Kind, error: &io::Error) {
        self.failures.push(format!("{scenario} on {}: {error}", kind.name()));
    }

    fn rounds_of(&self, scenario: &Scenario, metric: Metric, kind: Kind) -> Option<&Rounds> {
        self.values.get(scenario.name)?.get(&name(metric))?.get(kind.name())
    }

    pub fn cell(&self, scenario: &Scenario, metric: Metric, kind: Kind) -> Option<Cell> {
        Cell::of(self.rounds_of(scenario, metric, kind)?.values().copied())
    }

    /// The ratio of one server to another, computed for each round.
    pub fn ratio(&self, scenario: &Scenario, metric: Metric, kind: Kind, to: Kind) -> Option<Cell> {
        let (these, those) = (self.rounds_of(scenario, metric, kind)?, self.rounds_of(scenario, metric, to)?);
        Cell::of(these.iter().filter_map(|(round, value)| Some(value / those.get(round).filter(|to| **to > 0.0)?)))
    }
}

/// A metric's name as serde writes it.
fn name(metric: Metric) -> String {
    serde_json::to_value(metric).ok().and_then(|value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("an unknown processor", |(_, model)| model);
    format!("{} cores of {model}, Linux {}", models().count(), read("/proc/sys/kernel/osrelease").trim())
}
