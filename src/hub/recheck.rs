//! Runs a new decision about a reader that is connected.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, ready},
};

use super::grant::{Deciding, Recheck, Verdict};
use crate::sync::Mutex;

/// The access of a reader whose access can be decided anew.
pub(crate) struct Access {
    recheck: Recheck,
    /// The current decision. It is only reached through `&mut`; the lock makes it `Sync`.
    deciding: Option<Mutex<Deciding>>,
}

impl Access {
    pub(crate) fn new(recheck: Recheck) -> Self {
        Self { recheck, deciding: None }
    }

    /// Continues the decision, or begins one if there is none. A panic counts as a failure.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        // Unwind safety: after a panic, the future is dropped, and the closure belongs to the application.
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let deciding = self.deciding.get_or_insert_with(|| Mutex::new(self.recheck.decide()));
            match deciding.get_mut() {
                Ok(future) => future.as_mut().poll(cx),
                Err(_) => Poll::Ready(Verdict::Failed),
            }
        }));
        let verdict = match decided {
            Ok(decided) => ready!(decided),
            Err(_) => Verdict::Failed,
        };
        self.deciding = None;
        Poll::Ready(verdict)
    }

    pub(crate) fn is_deciding(&self) -> bool {
        self.deciding.is_some()
    }
}
