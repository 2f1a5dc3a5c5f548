//! Knows every acknowledged publish, and compares what the readers got with it.

use std::collections::{HashMap, HashSet};

use crate::{
    Settings,
    reader::{Got, Seen},
};

pub struct Publish {
    pub channel: usize,
    pub client: Option<String>,
    pub text: String,
    pub id: String,
}

#[derive(Default)]
pub struct Ledger {
    acknowledged: Vec<Publish>,
    retried: usize,
    /// How often each fault was injected.
    pub faults: HashMap<&'static str, usize>,
    /// How often Redis restarted without its data.
    pub losses: usize,
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    delivered: usize,
    expected: usize,
    excused: usize,
    gaps: HashMap<String, usize>,
    connections: usize,
    wrong: Wrong,
}

/// Each of these must be zero.
#[derive(Debug, Default, PartialEq)]
struct Wrong {
    lost: usize,
    /// Readers that never got the last event of each of their channels.
    stuck: usize,
    repeated: usize,
    reordered: usize,
    leaked: usize,
    /// Events that nobody published, or whose id is not the one that their publisher was told.
    foreign: usize,
    /// Gaps for another reason than lost data, and gaps beyond the number of losses.
    false_alarms: usize,
    /// Epochs beyond the number of losses.
    epochs: usize,
    /// Connections on which nothing arrived, not even a keep-alive.
    silences: usize,
}

impl Ledger {
    pub fn acknowledged(&mut self, publish: Publish, tries: usize) {
        self.acknowledged.push(publish);
        self.retried += usize::from(tries > 1);
    }

    pub fn check(&self, seen: &[Seen], settings: &Settings) {
        let count = self.count(seen);
        println!(
            "{} publishes acknowledged, {} of them after retries, to {} channels; {} readers; faults {:?}; {count:?}",
            self.acknowledged.len(),
            self.retried,
            settings.channels,
            seen.len(),
            self.faults,
        );
        assert_eq!(count.wrong, Wrong::default(), "seed {}", settings.seed);
    }

    fn count(&self, seen: &[Seen]) -> Count {
        let mut count = Count::default();
        let mut by_channel: HashMap<usize, Vec<&Publish>> = HashMap::new();
        for publish in &self.acknowledged {
            by_channel.entry(publish.channel).or_default().push(publish);
        }
        let to: HashMap<&str, &Publish> =
            self.acknowledged.iter().map(|publish| (&publish.text[..], publish)).collect();
        let mut epochs: HashSet<&str> = self.acknowledged.iter().map(|publish| split(&publish.id).0).collect();
        for reader in seen {
            check_one(reader, &by_channel, &to, &mut count);
            let gaps = reader.got.iter().filter(|got| matches!(got, Got::Gap { .. })).count();
            count.wrong.false_alarms += gaps.saturating_sub(self.losses);
            epochs.extend(reader.got.iter().map(|(Got::Event { id, .. } | Got::Gap { id, .. })| split(id).0));
        }
        // Nothing is evicted, and no reader is slow.
        let others = count.gaps.iter().filter(|(reason, _)| *reason != "other-epoch");
        count.wrong.false_alarms += others.map(|(_, n)| n).sum::<usize>();
        count.wrong.epochs = epochs.len().saturating_sub(self.losses + 1);
        count
    }
}

fn split(id: &str) -> (&str, u64) {
    let (epoch, offset) = id.split_once('-').unwrap();
    (epoch, offset.parse().unwrap())
}

fn check_one(
    reader: &Seen,
    by_channel: &HashMap<usize, Vec<&Publish>>,
    to: &HashMap<&str, &Publish>,
    count: &mut Count,
) {
    count.connections += reader.connections;
    count.wrong.silences += reader.silences;
    count.wrong.stuck += usize::from(reader.is_stuck);
    if reader.start.is_empty() {
        // It never connected, and so is stuck.
        return;
    }
    let (mut epoch, mut last) = split(&reader.start);
    // The epochs that a gap ended for it, and how far it had read in each.
    let mut over = HashMap::new();
    let mut got = HashSet::new();
    for item in &reader.got {
        match item {
            Got::Gap { id, reason } => {
                *count.gaps.entry(reason.clone()).or_default() += 1;
                let (new, offset) = split(id);
                if new != epoch {
                    over.insert(epoch, last);
                }
                (epoch, last) = (new, offset);
            }
            Got::Event { id, text } => {
                count.delivered += 1;
                let (of, offset) = split(id);
                // Another epoch without a gap is a silent loss.
                if of != epoch || offset <= last {
                    count.wrong.reordered += 1;
                    println!("reordered: {id} after {epoch}-{last} at {}", reader.client);
                }
                last = last.max(offset);
                count.wrong.repeated += usize::from(!got.insert((of, text.as_str())));
                let Some(publish) = to.get(&text[..]) else {
                    count.wrong.foreign += 1;
                    println!("foreign: {id} {text} at {}", reader.client);
                    continue;
                };
                let meant = publish.client.as_ref().is_none_or(|client| *client == reader.client);
                count.wrong.leaked += usize::from(!meant || !reader.channels.contains(&publish.channel));
                // A publish whose acknowledgement was lost with its epoch was repeated in the next one.
                if split(&publish.id).0 == of && publish.id != *id {
                    count.wrong.foreign += 1;
                    println!("foreign: {id} {text} at {}, which is {}", reader.client, publish.id);
                }
            }
        }
    }
    let (start_epoch, start) = split(&reader.start);
    for publish in reader.channels.iter().flat_map(|channel| by_channel.get(channel).into_iter().flatten()) {
        let (of, offset) = split(&publish.id);
        let meant = publish.client.as_ref().is_none_or(|client| *client == reader.client);
        // It knows nothing of an epoch that began and ended between two others, and in one that is over it would be
        // stuck.
        let known = of == epoch || over.contains_key(of);
        if !meant || !known || of == start_epoch && offset <= start {
            continue;
        }
        count.expected += 1;
        if !got.contains(&(of, publish.text.as_str())) {
            // The gap that ended the epoch covers events after the reader's position, and none before it.
            match over.get(of) {
                Some(reached) if offset > *reached => count.excused += 1,
                _ => {
                    count.wrong.lost += 1;
                    println!(
                        "lost: {} {} of {} at {}, from {}",
                        publish.id, publish.text, publish.channel, reader.client, reader.start
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "00000000000a";
    const NEW: &str = "00000000000b";

    fn ledger(publishes: &[(&str, u64, &str)], losses: usize) -> Ledger {
        let mut ledger = Ledger { losses, ..Ledger::default() };
        for (epoch, offset, text) in publishes {
            let client = text.strip_prefix("to ").map(str::to_string);
            let publish = Publish { channel: 0, client, text: text.to_string(), id: format!("{epoch}-{offset}") };
            ledger.acknowledged(publish, 1);
        }
        ledger
    }

    /// Checks a reader that began with the old epoch and got these events; one without text is a gap.
    fn wrong(ledger: &Ledger, came: &[(&str, u64, &str)]) -> Wrong {
        let got = came.iter().map(|(epoch, offset, text)| {
            let id = format!("{epoch}-{offset}");
            match *text {
                "" => Got::Gap { id, reason: "other-epoch".into() },
                text => Got::Event { id, text: text.into() },
            }
        });
        let seen = Seen {
            client: "ana".into(),
            channels: vec![0],
            start: format!("{OLD}-0"),
            got: got.collect(),
            connections: 1,
            silences: 0,
            is_stuck: false,
        };
        ledger.count(&[seen]).wrong
    }

    #[test]
    fn a_correct_history_passes() {
        let ledger = ledger(&[(OLD, 1, "1"), (OLD, 2, "to bo"), (OLD, 3, "3"), (NEW, 1, "4")], 1);
        assert_eq!(wrong(&ledger, &[(OLD, 1, "1"), (NEW, 0, ""), (NEW, 1, "4")]), Wrong::default());
    }

    #[test]
    fn a_loss_is_found_anywhere() {
        let lost = Wrong { lost: 1, ..Wrong::default() };
        let ledger = ledger(&[(OLD, 1, "1"), (OLD, 2, "2"), (OLD, 3, "3"), (NEW, 1, "4"), (NEW, 2, "5")], 1);
        let all = [(OLD, 1, "1"), (OLD, 2, "2"), (OLD, 3, "3"), (NEW, 0, ""), (NEW, 1, "4"), (NEW, 2, "5")];
        assert_eq!(wrong(&ledger, &all), Wrong::default());
        for index in [0, 1, 4, 5] {
            let mut some = all.to_vec();
            some.remove(index);
            assert_eq!(wrong(&ledger, &some), lost, "without the {index}th");
        }
        // The last event of an epoch that is over may be lost with it, but only a gap ends an epoch.
        assert_eq!(wrong(&ledger, &[all[0], all[1], all[3], all[4], all[5]]), Wrong::default());
        assert!(wrong(&ledger, &[all[0], all[1], all[2], all[4], all[5]]).reordered > 0);
    }

    #[test]
    fn repeated_invented_and_leaked_events_are_found() {
        let ledger = ledger(&[(OLD, 1, "1"), (OLD, 2, "to bo")], 0);
        let after = |came: &[_]| wrong(&ledger, &[&[(OLD, 1, "1")], came].concat());
        assert_eq!(after(&[(OLD, 2, "1")]), Wrong { repeated: 1, foreign: 1, ..Wrong::default() });
        assert_eq!(after(&[(OLD, 2, "2")]), Wrong { foreign: 1, ..Wrong::default() });
        assert_eq!(after(&[(OLD, 2, "to bo")]), Wrong { leaked: 1, ..Wrong::default() });
        assert_eq!(after(&[(NEW, 0, "")]), Wrong { false_alarms: 1, epochs: 1, ..Wrong::default() });
    }
}
