//! Tells how a reader came to get an event again, to lose one, or to get a gap although nothing was lost.

use crate::{
    check::{Ledger, Publish, split},
    reader::{Got, Seen},
};

/// So many gaps and faults are told at most, the latest of each.
const MOST: usize = 12;

pub struct Repeat {
    /// The places in what the reader got.
    pub first: usize,
    pub again: usize,
    pub channel: usize,
}

impl Repeat {
    pub fn tell(&self, ledger: &Ledger, reader: &Seen) -> String {
        let between = &reader.got[self.first..=self.again];
        let (Got::Event { id: first, text }, Got::Event { id: again, .. }) = (&between[0], &between[between.len() - 1])
        else {
            unreachable!("only an event is repeated")
        };
        let gaps = between.iter().enumerate().filter_map(|(index, got)| match got {
            Got::Gap { id, reason, begun, node } => {
                let before = between[..index].iter().rev().find_map(Got::id).unwrap_or_default();
                Some((*begun, format!("{before} -> {id} {reason} on node {node} at {begun}")))
            }
            Got::Event { .. } | Got::Passed { .. } => None,
        });
        let gaps: Vec<_> = gaps.collect();
        let gaps = &gaps[gaps.len().saturating_sub(MOST)..];
        let upto = gaps.last().map_or(u64::MAX, |(begun, _)| *begun);
        let gaps: Vec<_> = gaps.iter().map(|(_, gap)| gap.as_str()).collect();
        format!(
            "\nrepeated: {text} of channel {} as {first} and {again} at {} of channels {:?}, {} events later; gaps between: {}; \
             faults before: {}",
            self.channel,
            reader.client,
            reader.channels,
            between.iter().filter(|got| matches!(got, Got::Event { .. })).count() - 1,
            gaps.join(", "),
            faults_before(ledger, upto),
        )
    }
}

/// Tells of a gap, which is at this place of what the reader got.
pub fn tell_gap(ledger: &Ledger, reader: &Seen, place: usize) -> String {
    let Got::Gap { id, reason, begun, node } = &reader.got[place] else { unreachable!("only a gap is a false alarm") };
    format!(
        "\nfalse alarm: {id} {reason} on node {node} at {begun}, to {} of channels {:?}; around it: {}; faults before: {}",
        reader.client,
        reader.channels,
        around(reader, place),
        faults_before(ledger, *begun),
    )
}

/// Tells of an event that a reader did not get.
pub fn tell_loss(ledger: &Ledger, reader: &Seen, lost: &Publish) -> String {
    let (epoch, offset) = split(&lost.id);
    // Where it would have come.
    let is_before = |got: &Got| got.id().map(split).is_some_and(|(of, at)| of == epoch && at < offset);
    let place = reader.got.iter().rposition(is_before).map_or(0, |place| place + 1);
    format!(
        "at {} of channels {:?}, with tries {} and number {}; around its place: {}; faults before: {}",
        reader.client,
        reader.channels,
        lost.tries,
        lost.number,
        around(reader, place),
        faults_before(ledger, lost.number),
    )
}

/// What a reader got before and after a place.
fn around(reader: &Seen, place: usize) -> String {
    let around = &reader.got[place.saturating_sub(MOST)..reader.got.len().min(place + MOST)];
    let around = around.iter().map(|got| match got {
        Got::Gap { id, reason, begun, node } => format!("{id} {reason} on node {node} at {begun}"),
        Got::Event { id, text } => format!("{id} {text}"),
        Got::Passed { text } => format!("passed {text}"),
    });
    around.collect::<Vec<_>>().join(", ")
}

/// The latest faults that began before so many publishes had.
fn faults_before(ledger: &Ledger, begun: u64) -> String {
    let faults: Vec<_> = ledger.faults.iter().filter(|fault| fault.begun.0 <= begun).collect();
    let faults = faults[faults.len().saturating_sub(MOST)..].iter();
    faults.map(|fault| format!("{} at {}..{}", fault.name, fault.begun.0, fault.begun.1)).collect::<Vec<_>>().join(", ")
}
