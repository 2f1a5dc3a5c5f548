//! The connection of a feed: its subscriptions, and what is pushed.
//!
//! On a cluster both are sharded: an event goes only to the server that has the hub's slot, and to its replicas. The
//! client crate supports that only for its own cluster connection. So this module uses version 3 of the protocol, in
//! which a single connection carries both commands and pushed messages.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tokio::{sync::mpsc, time::timeout};

use super::value::{self, failed};
use crate::error::BackendError;

/// The subscriptions of a connection. Clones share them.
#[derive(Clone)]
pub(super) enum Subscriptions {
    Plain(PubSubSink),
    Sharded(MultiplexedConnection),
}

/// What is pushed on the connection.
pub(super) enum Pushed {
    Plain(PubSubStream),
    Sharded(mpsc::UnboundedReceiver<PushInfo>),
}

/// Connects to a server.
pub(super) async fn connect(
    client: Client,
    sharded: bool,
    patience: Duration,
) -> Result<(Subscriptions, Pushed), BackendError> {
    if sharded {
        return connect_sharded(&client, patience).await.map_err(failed);
    }
    match timeout(patience, client.get_async_pubsub()).await {
        Ok(subscriber) => {
            let (sink, stream) = subscriber.map_err(failed)?.split();
            Ok((Subscriptions::Plain(sink), Pushed::Plain(stream)))
        }
        Err(elapsed) => Err(BackendError::timed_out(elapsed)),
    }
}

async fn connect_sharded(client: &Client, patience: Duration) -> Result<(Subscriptions, Pushed), RedisError> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // Bounded by what the server holds for a client that is too slow, as in the plain case.
    let (push, pushed) = mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience))
        .set_push_sender(push);
    let client = Client::open(info.set_redis_settings(settings))?;
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok((Subscriptions::Sharded(connection), Pushed::Sharded(pushed)))
}

impl Subscriptions {
    /// Subscribes to all of these channels. The subscriptions are active once this returns.
    pub(super) async fn subscribe(&mut self, channels: &[String]) -> Result<(), BackendError> {
        match self {
            Self::Plain(sink) => sink.subscribe(channels).await.map_err(failed),
            Self::Sharded(connection) => each(connection, "SSUBSCRIBE", channels).await,
        }
    }

    pub(super) async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), BackendError> {
        match self {
            Self::Plain(sink) => sink.unsubscribe(channels).await.map_err(failed),
            Self::Sharded(connection) => each(connection, "SUNSUBSCRIBE", channels).await,
        }
    }
}

/// Sends one command for each channel, since each is answered separately. All are sent together.
async fn each(connection: &mut MultiplexedConnection, command: &str, channels: &[String]) -> Result<(), BackendError> {
    let mut all = redis::pipe();
    for channel in channels {
        all.cmd(command).arg(channel);
    }
    all.query_async::<Value>(connection).await.map(drop).map_err(failed)
}

impl Pushed {
    /// Waits for the next message. Returns it with the channel that it came through, or `None` when no more will come.
    /// `own` is a channel that the node never unsubscribes from: if the server does so, the hub's slot has moved away.
    pub(super) async fn next(&mut self, own: &str) -> Option<(String, Vec<u8>)> {
        match self {
            Self::Plain(stream) => {
                let message = stream.next().await?;
                Some((message.get_channel_name().to_owned(), message.get_payload_bytes().to_owned()))
            }
            Self::Sharded(pushed) => loop {
                let PushInfo { kind, data } = pushed.recv().await?;
                match (kind, &data[..]) {
                    (PushKind::SMessage, [channel, payload]) => {
                        // May be a message from another program.
                        let Some(channel) = value::text(channel) else { continue };
                        let Value::BulkString(payload) = payload else { continue };
                        return Some((channel.to_owned(), payload.clone()));
                    }
                    (PushKind::SUnsubscribe, [channel, ..]) if value::is(channel, own) => return None,
                    (PushKind::Disconnection, _) => return None,
                    _ => {}
                }
            },
        }
    }
}
