//! The hub's counters, which every floor knows.
//!
//! Counters are relaxed atomics: each one is exact, but two that are read together may be from slightly different
//! moments.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a hub. Each floor adds to them with [`Counter::add`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// A snapshot of what a hub has done since it was created, from [`Publisher::stats`](crate::Publisher::stats).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            /// The channels that exist now.
            pub channels: usize,
            /// The subscriptions that exist now.
            pub subscriptions: usize,
            /// Subscriptions that have ended but were not dropped yet, because their readers have not read the end;
            /// perhaps their sockets are full. They take memory, but count against no limit.
            pub lingering: usize,
            /// The memory that the hub takes now, in bytes, as its allocator counts them: events, and everything else
            /// that [`Limits::hub_bytes`](crate::Limits::hub_bytes) names.
            pub held_bytes: usize,
            /// [Ephemeral](crate::Event::ephemeral) events that readers did not get because they were behind, once for
            /// each reader. Events that were for another client are included.
            pub ephemeral_dropped: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        #[cfg(feature = "inspect")]
        impl Stats {
            /// Returns each number with its name.
            pub(crate) fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                // Lossless: no target has a wider `usize`.
                let now = [
                    ("channels", self.channels as u64),
                    ("subscriptions", self.subscriptions as u64),
                    ("lingering", self.lingering as u64),
                    ("held_bytes", self.held_bytes as u64),
                    ("ephemeral_dropped", self.ephemeral_dropped),
                ];
                now.into_iter().chain([$((stringify!($name), self.$name)),*])
            }
        }

        impl Counters {
            pub(crate) fn snapshot(
                &self,
                channels: usize,
                (subscriptions, lingering): (usize, usize),
                held_bytes: usize,
            ) -> Stats {
                Stats { channels, subscriptions, lingering, held_bytes, ephemeral_dropped: 0, $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Events published.
    published,
    /// [Ephemeral](crate::Event::ephemeral) events published, which don't count as events.
    ephemeral,
    /// Publishes that were refused, for any reason.
    publish_refused,
    /// Events evicted by a channel's retention or by the hub's byte limit.
    evicted,
    /// Subscriptions opened.
    opened,
    /// Subscriptions that were opened with a last event id.
    resumed,
    /// Gaps reported to readers, including those of readers that lagged.
    gaps,
    /// Live readers that were overrun because they were too slow.
    lagged,
    /// Subscriptions that were refused because a limit was reached.
    limited,
    /// Requests for streams that were refused because their client made too many of them: see
    /// [`RateLimited`](crate::RateLimited).
    rate_limited,
    /// Subscriptions that were refused because their client has had too much replayed to it.
    replays_limited,
    /// Requests to publish that were refused because their client made too many of them.
    publishes_limited,
    /// Requests that the authorizer denied.
    denied,
    /// Requests that got no grant because the authorizer failed: an error other than `Denied`, a panic, or a timeout.
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
