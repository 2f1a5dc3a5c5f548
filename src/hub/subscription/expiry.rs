//! When a grant ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::hub::recheck::Access;

/// The end of a grant. The timer is created at the first poll, since a subscription may be opened outside a runtime.
#[derive(Default)]
pub(super) enum Expiry {
    #[default]
    Never,
    At(Instant),
    Timed(Pin<Box<Sleep>>),
    /// The end of a grant that can be decided anew.
    Rechecked(Box<Rechecked>),
}

/// Access that can be decided anew.
pub(super) struct Rechecked {
    /// `None` while the decision is polled.
    pub(super) access: Option<Access>,
    pub(super) expires: Expiry,
}

impl Expiry {
    /// Returns how many bytes it takes from the allocator, with a timer that the first poll creates, and without what
    /// the authorizer keeps to decide anew.
    pub(super) fn footprint(&self) -> usize {
        match self {
            Self::Never => 0,
            Self::At(_) | Self::Timed(_) => size_of::<Sleep>(),
            Self::Rechecked(rechecked) => size_of::<Rechecked>() + rechecked.expires.footprint(),
        }
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self, Self::Never) { Poll::Pending } else { self.poll_timer(cx) }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::At(at) = *self {
            *self = Self::Timed(Box::pin(sleep_until(at)));
        }
        match self {
            Self::Timed(timer) => timer.as_mut().poll(cx),
            Self::Rechecked(rechecked) => rechecked.expires.poll(cx),
            Self::Never | Self::At(_) => Poll::Pending,
        }
    }
}
