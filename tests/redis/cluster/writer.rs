//! Writers that compete for channels of their own: some replace each other with higher fences, some write only after the last event
//! that they know of. Nothing of an old writer may come after the first event of a newer one, and no two events may follow the same
//! one.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Cluster, publisher::repeat};

const CHANNELS: usize = 2;
const EACH: usize = 3;

/// What was acknowledged.
#[derive(Default)]
pub struct Written {
    /// Of each channel, the ids of events and the fences that they had.
    fenced: Vec<(usize, String, u64)>,
    /// Of each channel, the event that was expected to be the last, and the one that came after it.
    after: Vec<(usize, String, String)>,
    refused: usize,
}

/// Starts the writers; each returns what it wrote.
pub fn start(cluster: &Arc<Cluster>) -> Vec<tokio::task::JoinHandle<Written>> {
    let fences = Arc::new(AtomicU64::new(0));
    let writers = (0..CHANNELS * EACH).flat_map(|n| {
        let (fenced, conditional) = (with_fence(cluster.clone(), n, fences.clone()), conditionally(cluster.clone(), n));
        [tokio::spawn(fenced), tokio::spawn(conditional)]
    });
    writers.collect()
}

async fn with_fence(cluster: Arc<Cluster>, number: usize, fences: Arc<AtomicU64>) -> Written {
    let mut random = cluster.settings.random(3_000 + number as u64);
    let (channel, mut fence, mut written) = (number % CHANNELS, 0, Written::default());
    for n in 0.. {
        if cluster.is_over() {
            break;
        }
        if fence == 0 || random.below(20) == 0 {
            fence = fences.fetch_add(1, Ordering::SeqCst) + 1;
        }
        let uri = format!("/publish?channel=fenced{channel}&fence={fence}");
        match repeat(&cluster, &mut random, &uri, &format!("fenced:{number}:{n}")).await {
            Ok((id, _)) => written.fenced.push((channel, id, fence)),
            Err(_) => {
                written.refused += 1;
                fence = 0;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
    written
}

async fn conditionally(cluster: Arc<Cluster>, number: usize) -> Written {
    let mut random = cluster.settings.random(4_000 + number as u64);
    let (channel, mut last, mut written) = (number % CHANNELS, "none".to_string(), Written::default());
    for n in 0.. {
        if cluster.is_over() {
            break;
        }
        let uri = format!("/publish?channel=after{channel}&after={last}");
        match repeat(&cluster, &mut random, &uri, &format!("after:{number}:{n}")).await {
            Ok((id, _)) => {
                written.after.push((channel, last, id.clone()));
                last = id;
            }
            Err(other) => {
                written.refused += 1;
                last = other;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
    written
}

/// Checks what all of them wrote. Where Redis evicts keys, it may forget a fence or the last event at any time.
pub fn check(all: Vec<Written>, evicts: bool) {
    let refused: usize = all.iter().map(|written| written.refused).sum();
    let (fenced, after): (Vec<_>, Vec<_>) = all.into_iter().map(|written| (written.fenced, written.after)).unzip();
    let (fenced, after) = (fenced.concat(), after.concat());
    println!("{} events with a fence, {} after an expected one, {refused} refused", fenced.len(), after.len());
    if evicts {
        return;
    }
    assert_eq!((late(&fenced), twice(&after)), (0, 0), "written though an old writer, or after the same event");
}

/// How many events of old writers came after one of a newer writer, in the same epoch.
fn late(fenced: &[(usize, String, u64)]) -> usize {
    let mut by_channel: HashMap<(usize, &str), Vec<(u64, u64)>> = HashMap::new();
    for (channel, id, fence) in fenced {
        let (epoch, offset) = id.split_once('-').unwrap();
        by_channel.entry((*channel, epoch)).or_default().push((offset.parse().unwrap(), *fence));
    }
    let late = by_channel.values_mut().map(|events| {
        events.sort_unstable();
        events.windows(2).filter(|two| two[0].1 > two[1].1).count()
    });
    late.sum()
}

/// How many events came after an event that another one came after, too, or after one that is not before them.
fn twice(after: &[(usize, String, String)]) -> usize {
    let mut seen = HashSet::new();
    let is_wrong = |(channel, last, id): &&(usize, String, String)| {
        // Nothing is before the first event of a store, of which there may be several.
        if last == "none" {
            return false;
        }
        let ((of, last_offset), (epoch, offset)) = (last.split_once('-').unwrap(), id.split_once('-').unwrap());
        let is_before = of == epoch && last_offset.parse::<u64>().unwrap() < offset.parse().unwrap();
        !is_before || !seen.insert((*channel, last.clone()))
    };
    after.iter().filter(is_wrong).count()
}

#[test]
fn a_late_writer_and_two_after_the_same_event_are_found() {
    let fenced = |fences: &[u64]| -> Vec<_> {
        fences.iter().enumerate().map(|(n, fence)| (0, format!("00000000000a-{n}"), *fence)).collect()
    };
    assert_eq!((late(&fenced(&[1, 1, 2, 5])), late(&fenced(&[1, 2, 1, 5]))), (0, 1));
    let after = |last: &str, id: &str| (0, last.to_string(), id.to_string());
    let first = after("none", "00000000000a-1");
    let second = after("00000000000a-1", "00000000000a-2");
    assert_eq!(twice(&[first.clone(), second.clone(), after("00000000000a-2", "00000000000a-5")]), 0);
    assert_eq!(twice(&[first, second, after("00000000000a-1", "00000000000a-3")]), 1);
}
