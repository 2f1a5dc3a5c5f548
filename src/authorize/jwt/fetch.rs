//! Keys that come from somewhere else, such as an identity provider: when they are fetched, and who waits for it.
//!
//! A fetch is a task of its own, so that a client that hangs up does not cancel it for the others. There is one at a time,
//! and one in an interval.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::key_set::KeySet;
use crate::{error::BoxError, trace::debug};

pub(super) type Fetched = Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send>>;

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many key ids are remembered as not being in the set, and how long they may be.
const MAX_ABSENT: usize = 256;
const MAX_ABSENT_LEN: usize = 256;

/// When keys are fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Keys older than this are fetched again, while they are in use.
    pub(super) refresh_after: Duration,
    /// The time from one fetch to the next, at least.
    pub(super) interval: Duration,
}

pub(super) struct Source {
    fetch: Box<dyn Fn() -> Fetched + Send + Sync>,
    state: Mutex<State>,
    /// Counts the fetches that are over.
    over: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched_at: Option<Instant>,
    /// When the last fetch began, whether it succeeded or not.
    begun_at: Option<Instant>,
    is_running: bool,
    /// Whether every request waits for the fetch that runs, because nobody has asked for the keys for a long time.
    is_awaited: bool,
    has_succeeded: bool,
    /// Key ids that the last set had or that were asked for, and that the current set does not have.
    absent: HashSet<String>,
}

impl Source {
    pub(super) fn new(fetch: impl Fn() -> Fetched + Send + Sync + 'static) -> Self {
        Self { fetch: Box::new(fetch), state: Mutex::default(), over: watch::Sender::new(0) }
    }

    /// The current keys, or `None` before the first fetch.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.look(|state| state.keys.clone())
    }

    pub(super) fn replace(&self, keys: Arc<KeySet>) {
        self.look(|state| state.take(keys));
    }

    /// Whether it is known that there is no such key.
    pub(super) fn is_absent(&self, id: &str) -> bool {
        self.look(|state| state.absent.contains(id))
    }

    /// Remembers that there is no such key, until the next fetch succeeds.
    pub(super) fn set_absent(&self, id: &str) {
        self.look(|state| {
            if state.absent.len() < MAX_ABSENT && id.len() <= MAX_ABSENT_LEN {
                state.absent.insert(id.to_owned());
            }
        });
    }

    /// Whether the last fetch has succeeded, and it is too early for another one.
    pub(super) fn is_fresh(&self, pace: Pace) -> bool {
        self.look(|state| !state.is_running && state.has_succeeded && state.is_early(pace))
    }

    /// Whether nobody has asked for the keys for so long that they have to be fetched before they are used. It is `false`
    /// again after one fetch, even if that has failed.
    pub(super) fn must_wait(&self, pace: Pace) -> bool {
        self.look(|state| state.is_neglected(pace) || state.is_awaited)
    }

    /// Begins to fetch the keys again if they are old. Does not wait for it.
    pub(super) fn keep_fresh(self: &Arc<Self>, pace: Pace) {
        let is_old = |state: &State| state.fetched_at.is_some_and(|at| at.elapsed() >= pace.refresh_after);
        if self.look(|state| is_old(state)) {
            drop(self.begin(pace));
        }
    }

    /// Waits for a fetch: one that runs, or one that it begins. Fails if the fetch fails, or if the last one began too
    /// short a time ago.
    pub(super) async fn refreshed(self: &Arc<Self>, pace: Pace) -> Result<(), BoxError> {
        let Some(mut over) = self.begin(pace) else {
            return Err("no key for a token, and the keys were fetched a moment ago".into());
        };
        over.changed().await?;
        if self.look(|state| state.has_succeeded) { Ok(()) } else { Err("the keys could not be fetched".into()) }
    }

    /// Returns what changes when the running fetch is over, or `None` if none runs and it is too early for one.
    fn begin(self: &Arc<Self>, pace: Pace) -> Option<watch::Receiver<u64>> {
        let runtime = Handle::try_current().ok()?;
        let (over, begins) = self.look(|state| {
            let begins = !state.is_running && !state.is_early(pace);
            if begins {
                state.is_awaited = state.is_neglected(pace);
                (state.is_running, state.begun_at) = (true, Some(Instant::now()));
            }
            // Subscribed under the lock: the fetch can't be over before.
            (state.is_running.then(|| self.over.subscribe()), begins)
        });
        if begins {
            // Made here, so that it is over even if the runtime drops the task.
            let running = Running { source: self.clone(), fetched: None };
            runtime.spawn(running.run());
        }
        over
    }

    fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics while it is locked.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Whether the last fetch began too short a time ago for another one.
    fn is_early(&self, pace: Pace) -> bool {
        self.begun_at.is_some_and(|at| at.elapsed() < pace.interval)
    }

    /// Keys that are in use are fetched as soon as they are old, whether that succeeds or not.
    fn is_neglected(&self, pace: Pace) -> bool {
        let is_long_ago = |at: Instant| at.elapsed() / 2 >= pace.refresh_after;
        self.fetched_at.is_some_and(is_long_ago) && self.begun_at.is_some_and(is_long_ago)
    }

    fn take(&mut self, keys: Arc<KeySet>) {
        self.absent.clear();
        // A token that was signed with a key that is gone now is not one that was signed with a new key.
        let ids = self.keys.iter().flat_map(|old| old.ids()).filter(|id| !keys.has(id)).map(str::to_owned);
        self.absent.extend(ids);
        (self.keys, self.fetched_at) = (Some(keys), Some(Instant::now()));
    }
}

/// A fetch. It is over when this is dropped, also by a panic.
struct Running {
    source: Arc<Source>,
    fetched: Option<KeySet>,
}

impl Running {
    async fn run(mut self) {
        self.fetched = match timeout(PATIENCE, (self.source.fetch)()).await {
            Ok(Ok(document)) => KeySet::jwks(&document).inspect_err(|error| failed(error)).ok(),
            Ok(Err(error)) => {
                failed(&error);
                None
            }
            Err(late) => {
                failed(&late);
                None
            }
        };
    }
}

fn failed(error: &dyn std::fmt::Display) {
    debug!("the keys for tokens could not be fetched", error = error);
}

impl Drop for Running {
    fn drop(&mut self) {
        let fetched = self.fetched.take();
        self.source.look(|state| {
            (state.is_running, state.is_awaited, state.has_succeeded) = (false, false, fetched.is_some());
            // The old keys stay if the fetch has failed.
            fetched.into_iter().for_each(|keys| state.take(Arc::new(keys)));
        });
        self.source.over.send_modify(|count| *count += 1);
    }
}
