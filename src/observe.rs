//! What happened, counted: the ground that all floors know.
//!
//! Counters are relaxed atomics: each is right, but two that are read together may be of slightly different moments.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a hub. Each floor adds to them with [`Counters::add`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a hub has done since it began: a snapshot, from [`Publisher::stats`](crate::Publisher::stats).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            /// Channels that there are now.
            pub channels: usize,
            /// Subscriptions that there are now.
            pub subscriptions: usize,
            /// Subscriptions that are over and not dropped yet: their readers have not read the end, perhaps since their sockets
            /// are full. They take memory, and count against no limit.
            pub lingering: usize,
            /// What the events that are held now cost in memory: their bytes, with [32 more for each](crate::Retention::bytes).
            /// An evicted one is counted until the memory that it shares with events next to it is given back.
            pub held_bytes: usize,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(
                &self,
                channels: usize,
                (subscriptions, lingering): (usize, usize),
                held_bytes: usize,
            ) -> Stats {
                Stats { channels, subscriptions, lingering, held_bytes, $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Events published.
    published,
    /// Publishes that were refused, for whatever reason.
    publish_refused,
    /// Events evicted by a channel's retention or by the hub's byte limit.
    evicted,
    /// Subscriptions opened.
    opened,
    /// Subscriptions that came with a last event id.
    resumed,
    /// Gaps told to readers, lagged ones included.
    gaps,
    /// Readers that were overrun while they were live.
    lagged,
    /// Subscriptions refused because a limit was reached.
    limited,
    /// Requests that the authorizer denied.
    denied,
    /// Requests that were granted nothing because the authorizer failed: an error of its own, a panic, a timeout.
    authorizer_failed,
    /// Requests with a name, id or encoding that is not valid.
    bad_requests,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
