//! What a cell says: what a client reported, in one or two words, and whether that is allowed.

use std::{collections::BTreeSet, fmt};

use crate::{
    client::{Outcome, Report},
    protocols::{SECRET, TOKENS},
};

/// What a client made of one answer, or of several in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What each answer was. Cells that were put together may have several for one answer.
    words: Vec<BTreeSet<String>>,
    /// What is not allowed.
    pub faults: Vec<String>,
    pub reports: Vec<Report>,
}

impl Cell {
    pub fn new(reports: impl IntoIterator<Item = Report>) -> Self {
        let reports: Vec<Report> = reports.into_iter().collect();
        let faults = reports.iter().filter_map(fault).collect();
        Self { words: reports.iter().map(|report| BTreeSet::from([word(report)])).collect(), faults, reports }
    }

    /// Requires the answer that the client got last to be complete.
    pub fn complete(mut self) -> Self {
        if self.reports.last().is_none_or(|report| report.outcome != Outcome::Complete) {
            self.faults.push(format!("it is not complete: {:?}", self.reports));
        }
        self
    }

    /// Requires every error to name its reason, in one of these ways.
    pub fn says(mut self, ways: &[&str]) -> Self {
        for report in &self.reports {
            match &report.outcome {
                Outcome::Error(error) if !ways.iter().any(|way| error.contains(way)) => {
                    self.faults.push(format!("it does not say why: {error}"));
                }
                _ => {}
            }
        }
        self
    }

    /// Requires something else that the table does not show.
    pub fn and(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        self.reports.extend(other.reports);
        self
    }

    /// Puts several cells of the same kind together. The result has everything that happened in any of them.
    pub fn all(cells: Vec<Self>) -> Self {
        let mut all = Self::new([]);
        for cell in cells {
            all.words.resize(all.words.len().max(cell.words.len()), BTreeSet::new());
            all.words.iter_mut().zip(cell.words).for_each(|(all, words)| all.extend(words));
            all.faults.extend(cell.faults);
            all.reports.extend(cell.reports);
        }
        all
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.iter().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>().join(" or "));
        f.write_str(&words.collect::<Vec<_>>().join(", then "))
    }
}

fn word(report: &Report) -> String {
    match (&report.outcome, report.status) {
        (Outcome::Complete, _) => "complete".to_owned(),
        (Outcome::Stopped, _) => "stopped".to_owned(),
        (Outcome::Nothing, _) => "nothing".to_owned(),
        (Outcome::Silence, _) => "SILENCE".to_owned(),
        (Outcome::Error(_), Some(status)) if status >= 400 => format!("error {status}"),
        // Some clients report the status of an answer that began well.
        (Outcome::Error(_), _) => "error".to_owned(),
    }
}

fn fault(report: &Report) -> Option<String> {
    let whole = TOKENS.concat();
    match &report.outcome {
        Outcome::Silence => Some("it says nothing".to_owned()),
        Outcome::Complete if report.text != whole => Some(format!("it takes this for complete: {:?}", report.text)),
        Outcome::Nothing if !report.text.is_empty() => Some(format!("it got something: {:?}", report.text)),
        _ if !whole.starts_with(&report.text) => Some(format!("it got something else: {:?}", report.text)),
        Outcome::Error(error) if error.contains(SECRET) => Some(format!("it tells what it may not: {error}")),
        _ => None,
    }
}
