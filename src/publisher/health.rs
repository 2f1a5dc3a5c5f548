//! The health of a node, for the probes of an orchestrator and for operators.

use std::{fmt, time::Duration};

use super::Publisher;
use crate::{error::BackendError, sync::Ordering};

/// The health of this node, from [`Publisher::health`].
///
/// Answer a *readiness* probe with [`is_ready`](Self::is_ready): a node that is not ready should get no new connections.
/// Don't use it for a *liveness* probe, because a restart fixes nothing that it reports. Let that probe succeed as long as
/// your process answers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether the [backend](crate::PublisherBuilder::backend) answered just now, or the error. In process, it is always
    /// `Ok`.
    pub backend: Result<(), BackendError>,
    /// Whether the feed is alive, which brings the events of other nodes. It is `false` from the end of a feed until the next
    /// one has brought something. In process, and while nobody reads on this node, it is `true`, because no feed is needed.
    pub feed_alive: bool,
    /// How long this node has lacked events that the backend has acknowledged. While it grows, readers of a channel that is
    /// behind get nothing, not from their other channels either. All other readers of several channels wait too, until
    /// the node has failed to read that channel four times.
    ///
    /// Up to a quarter of a second is normal, because the node looks that often. It notices that a feed has fallen silent
    /// within five seconds. In process, and while nobody reads on this node, it is zero.
    pub level_lag: Duration,
    /// Whether the node is [shutting down](Publisher::shutdown) or draining its runs (`Runs::drain`).
    pub draining: bool,
}

impl Health {
    /// Returns whether this node should get new connections: it is not [draining](Self::draining), its
    /// [backend](Self::backend) answers, and its [feed](Self::feed_alive) is alive. A lag alone does not matter here.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.backend.is_ok() && self.feed_alive
    }
}

/// One line for the answer to a probe: `ready`, or what is wrong. It does not reveal the cause of a backend's error.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ready() {
            return f.write_str("ready");
        }
        let mut separator = "not ready: ";
        let mut say = |what: &dyn fmt::Display| write!(f, "{}{what}", std::mem::replace(&mut separator, ", "));
        if self.draining {
            say(&"the node is draining")?;
        }
        if let Err(error) = &self.backend {
            say(error)?;
        }
        if !self.feed_alive {
            say(&"the feed is down")?;
        }
        Ok(())
    }
}

impl Publisher {
    /// Returns the health of this node.
    ///
    /// In process, the future is ready at once. With a remote [backend](crate::PublisherBuilder::backend), it makes one
    /// small call to the backend, and waits for at most the hub's [timeout](crate::PublisherBuilder::timeout), 5 s by
    /// default. A probe with a shorter timeout, such as the default of 1 s in Kubernetes, treats a late answer as a failure.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use axum::{extract::State, http::StatusCode};
    /// use tower_sse::Publisher;
    ///
    /// async fn ready(State(publisher): State<Publisher>) -> (StatusCode, String) {
    ///     let health = publisher.health().await;
    ///     let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    ///     (status, health.to_string())
    /// }
    ///
    /// assert_eq!(ready(State(Publisher::new())).await, (StatusCode::OK, "ready".to_owned()));
    /// # });
    /// ```
    pub async fn health(&self) -> Health {
        let draining = self.drains();
        match &self.handle.remote {
            None => Health { backend: Ok(()), feed_alive: true, level_lag: Duration::ZERO, draining },
            Some(remote) => {
                let backend = Box::pin(remote.reach()).await;
                let pulse = &remote.link.pulse;
                Health { backend, feed_alive: pulse.is_feed_alive(), level_lag: pulse.lag(), draining }
            }
        }
    }

    pub(super) fn drains(&self) -> bool {
        self.handle.hub.is_shutting_down() || self.handle.draining.load(Ordering::Relaxed)
    }

    /// Says that the node is on its way out, although its hub does not shut down yet.
    #[cfg(feature = "runs")]
    pub(crate) fn begin_draining(&self) {
        self.handle.draining.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_ready_says_everything_that_is_wrong() {
        let health = |backend, feed_alive, draining| {
            Health { backend, feed_alive, level_lag: Duration::from_secs(9), draining }.to_string()
        };
        assert_eq!(health(Ok(()), true, false), "ready");
        assert_eq!(health(Ok(()), false, false), "not ready: the feed is down");
        let secret = BackendError::new("a password");
        let all = "not ready: the node is draining, the backend failed, the feed is down";
        assert_eq!(health(Err(secret), false, true), all);
    }
}
