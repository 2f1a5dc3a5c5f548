//! A recorder that the tests can ask.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};

#[derive(Default)]
pub struct Recorder {
    values: Mutex<HashMap<Key, Arc<AtomicU64>>>,
    times: Mutex<HashMap<Key, Arc<Times>>>,
    described: Mutex<HashMap<String, (&'static str, Option<Unit>)>>,
}

/// How many values a histogram has.
#[derive(Default)]
struct Times(AtomicU64);

impl HistogramFn for Times {
    fn record(&self, value: f64) {
        assert!(value >= 0.0, "{value}");
        self.0.fetch_add(1, SeqCst);
    }
}

impl Recorder {
    fn value(&self, key: &Key) -> Arc<AtomicU64> {
        self.values.lock().unwrap().entry(key.clone()).or_default().clone()
    }

    fn describe(&self, key: KeyName, kind: &'static str, unit: Option<Unit>) {
        self.described.lock().unwrap().insert(key.as_str().to_owned(), (kind, unit));
    }

    /// The value of a counter, which must be registered.
    #[track_caller]
    pub fn counter(&self, name: &str, labels: &[(&'static str, &'static str)]) -> u64 {
        let key = key(name, labels);
        self.values.lock().unwrap().get(&key).unwrap_or_else(|| panic!("no {key}")).load(SeqCst)
    }

    /// The sum of a counter's values, whatever its labels.
    pub fn sum(&self, name: &str) -> u64 {
        let values = self.values.lock().unwrap();
        values.iter().filter(|(key, _)| key.name() == name).map(|(_, value)| value.load(SeqCst)).sum()
    }

    #[track_caller]
    pub fn gauge(&self, name: &str, labels: &[(&'static str, &'static str)]) -> f64 {
        f64::from_bits(self.counter(name, labels))
    }

    fn of_histogram(&self, name: &str, labels: &[(&'static str, &'static str)]) -> Arc<Times> {
        let key = key(name, labels);
        self.times.lock().unwrap().get(&key).unwrap_or_else(|| panic!("no {key}")).clone()
    }

    /// How many values a histogram has.
    pub fn times(&self, name: &str, labels: &[(&'static str, &'static str)]) -> u64 {
        self.of_histogram(name, labels).0.load(SeqCst)
    }

    /// Every metric that is described: its name, its kind, and its unit.
    pub fn described(&self) -> Vec<(String, &'static str, Option<Unit>)> {
        let described = self.described.lock().unwrap();
        described.iter().map(|(name, (kind, unit))| (name.clone(), *kind, *unit)).collect()
    }

    /// The names of all metrics that are registered.
    pub fn registered(&self) -> Vec<String> {
        let (values, times) = (self.values.lock().unwrap(), self.times.lock().unwrap());
        values.keys().chain(times.keys()).map(|key| key.name().to_owned()).collect()
    }

    /// The values of a label, over all metrics.
    pub fn values_of(&self, label: &str) -> Vec<String> {
        let (values, times) = (self.values.lock().unwrap(), self.times.lock().unwrap());
        let labels = values.keys().chain(times.keys()).flat_map(Key::labels).filter(|own| own.key() == label);
        labels.map(|label| label.value().to_owned()).collect()
    }
}

fn key(name: &str, labels: &[(&'static str, &'static str)]) -> Key {
    Key::from_parts(name.to_owned(), labels)
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, "counter", unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, "gauge", unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, "histogram", unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut times = self.times.lock().unwrap();
        Histogram::from_arc(times.entry(key.clone()).or_default().clone())
    }
}
