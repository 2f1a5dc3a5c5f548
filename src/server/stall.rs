//! How long a peer has not read.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::serve::idle::{Idle, Interval};

/// A timer for a peer that does not read, which shares its driver with all timers of the runtime. When many peers stall at
/// once, their tasks are woken in slices, and the tasks of other peers run in between.
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

    /// Ready once `time` is over. It is late by up to a sixteenth of that, and no more than 256 ms.
    pub(super) fn poll(&mut self, time: Duration, cx: &mut Context<'_>) -> Poll<()> {
        // The builder takes zero as no limit.
        let Some(interval) = Interval::of(time) else { return Poll::Pending };
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            self.idle.moved();
        }
        self.idle.poll(interval, cx)
    }
}
