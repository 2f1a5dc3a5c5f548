//! The error of opening a subscription.

use std::{error::Error, fmt, time::Duration};

/// The error of a subscription that was not opened, from [`OpenOptions::open`](crate::OpenOptions::open).
#[derive(Debug)]
pub struct OpenError(pub(crate) OpenErrorKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenErrorKind {
    NoChannel,
    TooManyChannels,
    TooManySubscriptions,
    HubFull,
    TooManyOfChannel,
    TooManyOfClient,
    Duplicate,
    TooManyLanes,
    ShuttingDown,
    Expired,
    Over,
    Absent,
    Unavailable,
    /// Too many requests, before this one was looked at.
    RateLimit(Duration),
    /// The client has had as much replayed as it may for now.
    ReplayLimit(Duration),
}

impl OpenError {
    /// Returns `true` if the grant names no channel, or more than
    /// [`Limits::channels_per_subscription`](crate::Limits::channels_per_subscription).
    pub fn is_channel_count(&self) -> bool {
        matches!(self.0, OpenErrorKind::NoChannel | OpenErrorKind::TooManyChannels)
    }

    /// Returns `true` if a limit on subscriptions, channels, clients or the memory of readers was reached. A later
    /// attempt may succeed.
    pub fn is_limit(&self) -> bool {
        use OpenErrorKind::*;
        self.is_client_limit() || matches!(self.0, TooManySubscriptions | HubFull | TooManyOfChannel | TooManyLanes)
    }

    /// The limit is that of the client: it has as many connections to the channel [as it
    /// may](crate::OpenOptions::max_per_client), or it is connected already, and the options [refuse a second
    /// connection](Self::is_duplicate).
    pub fn is_client_limit(&self) -> bool {
        matches!(self.0, OpenErrorKind::TooManyOfClient | OpenErrorKind::Duplicate)
    }

    /// The client is connected to the channel already, and the options [refuse a second
    /// connection](crate::Duplicates::Refuse).
    pub fn is_duplicate(&self) -> bool {
        self.0 == OpenErrorKind::Duplicate
    }

    /// Returns how long the client has to stay away, if it was refused because of a rate: it makes too many requests, or it
    /// has had too much replayed to it. A [`RateLimited`](crate::RateLimited) converts to such an error.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0 {
            OpenErrorKind::RateLimit(after) | OpenErrorKind::ReplayLimit(after) => Some(after),
            _ => None,
        }
    }

    /// Returns `true` if the hub is shutting down or has shut down.
    pub fn is_shutting_down(&self) -> bool {
        self.0 == OpenErrorKind::ShuttingDown
    }

    /// Returns `true` if the grant had already expired.
    pub fn is_expired(&self) -> bool {
        self.0 == OpenErrorKind::Expired
    }

    /// Returns `true` if there is nothing left to read and nothing more will come: either every channel is finished and
    /// holds nothing after the reader's last event id, or the id is that of a `goodbye`. Over HTTP this is a 204, which
    /// makes a browser stop reconnecting.
    pub fn is_over(&self) -> bool {
        self.0 == OpenErrorKind::Over
    }

    /// Returns `true` if a channel has never had an event, and the options ask for [existing](crate::OpenOptions::existing)
    /// channels. Over HTTP this is a 404.
    pub fn is_absent(&self) -> bool {
        self.0 == OpenErrorKind::Absent
    }

    /// Returns `true` if the [`Backend`](crate::backend::Backend) did not answer in time. A later attempt may succeed.
    pub fn is_unavailable(&self) -> bool {
        self.0 == OpenErrorKind::Unavailable
    }
}

impl From<OpenErrorKind> for OpenError {
    fn from(kind: OpenErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            OpenErrorKind::NoChannel => "the grant names no channel",
            OpenErrorKind::TooManyChannels => "the grant names more channels than one subscription may read",
            OpenErrorKind::TooManySubscriptions => "the hub has reached its limit of subscriptions or channels",
            OpenErrorKind::HubFull => "the readers of the hub take as much of its memory as they may",
            OpenErrorKind::TooManyOfChannel => "the channel has reached its limit of subscriptions",
            OpenErrorKind::TooManyOfClient => "the client has reached its limit of subscriptions",
            OpenErrorKind::Duplicate => "the client is connected to the channel already",
            OpenErrorKind::TooManyLanes => "the channel has reached its limit of clients",
            OpenErrorKind::ShuttingDown => "the hub is shutting down",
            OpenErrorKind::Expired => "the grant has expired",
            OpenErrorKind::Over => "nothing is left to read and nothing more will come",
            OpenErrorKind::Absent => "the channel does not exist",
            OpenErrorKind::Unavailable => "the backend is not available",
            OpenErrorKind::RateLimit(_) => "the client makes too many requests",
            OpenErrorKind::ReplayLimit(_) => "the client has had as much replayed as it may for now",
        })
    }
}

impl Error for OpenError {}
