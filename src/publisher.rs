//! STUB
use crate::{
    cursor::EventId,
    encode::EncodedEvent,
    error::{InvalidText, PublishError},
    event::Event,
    log::Retention,
    name::{ChannelName, ClientId},
};
use std::time::Duration;

/// The cloneable write handle of a hub.
#[derive(Debug, Clone)]
pub struct Publisher {}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// With defaults. Works outside of a runtime.
    pub fn new() -> Self {
        Self {}
    }
    /// Settings.
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder {}
    }
    /// A channel's handle; a name that is not valid is reported by `send` and names no channel otherwise.
    pub fn channel<N>(&self, _name: N) -> Channel
    where
        N: TryInto<ChannelName>,
        N::Error: Into<InvalidText>,
    {
        todo!()
    }
    /// The channels there are.
    pub fn channels(&self) -> Vec<ChannelName> {
        todo!()
    }
    /// Connections, all channels.
    pub fn connections(&self) -> usize {
        todo!()
    }
    /// Disconnects a client from all channels, returns how many connections.
    pub fn disconnect<C>(&self, _client: C) -> usize
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        todo!()
    }
    /// Ends all streams: from now on publishing and opening are refused, every reader gets what is left, a jittered `retry:`, and the end. Returns when all are gone, or when the grace is over; true if all are gone.
    pub async fn shutdown(&self, _grace: Duration) -> bool {
        todo!()
    }
    /// Resolves when a shutdown has begun.
    pub async fn shutting_down(&self) {
        todo!()
    }
    /// Counters.
    pub fn stats(&self) -> crate::observe::Stats {
        todo!()
    }
    /// A reconnection time: a random one within the configured spread.
    pub(crate) fn reconnect_after(&self) -> Duration {
        todo!()
    }
    /// The ground counters.
    pub(crate) fn counters(&self) -> &crate::observe::Counters {
        todo!()
    }
}

/// Settings of a hub.
#[derive(Debug, Clone)]
pub struct PublisherBuilder {}

impl PublisherBuilder {
    /// Default retention.
    pub fn retention(self, _retention: Retention) -> Self {
        todo!()
    }
    /// Retention by name.
    pub fn retention_by(self, _by: impl Fn(&ChannelName) -> Retention + Send + Sync + 'static) -> Self {
        todo!()
    }
    /// Limits.
    pub fn limits(self, _limits: Limits) -> Self {
        todo!()
    }
    /// The spread of `retry:` at shutdown and at a limit.
    pub fn reconnect(self, _min: Duration, _max: Duration) -> Self {
        todo!()
    }
    /// Builds.
    pub fn build(self) -> Publisher {
        todo!()
    }
}

/// Limits of a hub; fields set by consuming setters.
#[derive(Debug, Clone, Default)]
pub struct Limits {}
impl Limits {
    /// x
    pub fn subscriptions(self, _max: usize) -> Self {
        todo!()
    }
    /// x
    pub fn channels(self, _max: usize) -> Self {
        todo!()
    }
    /// x
    pub fn lanes(self, _max: usize) -> Self {
        todo!()
    }
    /// x
    pub fn event_bytes(self, _max: usize) -> Self {
        todo!()
    }
    /// x
    pub fn hub_bytes(self, _max: usize) -> Self {
        todo!()
    }
    /// x
    pub fn channels_per_subscription(self, _max: usize) -> Self {
        todo!()
    }
}

/// A channel's handle.
#[derive(Debug, Clone)]
pub struct Channel {}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /** The event's id on the wire. */
    pub id: EventId,
    /** How many connections it reached. */
    pub reached: usize,
}

impl Channel {
    /// Broadcast.
    pub async fn send(&self, _event: Event) -> Result<Sent, PublishError> {
        todo!()
    }
    /// Targeted.
    pub async fn send_to<C>(&self, _client: C, _event: Event) -> Result<Sent, PublishError>
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        todo!()
    }
    /// Last event, and the channel is finished.
    pub async fn finish(&self, _event: Event) -> Result<Sent, PublishError> {
        todo!()
    }
    /// Last n broadcast events held, oldest first.
    pub fn recent(&self, _n: usize) -> Vec<EncodedEvent> {
        todo!()
    }
    /// Connections now.
    pub fn connections(&self) -> usize {
        todo!()
    }
    /// Connections per client.
    pub fn clients(&self) -> Vec<(ClientId, usize)> {
        todo!()
    }
    /// Disconnect a client from this channel.
    pub fn disconnect<C>(&self, _client: C) -> usize
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        todo!()
    }
    /// Ends all its subscriptions (goodbye) and forgets its history; returns how many.
    pub fn close(&self) -> usize {
        todo!()
    }
}
