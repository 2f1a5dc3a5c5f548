//! The feed: what a node watches, pushed over a connection of its own.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use futures_util::{FutureExt as _, StreamExt as _, future, pin_mut};
use redis::aio::{PubSubSink, PubSubStream};

use super::{Inner, link::failed, value};
use crate::{
    backend::{Message, Messages, Request, Requests},
    error::BackendError,
    wire::{cursor::Cursor, name::ChannelName},
};

/// So many channels in one command.
const AT_ONCE: usize = 500;

pub(super) async fn run(redis: &Inner, requests: Requests, messages: Messages) -> Result<(), BackendError> {
    // By this a cluster says where the hub's slot is, if it is elsewhere: what is pushed there comes in its order.
    redis.level("").await?;
    let (mut sink, stream) = redis.link.subscriber().await?.split();
    let levels = redis.keys.levels(RandomState::new().hash_one(Instant::now()));
    sink.subscribe(&levels).await.map_err(failed)?;
    let obey = obey(redis, requests, sink, &messages, &levels);
    let carry = carry(redis, stream, &messages, &levels);
    pin_mut!(obey, carry);
    future::select(obey, carry).await.factor_first().0
}

/// Does what is requested; what comes together goes together.
async fn obey(
    redis: &Inner,
    mut requests: Requests,
    mut sink: PubSubSink,
    messages: &Messages,
    levels: &str,
) -> Result<(), BackendError> {
    let mut queue = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Some(request) = requests.next().await else { return Ok(()) };
            queue.push_back(request);
        }
        while let Some(Some(request)) = requests.next().now_or_never() {
            queue.push_back(request);
        }
        match queue.pop_front() {
            Some(Request::Watch(channel)) => {
                let mut channels = vec![channel];
                while channels.len() < AT_ONCE
                    && let Some(Request::Watch(_)) = queue.front()
                    && let Some(Request::Watch(channel)) = queue.pop_front()
                {
                    channels.push(channel);
                }
                sink.subscribe(feeds(redis, &channels)).await.map_err(failed)?;
                for channel in channels {
                    if !messages.send(Message::Watching(channel)).await {
                        return Ok(());
                    }
                }
            }
            Some(Request::Unwatch(channel)) => {
                sink.unsubscribe(feeds(redis, &[channel])).await.map_err(failed)?;
            }
            Some(Request::Sync) => redis.level(levels).await?,
            None => {}
        }
    }
}

fn feeds(redis: &Inner, channels: &[ChannelName]) -> Vec<String> {
    channels.iter().map(|channel| redis.keys.feed(channel)).collect()
}

/// Passes on what is pushed, in its order.
async fn carry(redis: &Inner, mut stream: PubSubStream, messages: &Messages, levels: &str) -> Result<(), BackendError> {
    while let Some(pushed) = stream.next().await {
        let payload = pushed.get_payload_bytes();
        let message = match pushed.get_channel_name() {
            name if name == levels => value::level(payload),
            name => redis.keys.channel_of(name).and_then(|channel| value::pushed(channel, payload)),
        };
        // Somebody else's; what is missing is seen by the next one.
        let Some(message) = message else { continue };
        match &message {
            Message::Entry { epoch, entry, .. } => redis.learn(Cursor { epoch: *epoch, offset: entry.offset }),
            Message::Level(level) => redis.learn(*level),
            Message::Watching(_) | Message::Closed(_) => {}
        }
        if !messages.send(message).await {
            return Ok(());
        }
    }
    Err(BackendError::new("the feed's connection was closed"))
}
