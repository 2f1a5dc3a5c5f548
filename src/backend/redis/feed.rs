//! The feed: what a node watches, pushed over a connection of its own.

mod changes;

use std::pin::pin;

use futures_util::{
    FutureExt as _, StreamExt as _, TryFutureExt as _,
    future::{self, BoxFuture, Either},
    pin_mut,
    stream::FuturesUnordered,
};

use self::changes::Changes;
use super::{
    Inner,
    subscriber::{Pushed, Subscriptions},
    value,
};
use crate::{
    backend::{Message, Messages, Notice, Requests},
    error::BackendError,
    random,
    wire::{cursor::Cursor, name::ChannelName},
};

pub(super) async fn run(redis: &Inner, requests: Requests, messages: Messages) -> Result<(), BackendError> {
    // With this call a cluster tells where the hub's slot is, if it is elsewhere. What is pushed on that server arrives
    // in order.
    let sharded = redis.level("").await?;
    let (mut subscriptions, pushed) = redis.link.subscriber(sharded).await?;
    let levels = redis.keys.levels(random::bits());
    let told = redis.keys.told();
    subscriptions.subscribe(&[levels.clone(), told.to_owned()]).await?;
    let work = Work {
        redis,
        subscriptions,
        levels: &levels,
        changes: Changes::default(),
        doing: FuturesUnordered::new(),
        leaving: false,
        syncing: false,
    };
    let obey = obey(work, requests, &messages);
    let carry = carry(redis, pushed, &messages, (&levels, told));
    pin_mut!(obey, carry);
    future::select(obey, carry).await.factor_first().0
}

/// A piece of work that is done.
enum Done {
    /// These channels are watched.
    Watched(Vec<ChannelName>),
    Unwatched,
    Synced,
}

/// The work that a feed has in progress: at most one piece of each kind. Requests that arrive meanwhile wait and are
/// sent together. The connection thus has one round trip for all channels that are opened, and another for all that are
/// left.
struct Work<'a> {
    redis: &'a Inner,
    subscriptions: Subscriptions,
    levels: &'a str,
    changes: Changes,
    doing: FuturesUnordered<BoxFuture<'a, Result<Done, BackendError>>>,
    leaving: bool,
    syncing: bool,
}

/// Does what is requested.
async fn obey(mut work: Work<'_>, mut requests: Requests, messages: &Messages) -> Result<(), BackendError> {
    loop {
        while let Some(Some(request)) = requests.next().now_or_never() {
            work.changes.add(request);
        }
        work.begin();
        let next = match future::select(pin!(work.next()), pin!(requests.next())).await {
            Either::Left((done, _)) => Either::Left(done?),
            Either::Right((request, _)) => Either::Right(request),
        };
        match next {
            Either::Left(Done::Watched(channels)) => {
                for channel in channels {
                    if !messages.send(Message::Watching(channel)).await {
                        return Ok(());
                    }
                }
                work.changes.watched();
            }
            Either::Left(Done::Unwatched | Done::Synced) => {}
            Either::Right(Some(request)) => work.changes.add(request),
            Either::Right(None) => return Ok(()),
        }
    }
}

impl Work<'_> {
    /// Begins the work that waits and can be done now.
    fn begin(&mut self) {
        let (redis, levels) = (self.redis, self.levels);
        let channels = self.changes.take_watch();
        if !channels.is_empty() {
            self.doing.push(watch(redis, self.subscriptions.clone(), channels).boxed());
        }
        let channels = if self.leaving { Vec::new() } else { self.changes.take_unwatch() };
        if !channels.is_empty() {
            self.leaving = true;
            self.doing.push(unwatch(redis, self.subscriptions.clone(), channels).boxed());
        }
        if !self.syncing && std::mem::take(&mut self.changes.sync) {
            self.syncing = true;
            self.doing.push(redis.level(levels).map_ok(|_| Done::Synced).boxed());
        }
    }

    /// Waits for the next piece of work to be done. Never returns while there is no work.
    async fn next(&mut self) -> Result<Done, BackendError> {
        let Some(done) = self.doing.next().await else { return future::pending().await };
        match &done {
            Ok(Done::Unwatched) => self.leaving = false,
            Ok(Done::Synced) => self.syncing = false,
            Ok(Done::Watched(_)) | Err(_) => {}
        }
        done
    }
}

async fn watch(redis: &Inner, mut own: Subscriptions, channels: Vec<ChannelName>) -> Result<Done, BackendError> {
    own.subscribe(&feeds(redis, &channels)).await?;
    Ok(Done::Watched(channels))
}

async fn unwatch(redis: &Inner, mut own: Subscriptions, channels: Vec<ChannelName>) -> Result<Done, BackendError> {
    own.unsubscribe(&feeds(redis, &channels)).await?;
    Ok(Done::Unwatched)
}

fn feeds(redis: &Inner, channels: &[ChannelName]) -> Vec<String> {
    channels.iter().map(|channel| redis.keys.feed(channel)).collect()
}

/// Passes on what is pushed, in order.
async fn carry(
    redis: &Inner,
    mut pushed: Pushed,
    messages: &Messages,
    (levels, told): (&str, &str),
) -> Result<(), BackendError> {
    while let Some((name, payload)) = pushed.next(levels).await {
        let messages_of = |channel: ChannelName| value::pushed(&channel, &payload);
        let pushed = match &name[..] {
            name if name == levels => value::level(&payload).into_iter().collect(),
            name if name == told => notice(&payload).into_iter().collect(),
            name => redis.keys.channel_of(name).map(messages_of).unwrap_or_default(),
        };
        // A message that can't be read is not from this crate. If an event is missing because of it, the next message
        // reveals that.
        for message in pushed {
            learn(redis, &message);
            if !messages.send(message).await {
                return Ok(());
            }
        }
    }
    Err(BackendError::new("the feed's connection was closed"))
}

/// Reads a notice from one node to all others.
fn notice(payload: &[u8]) -> Option<Message> {
    Some(Message::Told(Notice::new(std::str::from_utf8(payload).ok()?)))
}

/// Learns from a message which offsets Redis has given.
fn learn(redis: &Inner, message: &Message) {
    match message {
        Message::Entry { epoch, entry, .. } => redis.learn(Cursor { epoch: *epoch, offset: entry.offset }),
        Message::Ended { epoch, offset, .. } => redis.learn(Cursor { epoch: *epoch, offset: *offset }),
        Message::Level(level) => redis.learn(*level),
        Message::Watching(_) | Message::Closed(_) | Message::Ephemeral(_) | Message::Told(_) => {}
    }
}
