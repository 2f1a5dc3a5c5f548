//! The timer of a peer that does not read.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::serve::idle::{Idle, Interval};

/// A timer for a peer that does not read. All of these timers in a runtime share one driver. If many peers stall at once, the
/// driver wakes their tasks in slices, so that the tasks of other peers run in between.
pub(super) struct Stall {
    idle: Idle,
    /// The waker of the task that last polled the timer.
    task: Waker,
}

impl Stall {
    /// Creates a timer that begins at the first poll.
    pub(super) fn new(cx: &Context<'_>) -> Self {
        Self { idle: Idle::new(), task: cx.waker().clone() }
    }

    /// Ready once `time` is over, or later by up to a sixteenth of it and at most 256 ms.
    pub(super) fn poll(&mut self, time: Duration, cx: &mut Context<'_>) -> Poll<()> {
        // Zero never gets here: the builder replaces it with the longest time.
        let Some(interval) = Interval::of(time) else { return Poll::Pending };
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            self.idle.moved();
        }
        self.idle.poll(interval, cx)
    }
}
