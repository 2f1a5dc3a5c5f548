//! What a run is started with.

use crate::random;

/// A run that is to be started: see [`Runs::start`](super::Runs::start).
///
/// ```
/// use tower_sse::runs::New;
///
/// // A run of a chat, with an id of its own.
/// let answer = New::run().thread("chat-7");
/// // A run whose id the client has chosen, so that a repeated request does not start another one.
/// let once = New::run().id("3fa94c01");
/// assert_eq!(once.run_id(), "3fa94c01");
/// # drop(answer);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a run has to be started"]
pub struct New {
    pub(super) id: String,
    pub(super) thread: Option<String>,
}

impl New {
    /// A run with a random id that belongs to no thread.
    pub fn run() -> Self {
        Self { id: format!("{:016x}{:016x}", random::bits(), random::bits()), thread: None }
    }

    /// Sets the id: 1 to 251 bytes without control characters. The default is a random one.
    ///
    /// An id can be used once, for as long as the run is held. A second start is a conflict, on whichever node it is.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the thread that the run belongs to, such as a chat: 1 to 248 bytes without control characters. By default it
    /// belongs to none. At most one run of a thread is active, see [`Conflict`](super::Conflict).
    pub fn thread(mut self, thread: impl Into<String>) -> Self {
        self.thread = Some(thread.into());
        self
    }

    /// Returns the id.
    pub fn run_id(&self) -> &str {
        &self.id
    }
}

impl Default for New {
    fn default() -> Self {
        Self::run()
    }
}
