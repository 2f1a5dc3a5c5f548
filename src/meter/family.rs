//! Registers metrics: one handle for each value of a label, so that nothing is looked up by a key later.

use metrics::{Counter, Gauge, Histogram, Label, Unit};

/// The labels that all metrics of a hub have.
#[derive(Clone, Default)]
pub(crate) struct Labels(Vec<Label>);

impl Labels {
    /// The label of a hub that has a name.
    pub(crate) fn of_hub(name: String) -> Self {
        Self(vec![Label::new("hub", name)])
    }

    pub(crate) fn with(&self, key: &'static str, value: &'static str) -> Self {
        let own = Label::from_static_parts(key, value);
        Self(self.0.iter().cloned().chain([own]).collect())
    }

    pub(crate) fn counter(&self, name: &'static str, unit: Unit, description: &'static str) -> Counter {
        metrics::describe_counter!(name, unit, description);
        metrics::counter!(name, self.0.clone())
    }

    pub(crate) fn gauge(&self, name: &'static str, unit: Unit, description: &'static str) -> Gauge {
        metrics::describe_gauge!(name, unit, description);
        metrics::gauge!(name, self.0.clone())
    }

    pub(crate) fn seconds(&self, name: &'static str, description: &'static str) -> Histogram {
        metrics::describe_histogram!(name, Unit::Seconds, description);
        metrics::histogram!(name, self.0.clone())
    }
}

/// A counter for each value of a label. They are few, and the most frequent one comes first.
pub(crate) struct Family(Vec<(&'static str, Counter)>);

impl Family {
    pub(crate) fn new(
        labels: &Labels,
        name: &'static str,
        description: &'static str,
        key: &'static str,
        values: &[&'static str],
    ) -> Self {
        let counter = |value| (value, labels.with(key, value).counter(name, Unit::Count, description));
        Self(values.iter().copied().map(counter).collect())
    }

    /// Counts one. A value that is not in the list counts as the last one.
    pub(crate) fn add(&self, value: &'static str) {
        let found = self.0.iter().find(|(own, _)| *own == value).or(self.0.last());
        if let Some((_, counter)) = found {
            counter.increment(1);
        }
    }
}
