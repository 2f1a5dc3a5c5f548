//! Knows every acknowledged publish, and compares what the readers got with it.

use std::collections::{HashMap, HashSet};

use crate::{
    Settings,
    reader::{Got, Seen},
    repeat::{Repeat, tell_gap, tell_loss},
};

pub struct Publish {
    pub channel: usize,
    pub client: Option<String>,
    /// Whom it excludes.
    pub except: Option<String>,
    pub text: String,
    pub id: String,
    /// How many events had begun to be published by then, with this one.
    pub number: u64,
    pub tries: usize,
}

impl Publish {
    fn is_for(&self, client: &str) -> bool {
        is_for(self.client.as_deref(), self.except.as_deref(), client)
    }
}

/// An ephemeral event.
pub struct Passed {
    pub channel: usize,
    pub client: Option<String>,
    pub except: Option<String>,
}

fn is_for(to: Option<&str>, except: Option<&str>, client: &str) -> bool {
    to.is_none_or(|to| to == client) && except != Some(client)
}

/// At most so many readers' first repeats are told, and so many false alarms.
const TOLD: usize = 16;

#[derive(Default)]
pub struct Ledger {
    pub acknowledged: Vec<Publish>,
    /// The ephemeral events, by their text.
    pub passed: HashMap<String, Passed>,
    pub begun: u64,
    /// How many publishes were of several events, and how many of all were not acknowledged as one.
    pub batches: usize,
    pub torn: usize,
    pub faults: Vec<Injected>,
    /// How often Redis restarted without its data, or a replica took over without the last of it.
    pub losses: usize,
    /// Whether Redis evicted keys. Then any event may be lost at any time, as long as a gap tells it.
    pub evicts: bool,
    /// How many keys it evicted, of the hub and others.
    pub evicted: u64,
}

/// A fault that was injected.
pub struct Injected {
    pub name: &'static str,
    /// How many publishes had begun before it, and when it was over.
    pub begun: (u64, u64),
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    delivered: usize,
    /// Ephemeral events that arrived.
    passed: usize,
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
    pub fn check(&self, seen: &[Seen], settings: &Settings) {
        let (count, told) = self.count(seen);
        let mut faults: HashMap<&str, usize> = HashMap::new();
        for fault in &self.faults {
            *faults.entry(fault.name).or_default() += 1;
        }
        println!(
            "{} events acknowledged, {} of them after retries, in {} batches and alone, to {} channels; {} readers; {} keys evicted; faults {:?}; {count:?}",
            self.acknowledged.len(),
            self.acknowledged.iter().filter(|publish| publish.tries > 1).count(),
            self.batches,
            settings.channels,
            seen.len(),
            self.evicted,
            faults,
        );
        let wrong = (count.wrong, self.torn);
        assert_eq!(wrong, (Wrong::default(), 0), "seed {}{}", settings.seed, told.concat());
    }

    /// Returns with the count the first repeats of some readers and some false alarms, each told in a line.
    fn count(&self, seen: &[Seen]) -> (Count, Vec<String>) {
        let mut count = Count::default();
        let (mut told, mut alarms) = (Vec::new(), Vec::new());
        let mut by_channel: HashMap<usize, Vec<&Publish>> = HashMap::new();
        for publish in &self.acknowledged {
            by_channel.entry(publish.channel).or_default().push(publish);
        }
        let to: HashMap<&str, &Publish> =
            self.acknowledged.iter().map(|publish| (&publish.text[..], publish)).collect();
        let mut epochs: HashSet<&str> = self.acknowledged.iter().map(|publish| split(&publish.id).0).collect();
        for reader in seen {
            let repeat = check_one(self, reader, &by_channel, &to, &mut count);
            told.extend(repeat.filter(|_| told.len() < TOLD).map(|repeat| repeat.tell(self, reader)));
            alarms.extend(self.false_alarms(reader).into_iter().map(|place| (reader, place)));
            epochs.extend(reader.got.iter().filter_map(Got::id).map(|id| split(id).0));
        }
        // If Redis evicts keys, it does not say which: there may be a gap for each key, and an epoch each time that the hub's own goes.
        if !self.evicts {
            count.wrong.false_alarms = alarms.len();
            count.wrong.epochs = epochs.len().saturating_sub(self.losses + 1);
            told.extend(alarms.into_iter().take(TOLD).map(|(reader, place)| tell_gap(self, reader, place)));
        }
        (count, told)
    }

    /// The places of the gaps that have another reason than lost data, and of those beyond the number of losses. Nothing is
    /// evicted, and no reader is slow.
    fn false_alarms(&self, reader: &Seen) -> Vec<usize> {
        let mut lost = 0;
        let is_false = |got: &Got| match got {
            Got::Gap { reason, .. } if reason == "other-epoch" => {
                lost += 1;
                lost > self.losses
            }
            Got::Gap { .. } => true,
            Got::Event { .. } | Got::Passed { .. } => false,
        };
        reader.got.iter().map(is_false).enumerate().filter_map(|(place, is_false)| is_false.then_some(place)).collect()
    }
}

impl Got {
    pub fn id(&self) -> Option<&str> {
        match self {
            Got::Event { id, .. } | Got::Gap { id, .. } => Some(id),
            Got::Passed { .. } => None,
        }
    }
}

pub fn split(id: &str) -> (&str, u64) {
    let (epoch, offset) = id.split_once('-').unwrap();
    (epoch, offset.parse().unwrap())
}

/// What gaps told a reader that it may lack.
#[derive(Default)]
struct Told<'a>(Vec<Loss<'a>>);

/// What is after this offset, if its publish began before that one.
struct Loss<'a> {
    epoch: &'a str,
    after: u64,
    before: u64,
}

impl<'a> Told<'a> {
    /// Takes note of a gap between two positions, which came when so many publishes had begun.
    fn gap(&mut self, (epoch, last): (&'a str, u64), new: &'a str, begun: u64, evicts: bool) {
        if new != epoch {
            self.0.push(Loss { epoch, after: last, before: u64::MAX });
        }
        if evicts {
            // One gap tells of all channels. What is still held of one may be older than what is gone of another.
            self.0.push(Loss { epoch: new, after: if new == epoch { last } else { 0 }, before: begun + 1 });
        }
    }

    fn excuses(&self, publish: &Publish) -> bool {
        let (of, offset) = split(&publish.id);
        self.0.iter().any(|loss| loss.epoch == of && offset > loss.after && publish.number < loss.before)
    }
}

/// Checks a reader, and returns the first event that it got again.
fn check_one(
    ledger: &Ledger,
    reader: &Seen,
    by_channel: &HashMap<usize, Vec<&Publish>>,
    to: &HashMap<&str, &Publish>,
    count: &mut Count,
) -> Option<Repeat> {
    count.connections += reader.connections;
    count.wrong.silences += reader.silences;
    count.wrong.stuck += usize::from(reader.is_stuck);
    if reader.start.is_empty() {
        // It never connected, and so is stuck.
        return None;
    }
    let (mut epoch, mut last) = split(&reader.start);
    let mut known = HashSet::from([epoch]);
    let mut told = Told::default();
    // What it got, and at which place of what came that was first.
    let mut got = HashMap::new();
    let mut repeat = None;
    for (index, item) in reader.got.iter().enumerate() {
        match item {
            Got::Gap { id, reason, begun, .. } => {
                *count.gaps.entry(reason.clone()).or_default() += 1;
                let (new, offset) = split(id);
                told.gap((epoch, last), new, *begun, ledger.evicts);
                // It goes on from there, and never from before.
                if new == epoch && offset < last {
                    count.wrong.reordered += 1;
                    println!("back: a gap to {id} after {epoch}-{last} at {}", reader.client);
                }
                (epoch, last) = (new, offset);
                known.insert(epoch);
            }
            Got::Passed { text } => {
                count.passed += 1;
                let Some(passed) = ledger.passed.get(text) else {
                    count.wrong.foreign += 1;
                    continue;
                };
                let meant = is_for(passed.client.as_deref(), passed.except.as_deref(), &reader.client);
                count.wrong.leaked += usize::from(!meant || !reader.channels.contains(&passed.channel));
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
                let first = *got.entry((of, text.as_str())).or_insert(index);
                let Some(publish) = to.get(&text[..]) else {
                    count.wrong.foreign += 1;
                    println!("foreign: {id} {text} at {}", reader.client);
                    continue;
                };
                // What is known of the first try may be evicted, and then the second one is another event.
                let is_twice = ledger.evicts && publish.tries > 1;
                if first < index && !is_twice {
                    count.wrong.repeated += 1;
                    repeat.get_or_insert(Repeat { first, again: index, channel: publish.channel });
                }
                let meant = publish.is_for(&reader.client);
                count.wrong.leaked += usize::from(!meant || !reader.channels.contains(&publish.channel));
                // A publish whose acknowledgement was lost with its epoch was repeated in the next one.
                if split(&publish.id).0 == of && publish.id != *id && !is_twice {
                    count.wrong.foreign += 1;
                    println!("foreign: {id} {text} at {}, which is {}", reader.client, publish.id);
                }
            }
        }
    }
    let (start_epoch, start) = split(&reader.start);
    let mut lost = None;
    for publish in reader.channels.iter().flat_map(|channel| by_channel.get(channel).into_iter().flatten()) {
        let (of, offset) = split(&publish.id);
        let meant = publish.is_for(&reader.client);
        // It knows nothing of an epoch that began and ended between two others.
        if !meant || !known.contains(of) || of == start_epoch && offset <= start {
            continue;
        }
        count.expected += 1;
        if got.contains_key(&(of, publish.text.as_str())) {
            continue;
        }
        if told.excuses(publish) {
            count.excused += 1;
        } else {
            count.wrong.lost += 1;
            println!(
                "lost: {} {} of {} at {}, from {}",
                publish.id, publish.text, publish.channel, reader.client, reader.start
            );
            lost.get_or_insert(publish);
        }
    }
    lost.into_iter().for_each(|publish| println!("{}", tell_loss(ledger, reader, publish)));
    repeat
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
            let id = format!("{epoch}-{offset}");
            ledger.acknowledged.push(Publish {
                channel: 0,
                client,
                except: None,
                text: text.to_string(),
                id,
                number: *offset,
                tries: 1,
            });
        }
        ledger
    }

    /// Checks a reader that began with the old epoch and got these events; one without text, or with `evicted`, is a gap
    /// that came when all up to its offset was published.
    fn wrong(ledger: &Ledger, came: &[(&str, u64, &str)]) -> Wrong {
        let got = came.iter().map(|(epoch, offset, text)| {
            let id = format!("{epoch}-{offset}");
            match *text {
                "" => Got::Gap { id, reason: "other-epoch".into(), begun: *offset, node: 0 },
                "evicted" => Got::Gap { id, reason: "evicted".into(), begun: *offset, node: 0 },
                "evicted beyond" => Got::Gap { id, reason: "evicted".into(), begun: *offset + 1, node: 0 },
                text if text.contains("for ") => Got::Passed { text: text.into() },
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
        ledger.count(&[seen]).0.wrong
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

    #[test]
    fn what_reaches_a_reader_that_it_is_not_for_is_found() {
        let mut ledger = ledger(&[(OLD, 1, "1"), (OLD, 2, "2")], 0);
        ledger.acknowledged[1].except = Some("ana".into());
        assert_eq!(wrong(&ledger, &[(OLD, 1, "1")]), Wrong::default());
        assert_eq!(wrong(&ledger, &[(OLD, 1, "1"), (OLD, 2, "2")]), Wrong { leaked: 1, ..Wrong::default() });
        for (passed, leaked) in [("for bo", 1), ("for ana", 0), ("not for ana", 1)] {
            let (client, except) = match passed.strip_prefix("not for ") {
                Some(except) => (None, Some(except.to_string())),
                None => (passed.strip_prefix("for ").map(str::to_string), None),
            };
            ledger.passed.insert(passed.into(), Passed { channel: 0, client, except });
            let came = [(OLD, 1, "1"), (OLD, 1, passed)];
            assert_eq!(wrong(&ledger, &came), Wrong { leaked, ..Wrong::default() }, "{passed}");
        }
        let came = [(OLD, 1, "1"), (OLD, 1, "for nobody")];
        assert_eq!(wrong(&ledger, &came), Wrong { foreign: 1, ..Wrong::default() });
    }

    #[test]
    fn what_is_evicted_is_excused_by_a_gap_that_covers_it_and_by_nothing_else() {
        let all = [(OLD, 1, "1"), (OLD, 2, "2"), (OLD, 3, "3"), (OLD, 4, "4")];
        let mut ledger = Ledger { evicts: true, ..ledger(&all, 0) };
        let lost = |lost| Wrong { lost, ..Wrong::default() };
        assert_eq!(wrong(&ledger, &[all[0], (OLD, 3, "evicted"), all[3]]), lost(0));
        assert_eq!(wrong(&ledger, &[all[0], (OLD, 2, "evicted"), all[3]]), lost(1), "one after it");
        assert_eq!(wrong(&ledger, &[all[1], (OLD, 3, "evicted"), all[3]]), lost(1), "one before it");
        assert_eq!(wrong(&ledger, &[all[0], all[3]]), lost(2), "silence");
        assert_eq!(wrong(&ledger, &[all[0], (OLD, 4, "evicted")]), lost(0));
        assert_eq!(
            wrong(&ledger, &[all[0], (OLD, 1, "evicted beyond"), all[2], all[3]]),
            lost(0),
            "published before it"
        );
        // Nothing is given again.
        for again in
            [&[all[0], all[1], (OLD, 1, "evicted"), all[2], all[3]][..], &[all[0], all[0], all[1], all[2], all[3]]]
        {
            assert!(wrong(&ledger, again).reordered > 0);
        }
        let twice = [all[0], all[1], all[2], all[3], (OLD, 5, "4")];
        assert_eq!(wrong(&ledger, &twice), Wrong { repeated: 1, foreign: 1, ..Wrong::default() });
        ledger.acknowledged[3].tries = 2;
        assert_eq!(wrong(&ledger, &twice), Wrong::default(), "two publishes, as its key was evicted");
        // Where Redis is not to evict anything, a gap says that it has.
        let told = Ledger { evicts: false, ..ledger };
        assert_eq!(wrong(&told, &[all[0], (OLD, 3, "evicted"), all[3]]).false_alarms, 1);
    }

    #[test]
    fn a_loss_that_a_new_epoch_tells_is_excused_from_the_readers_position_on_alone() {
        let ledger = ledger(&[(OLD, 1, "1"), (OLD, 2, "2"), (OLD, 3, "3"), (NEW, 5, "4"), (NEW, 6, "5")], 1);
        let after = [(NEW, 4, ""), (NEW, 5, "4"), (NEW, 6, "5")];
        assert_eq!(wrong(&ledger, &[&[(OLD, 1, "1")], &after[..]].concat()), Wrong::default());
        let lost = Wrong { lost: 1, ..Wrong::default() };
        assert_eq!(wrong(&ledger, &[&[(OLD, 2, "2")], &after[..]].concat()), lost);
        assert_eq!(wrong(&ledger, &[(OLD, 1, "1"), after[0], after[2]]), lost);
        // An offset of the former epoch that is given again.
        assert!(
            wrong(&ledger, &[(OLD, 1, "1"), (OLD, 2, "4")]).foreign
                + wrong(&ledger, &[(OLD, 1, "1"), (OLD, 1, "2")]).reordered
                > 0
        );
    }
}
