//! How runs are started, kept and ended.

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// The error that a producer returns.
pub type ProducerError = Box<dyn Error + Send + Sync>;

/// What happens when a run is started in a thread in which another one is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Conflict {
    /// The new run is refused: over HTTP with 409 (Conflict). This is the default.
    #[default]
    Reject,
    /// The active run is stopped, and the new one starts once that has ended.
    Interrupt,
    /// The new run starts once the active one has ended.
    Enqueue,
}

/// What becomes of runs that are active when the node's time to [drain](super::Runs::drain) is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDrain {
    /// They end as [drained](super::Outcome::Drained). This is the default.
    #[default]
    End,
    /// They wait for another node to [take them over](super::Runs::take_over).
    HandOver,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) conflict: Conflict,
    /// How long a start waits for the end of the active run.
    pub(super) patience: Duration,
    /// How long a producer that was stopped may take.
    pub(super) grace: Duration,
    pub(super) max_runs: usize,
    /// A run is stopped that nobody has read for this long.
    pub(super) unread: Option<Duration>,
    pub(super) on_drain: OnDrain,
    /// How long a run that was handed over waits for another node.
    pub(super) take_over_within: Duration,
    /// For how long tokens are held to be merged.
    pub(super) roll_up: Option<Duration>,
    pub(super) explain: Explain,
}

type Explain = Arc<dyn Fn(&ProducerError) -> Option<String> + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            conflict: Conflict::Reject,
            patience: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            max_runs: 10_000,
            unread: None,
            on_drain: OnDrain::End,
            take_over_within: Duration::from_secs(60),
            roll_up: None,
            explain: Arc::new(|_| None),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conflict, patience, grace, max_runs, unread, on_drain, take_over_within, roll_up, explain: _ } =
            self;
        f.debug_struct("Settings")
            .field("conflict", conflict)
            .field("patience", patience)
            .field("grace", grace)
            .field("max_runs", max_runs)
            .field("unread", unread)
            .field("on_drain", on_drain)
            .field("take_over_within", take_over_within)
            .field("roll_up", roll_up)
            .finish_non_exhaustive()
    }
}
