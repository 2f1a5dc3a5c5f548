//! Results as Markdown tables.

use std::fmt::Write as _;

use super::{Cell, Results};
use crate::{
    scenario::{Metric, SCENARIOS, Scenario},
    server::Kind,
};

/// All tables: the medians, and the ratios with their spread.
pub fn tables(results: &Results) -> String {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| has(results, *kind)).collect();
    let mut out = String::new();
    // Here and below: writing to a `String` does not fail.
    let _ = writeln!(out, "{}; medians of {} rounds.\n", results.machine, results.rounds);
    if results.disturbed > 0 {
        let _ = writeln!(out, "Other processes worked during {} of {} samples.\n", results.disturbed, results.samples);
    }
    medians(&mut out, results, &kinds);
    for to in [Kind::AxumBroadcast, Kind::TowerSseHyper, Kind::RawEpoll] {
        ratios(&mut out, results, &kinds, to);
    }
    match results.faults.is_empty() {
        true => out.push_str("No event was lost, repeated, out of order or given to another reader.\n\n"),
        false => {
            out.push_str("Events lost, repeated, out of order or given to another reader, or readers refused:\n\n")
        }
    }
    for (scenario, servers) in &results.faults {
        let _ = writeln!(out, "- {scenario}: {servers:?}");
    }
    for failure in &results.failures {
        let _ = writeln!(out, "- not measured: {failure}");
    }
    out.push_str(NOT_COMPARABLE);
    out
}

/// What the numbers do not show.
const NOT_COMPARABLE: &str = "
What can't be compared:

- `raw-epoll` is a limit and not a server: it checks no request, grants nothing, reports no gap, keeps no order between a
  connection's channels, and its publisher is the thread that writes.
- `axum-broadcast` reaches one client only through every reader's filter; `axum-queue` reaches it directly.
- The axum servers promise no order between several channels of one connection; `tower-sse` does.
- `axum-queue` disconnects a reader whose queue is full; `axum-broadcast` and `tower-sse` send it a gap.
- An event's id is a number of up to 8 digits, except in `tower-sse`, where it has 13 bytes more.
- If one event is in flight at a time, waking the server, reading the command and going back to sleep is counted as well.
- All servers run on one thread.
";

fn has(results: &Results, kind: Kind) -> bool {
    lines().any(|(scenario, metric)| results.cell(scenario, metric, kind).is_some())
}

fn lines() -> impl Iterator<Item = (&'static Scenario, Metric)> {
    SCENARIOS.iter().flat_map(|scenario| scenario.metrics.iter().map(move |metric| (scenario, *metric)))
}

fn medians(out: &mut String, results: &Results, kinds: &[Kind]) {
    head(out, "| scenario | measure |", kinds);
    for (scenario, metric) in lines() {
        let cells: Vec<_> = kinds.iter().map(|kind| results.cell(scenario, metric, *kind)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.iter().map(|cell| cell.map_or(String::new(), |cell| number(cell.median)));
            row(out, &format!("{} | {}", scenario.title, metric.unit()), cells);
        }
    }
    out.push('\n');
}

fn ratios(out: &mut String, results: &Results, kinds: &[Kind], to: Kind) {
    let others: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != to).collect();
    let mut rows = String::new();
    // The limit's part outside the kernel, and its memory per connection, are too small for a ratio.
    let means =
        |metric| to != Kind::RawEpoll || !matches!(metric, Metric::UserPerDelivery | Metric::BytesPerConnection);
    for (scenario, metric) in lines().filter(|(_, metric)| means(*metric)) {
        let cells: Vec<_> = others.iter().map(|kind| results.ratio(scenario, metric, *kind, to)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.iter().map(|cell| cell.map_or(String::new(), spread));
            row(&mut rows, &format!("{} | {}", scenario.title, metric.unit()), cells);
        }
    }
    if !rows.is_empty() {
        let _ = writeln!(out, "As a ratio to `{}`: median (least to most of the rounds).\n", to.name());
        head(out, "| scenario | measure |", &others);
        out.push_str(&rows);
        out.push('\n');
    }
}

fn head(out: &mut String, first: &str, kinds: &[Kind]) {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let _ = writeln!(out, "{first} {} |", names.join(" | "));
    let _ = writeln!(out, "| --- | --- |{}", " ---: |".repeat(kinds.len()));
}

fn row(out: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(out, "| {first} | {} |", cells.join(" | "));
}

fn spread(cell: Cell) -> String {
    format!("{} ({} to {})", ratio(cell.median), ratio(cell.min), ratio(cell.max))
}

fn ratio(value: f64) -> String {
    if value < 0.05 { format!("{value:.4}") } else { format!("{value:.2}") }
}

/// Three significant digits, or all digits before the decimal point.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{},{:03}", (value / 1e3) as u64, value as u64 % 1_000),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}
