//! Who is alive: what a node knows of other nodes whose runs are read or waited for here. It is pure state, and takes the
//! time as an argument.
//!
//! A node with runs says so three times in a lease. A node of which nothing was heard for a lease is suspected, and probed:
//! this node says something itself, and waits until that comes back. What comes back has gone the way that a sign of life
//! goes, and in the same order. If two probes, a second apart, come back without a sign of life between, the node is lost.
//! If a probe comes back late or not at all, then it is this node or the store that was away, and everybody gets a new lease.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::wire::name::ChannelName;

/// What is known of the other nodes.
#[derive(Default)]
pub(super) struct Peers {
    peers: HashMap<u64, Peer>,
    stage: Stage,
}

struct Peer {
    heard: Instant,
    runs: HashMap<ChannelName, Watched>,
}

/// A run that somebody here reads or waits for.
struct Watched {
    fence: u64,
    watchers: usize,
}

#[derive(Default)]
enum Stage {
    /// Nobody is suspected, or nobody was probed yet.
    #[default]
    Calm,
    /// A probe is on its way.
    Probed { nonce: u64, at: Instant, first: Instant, confirms: bool, late: bool },
    /// The first one has come back. The next one is due at this time.
    Confirm { at: Instant, first: Instant },
}

/// How long a probe may take, and how long after the first one the second is sent.
const PAUSE: Duration = Duration::from_secs(1);

impl Peers {
    /// Begins to watch a run of a node.
    pub(super) fn watch(&mut self, node: u64, run: &ChannelName, fence: u64, now: Instant) {
        let peer = self.peers.entry(node).or_insert_with(|| Peer { heard: now, runs: HashMap::new() });
        peer.runs.entry(run.clone()).or_insert(Watched { fence, watchers: 0 }).watchers += 1;
    }

    pub(super) fn unwatch(&mut self, node: u64, run: &ChannelName) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(watched) = peer.runs.get_mut(run) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                peer.runs.remove(run);
            }
        }
        if peer.runs.is_empty() {
            self.peers.remove(&node);
        }
        if self.peers.is_empty() {
            self.stage = Stage::Calm;
        }
    }

    pub(super) fn heard(&mut self, node: u64, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.heard = now;
        }
    }

    /// Everybody gets a new lease, since something may have been missed.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.peers.values_mut().for_each(|peer| peer.heard = now);
        self.stage = Stage::Calm;
    }

    /// When there is something to do next.
    pub(super) fn due(&self, lease: Duration) -> Option<Instant> {
        match self.stage {
            Stage::Calm => self.peers.values().map(|peer| peer.heard + lease).min(),
            Stage::Probed { at, .. } => Some(at + PAUSE),
            Stage::Confirm { at, .. } => Some(at),
        }
    }

    /// Returns whether a probe with this number is to be sent.
    pub(super) fn probe(&mut self, nonce: u64, lease: Duration, now: Instant) -> bool {
        if self.due(lease).is_none_or(|due| due > now) {
            return false;
        }
        self.stage = match self.stage {
            Stage::Calm => Stage::Probed { nonce, at: now, first: now, confirms: false, late: false },
            Stage::Confirm { first, .. } => Stage::Probed { nonce, at: now, first, confirms: true, late: false },
            Stage::Probed { first, .. } => Stage::Probed { nonce, at: now, first, confirms: false, late: true },
        };
        true
    }

    /// A probe has come back. Returns the runs that are lost, with their fences.
    pub(super) fn echo(&mut self, nonce: u64, lease: Duration, now: Instant) -> Vec<(ChannelName, u64)> {
        match self.stage {
            Stage::Probed { nonce: sent, late: true, .. } if sent == nonce => self.forgive(now),
            Stage::Probed { nonce: sent, first, confirms: false, .. } if sent == nonce => {
                self.stage = Stage::Confirm { at: now + PAUSE, first };
            }
            Stage::Probed { nonce: sent, first, confirms: true, .. } if sent == nonce => {
                self.stage = Stage::Calm;
                return self.lost(first, lease);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Forgets the nodes that were silent for a lease at this time, and since.
    fn lost(&mut self, at: Instant, lease: Duration) -> Vec<(ChannelName, u64)> {
        let lost = self.peers.extract_if(|_, peer| peer.heard + lease <= at);
        lost.flat_map(|(_, peer)| peer.runs).map(|(run, watched)| (run, watched.fence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const RUN: ChannelName = ChannelName::from_static("run/1");

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watching() -> (Peers, Instant) {
        let (mut peers, now) = (Peers::default(), Instant::now());
        peers.watch(7, &RUN, 1, now);
        (peers, now)
    }

    #[test]
    fn a_node_that_is_silent_for_a_lease_is_lost_after_two_probes() {
        let (mut peers, begin) = watching();
        peers.heard(7, begin + seconds(2));
        assert_eq!(peers.due(LEASE), Some(begin + seconds(12)));
        assert!(!peers.probe(1, LEASE, begin + seconds(11)));
        assert!(peers.probe(1, LEASE, begin + seconds(12)));
        assert_eq!(peers.echo(1, LEASE, begin + seconds(12)), []);
        assert!(peers.probe(2, LEASE, begin + seconds(13)));
        assert_eq!(peers.echo(2, LEASE, begin + seconds(13)), [(RUN, 1)]);
        assert_eq!(peers.due(LEASE), None);
    }

    #[test]
    fn a_node_that_is_heard_between_the_probes_is_alive() {
        let (mut peers, begin) = watching();
        assert!(peers.probe(1, LEASE, begin + seconds(10)));
        assert_eq!(peers.echo(1, LEASE, begin + seconds(10)), []);
        peers.heard(7, begin + seconds(10));
        assert!(peers.probe(2, LEASE, begin + seconds(11)));
        assert_eq!(peers.echo(2, LEASE, begin + seconds(11)), []);
        assert_eq!(peers.due(LEASE), Some(begin + seconds(20)));
    }

    #[test]
    fn nobody_is_lost_while_the_store_does_not_answer_or_right_after() {
        let (mut peers, begin) = watching();
        for n in 0..60 {
            assert!(peers.probe(n, LEASE, begin + seconds(10 + n)));
        }
        assert_eq!(peers.echo(7, LEASE, begin + seconds(70)), []);
        assert_eq!(peers.echo(59, LEASE, begin + seconds(70)), []);
        assert_eq!(peers.due(LEASE), Some(begin + seconds(80)));
    }

    #[test]
    fn a_run_is_watched_until_its_last_watcher_leaves() {
        let (mut peers, begin) = watching();
        peers.watch(7, &RUN, 1, begin);
        peers.unwatch(7, &RUN);
        assert!(peers.due(LEASE).is_some());
        peers.unwatch(7, &RUN);
        assert_eq!(peers.due(LEASE), None);
    }
}
