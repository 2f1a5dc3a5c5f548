//! The runs whose producers are in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{
    active::{Active, Why},
    control::Control,
    error::{Kind, RunError},
    late::Digests,
    names,
};
use crate::{
    publisher::Publisher,
    random,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
    wire::name::ChannelName,
};

/// What all clones of a [`Runs`](super::Runs) share.
pub(super) struct Local {
    pub(super) publisher: Publisher,
    /// The number of this node, another one in every process.
    pub(super) number: u64,
    /// For how many milliseconds a run is held after its end.
    keep: Arc<AtomicU64>,
    runs: Mutex<HashMap<ChannelName, Arc<Active>>>,
    /// How many there are.
    count: watch::Sender<usize>,
    draining: AtomicBool,
    pub(super) control: Control,
    /// What is merged for readers that come late.
    pub(super) digests: Digests,
}

impl Local {
    pub(super) fn new(publisher: Publisher) -> Self {
        let keep = Arc::new(AtomicU64::new(600_000));
        let millis = keep.clone();
        publisher.adjust(move |channel, set| {
            names::retention(channel, set, Duration::from_millis(millis.load(Ordering::Acquire)))
        });
        Self {
            keep,
            publisher,
            number: random::bits(),
            runs: Mutex::default(),
            count: watch::Sender::new(0),
            draining: AtomicBool::new(false),
            control: Control::default(),
            digests: Digests::default(),
        }
    }

    pub(super) fn set_keep(&self, keep: Duration) {
        self.keep.store(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Takes a place for a run.
    pub(super) fn add(&self, run: &Arc<Active>, max: usize) -> Result<(), RunError> {
        let mut runs = lock(&self.runs);
        // Under the lock: a run that is added before the drain looks is drained.
        if self.draining.load(Ordering::Acquire) {
            return Err(Kind::Draining.into());
        }
        if runs.len() >= max {
            return Err(Kind::TooManyRuns.into());
        }
        match runs.entry(run.name.clone()) {
            Entry::Occupied(_) => return Err(Kind::Started.into()),
            Entry::Vacant(place) => _ = place.insert(run.clone()),
        }
        let _ = self.count.send_replace(runs.len());
        Ok(())
    }

    pub(super) fn remove(&self, run: &Arc<Active>) {
        let mut runs = lock(&self.runs);
        if runs.get(&run.name).is_some_and(|found| Arc::ptr_eq(found, run)) {
            runs.remove(&run.name);
        }
        let _ = self.count.send_replace(runs.len());
    }

    pub(super) fn get(&self, run: &ChannelName) -> Option<Arc<Active>> {
        lock(&self.runs).get(run).cloned()
    }

    pub(super) fn len(&self) -> usize {
        *self.count.borrow()
    }

    /// How many there are, and whenever that changes.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Refuses new runs, waits for the others to end, and then ends them. Returns how many those were.
    pub(super) async fn drain(&self, grace: Duration, why: Why) -> usize {
        {
            let _runs = lock(&self.runs);
            self.draining.store(true, Ordering::Release);
            self.publisher.begin_draining();
        }
        let mut count = self.count.subscribe();
        if timeout(grace, count.wait_for(|count| *count == 0)).await.is_ok() {
            return 0;
        }
        let left: Vec<_> = lock(&self.runs).values().cloned().collect();
        left.iter().for_each(|run| run.ask(why));
        // Their outcomes are written as soon as the store answers, but not for ever.
        let _ = timeout(WRITING, count.wait_for(|count| *count == 0)).await;
        left.len()
    }
}

/// How long a drain waits for the outcomes to be written.
const WRITING: Duration = Duration::from_secs(5);
