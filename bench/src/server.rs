//! The servers. All have the same HTTP contract, and are told what to publish in the same way.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /sse/{channel}` | the channel's events |
//! | `GET /sse/{channel}/{client}` | the channel's events, and those for that client |
//! | `GET /multi?channel=..&channel=..` | the events of several channels |
//! | with `Last-Event-ID` | first the events held after that id |

mod axum_broadcast;
mod axum_queue;
mod history;
mod never;
mod nginx;
mod publish;
mod raw_epoll;
mod raw_log;
mod tower_sse;

use std::{io, time::Duration};

use serde::Serialize;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The limit, written by hand for this benchmark: no HTTP library, one thread, one slice of history per write.
    RawEpoll,
    /// This crate on its own server, which takes streams away from hyper.
    TowerSseServer,
    /// This crate on a bare hyper.
    TowerSseHyper,
    /// This crate in front of an axum router, with `axum::serve`.
    TowerSseAxum,
    /// axum's `Sse` over a `tokio::sync::broadcast` for each channel, with the history that a careful user writes.
    AxumBroadcast,
    /// axum's `Sse` over a queue for each connection, with the same history.
    AxumQueue,
    /// nginx with nchan, if it is installed.
    Nchan,
    /// hyper with a body that never yields: what an open connection costs without this crate.
    NeverHyper,
    /// The same under axum.
    NeverAxum,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::RawEpoll,
        Self::TowerSseServer,
        Self::TowerSseHyper,
        Self::TowerSseAxum,
        Self::AxumBroadcast,
        Self::AxumQueue,
        Self::Nchan,
        Self::NeverHyper,
        Self::NeverAxum,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::RawEpoll => "raw-epoll",
            Self::TowerSseServer => "tower-sse-server",
            Self::TowerSseHyper => "tower-sse-hyper",
            Self::TowerSseAxum => "tower-sse-axum",
            Self::AxumBroadcast => "axum-broadcast",
            Self::AxumQueue => "axum-queue",
            Self::Nchan => "nchan",
            Self::NeverHyper => "never-hyper",
            Self::NeverAxum => "never-axum",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it can run on this machine.
    pub fn is_there(self) -> bool {
        self != Self::Nchan || nginx::is_there()
    }
}

/// The settings of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many events each channel holds, and so how far a reader may be behind.
    pub history: usize,
    pub keep_alive: Duration,
    /// Bytes of data in each event.
    pub event_size: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { history: 1_024, keep_alive: Duration::from_secs(15), event_size: 100 }
    }
}

/// Runs a server for ever. First it prints a line with its two addresses, for HTTP and for control.
pub fn run(kind: Kind, settings: Settings) -> io::Result<()> {
    match kind {
        Kind::RawEpoll => raw_epoll::run(settings),
        Kind::TowerSseServer => tower_sse::run_server(settings),
        Kind::TowerSseHyper => tower_sse::run_hyper(settings),
        Kind::TowerSseAxum => tower_sse::run_axum(settings),
        Kind::AxumBroadcast => axum_broadcast::run(settings),
        Kind::AxumQueue => axum_queue::run(settings),
        Kind::Nchan => nginx::run(settings),
        Kind::NeverHyper => never::run_hyper(settings),
        Kind::NeverAxum => never::run_axum(settings),
    }
}
