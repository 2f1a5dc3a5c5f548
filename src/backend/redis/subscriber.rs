//! The connection of a feed: what it is subscribed to, and what is pushed.
//!
//! On a cluster both are sharded: an event goes to the server that has the hub's slot and to its replicas, and to no other.
//! The client crate has that for its own cluster connection only, so here it is done with the protocol's third version,
//! in which one connection takes commands and what is pushed.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tokio::{sync::mpsc, time::timeout};

use super::value::{self, failed};
use crate::error::BackendError;

/// What a connection is subscribed to. Clones are the same.
#[derive(Clone)]
pub(super) enum Subscriptions {
    Plain(PubSubSink),
    Sharded(MultiplexedConnection),
}

/// What is pushed on it.
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
    /// Is subscribed to all of these from the moment on at which it is done.
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

/// Each channel is a command of its own, since it is answered for itself; they are sent together.
async fn each(connection: &mut MultiplexedConnection, command: &str, channels: &[String]) -> Result<(), BackendError> {
    let mut all = redis::pipe();
    for channel in channels {
        all.cmd(command).arg(channel);
    }
    all.query_async::<Value>(connection).await.map(drop).map_err(failed)
}

impl Pushed {
    /// The next message, with the channel that it came by; `None` when no more will come. `own` is a channel that is never
    /// unsubscribed from: when the server does that, the hub's slot has moved away.
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
                        // Somebody else's, perhaps.
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
