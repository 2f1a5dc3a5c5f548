//! Knows every acknowledged publish, and holds what the readers got against it.

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
    /// What was done to the cluster.
    pub faults: HashMap<&'static str, usize>,
    /// Redis came back without its data so often.
    pub losses: usize,
}

#[derive(Debug, Default)]
struct Count {
    delivered: usize,
    expected: usize,
    excused: usize,
    gaps: HashMap<String, usize>,
    connections: usize,
    silences: usize,
    /// Each must be none.
    lost: usize,
    repeated: usize,
    reordered: usize,
    leaked: usize,
}

impl Ledger {
    pub fn acknowledged(&mut self, publish: Publish, tries: usize) {
        self.acknowledged.push(publish);
        self.retried += usize::from(tries > 1);
    }

    pub fn check(&self, seen: &[Seen], settings: &Settings) {
        let mut count = Count::default();
        let mut by_channel: HashMap<usize, Vec<&Publish>> = HashMap::new();
        for publish in &self.acknowledged {
            by_channel.entry(publish.channel).or_default().push(publish);
        }
        let to: HashMap<&str, &Publish> =
            self.acknowledged.iter().map(|publish| (&publish.text[..], publish)).collect();
        for reader in seen {
            check_one(reader, &by_channel, &to, &mut count);
        }
        println!(
            "{} publishes acknowledged, {} of them after retries, to {} channels; {} readers; faults {:?}; {count:?}",
            self.acknowledged.len(),
            self.retried,
            settings.channels,
            seen.len(),
            self.faults,
        );
        let Count { lost, repeated, reordered, leaked, gaps, .. } = &count;
        assert_eq!((lost, repeated, reordered, leaked), (&0, &0, &0, &0), "seed {}", settings.seed);
        // Nothing but the loss of all data is a gap here: nothing is evicted, and nobody is slow.
        let false_alarms: usize = gaps.iter().filter(|(reason, _)| *reason != "other-epoch").map(|(_, n)| n).sum();
        assert_eq!(false_alarms, 0, "seed {}", settings.seed);
        assert!(self.losses > 0 || gaps.is_empty(), "seed {}", settings.seed);
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
    count.silences += reader.silences;
    let (mut epoch, mut last) = split(&reader.start);
    // The epochs that it was told are over.
    let mut over = HashSet::new();
    let mut got = HashSet::new();
    for item in &reader.got {
        match item {
            Got::Gap { id, reason } => {
                *count.gaps.entry(reason.clone()).or_default() += 1;
                let (new, offset) = split(id);
                if new != epoch {
                    over.insert(epoch);
                }
                (epoch, last) = (new, offset);
            }
            Got::Event { id, text } => {
                count.delivered += 1;
                let (of, offset) = split(id);
                // Another epoch without a gap is a loss that was not told.
                if of != epoch || offset <= last {
                    count.reordered += 1;
                    println!("reordered: {id} after {epoch}-{last} at {}", reader.client);
                }
                last = last.max(offset);
                count.repeated += usize::from(!got.insert((of, text.as_str())));
                if let Some(publish) = to.get(&text[..]) {
                    let meant = publish.client.as_ref().is_none_or(|client| *client == reader.client);
                    count.leaked += usize::from(!meant || !reader.channels.contains(&publish.channel));
                }
            }
        }
    }
    let (start_epoch, start) = split(&reader.start);
    for publish in reader.channels.iter().flat_map(|channel| by_channel.get(channel).into_iter().flatten()) {
        let (of, offset) = split(&publish.id);
        let meant = publish.client.as_ref().is_none_or(|client| *client == reader.client);
        let known = of == epoch || over.contains(of);
        if !meant || !known || of == start_epoch && offset <= start {
            continue;
        }
        count.expected += 1;
        if !got.contains(&(of, publish.text.as_str())) {
            // Told by the gap that ended the epoch.
            match over.contains(of) {
                true => count.excused += 1,
                false => {
                    count.lost += 1;
                    println!(
                        "lost: {} {} of {} at {}, from {}",
                        publish.id, publish.text, publish.channel, reader.client, reader.start
                    );
                }
            }
        }
    }
}
