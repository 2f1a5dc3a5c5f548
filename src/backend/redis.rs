//! A backend in Redis, or in any server that speaks its protocol and runs its scripts, such as Valkey.
//!
//! All keys of a hub share one prefix and one hash slot, so that a script can append, evict and push in one step, also
//! on a Redis Cluster. These are the keys:
//!
//! | key, after `{prefix}:` | what |
//! | --- | --- |
//! | `hub` | hash: the epoch, the last offset, how long it is to live |
//! | `t` | sorted set: which offset had been given when, some sixty-four times |
//! | `s:<channel>` | stream: the events that are held, by offset; with whom they are not for |
//! | `u:<channel>` | hash: the custom ids of these |
//! | `m:<channel>` | hash: what is known of the channel; outlives the stream |
//! | `c:<channel>` | sorted set: the last event of each client; lives as long as `m` |
//! | `i:<channel>\0<key>` | the epoch and the offset of the event with an idempotency key, and its custom id |
//! | `nodes`, `p:<node>` | who is connected |
//!
//! No key has the epoch in its name. A channel, its finished state, and the idempotency keys that it has seen therefore
//! outlive an epoch. A hub's offsets continue from one epoch to the next, and the loss between two epochs takes an
//! offset of its own (the hub's field `b`). A channel's older events can be replayed until an event of the new epoch
//! follows them. That event would hide the hole, so from then on everything before it counts as evicted. A finished
//! channel stays whole: a server has everything that it was given up to some moment, and the last event is part of
//! that.
//!
//! Events of a channel are pushed through `f:<database>:<channel>`, levels for one node through `l:<number>`, and
//! notices from one node to the others through `a:<database>`.

mod builder;
mod feed;
mod held;
mod info;
mod keys;
mod link;
mod part;
mod presence;
mod read;
mod reading;
mod scripts;
mod sentinel;
mod servers;
#[cfg(fuzzing)]
pub mod stored;
mod subscriber;
mod tls;
mod value;

use std::{fmt, sync::Arc, time::Duration};

use redis::{Script, ScriptInvocation, Value};
use tokio::sync::Semaphore;

pub use self::builder::RedisBuilder;
use self::{
    held::{OfAll, millis},
    keys::Keys,
    link::Link,
    presence::Said,
    scripts::Scripts,
};
use super::{
    About, Append, Appended, Backend, BackendFuture, Connected, Ephemeral, Heads, Held, Messages, NewEvent, Notice,
    Presence, Progress, Requests, Streams,
};
use crate::{
    error::BackendError,
    log::Retention,
    random,
    sync::{Mutex, lock},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

/// A [`Backend`](crate::backend::Backend) in Redis, version 6.2 or later, or Valkey.
///
/// It uses one connection for commands, which its clones share, and one more for each hub that has readers. It opens
/// both when they are needed, and opens them again when they fail.
///
/// ```
/// use tower_sse::{Publisher, Redis};
///
/// let publisher = Publisher::builder().backend(Redis::new("redis://127.0.0.1")?).build();
/// # drop(publisher);
/// # Ok::<_, tower_sse::BackendError>(())
/// ```
///
/// Redis may lose events that it has acknowledged. With `appendonly yes` it loses up to the last second when its
/// machine fails, and nothing with `appendfsync always`. A replica that takes over lacks what had not reached it. A new
/// [`Epoch`] begins when a replica takes over, when a node finds that acknowledged events are gone, or when all data
/// are gone. Every reader then gets a gap, followed by the remaining events that it has not seen. A restart that loses
/// nothing is invisible to readers.
///
/// A server that evicts keys is [refused](RedisBuilder::allow_eviction): set `maxmemory-policy noeviction`.
///
/// The repository's `docs/scaling.md` describes what it costs, and what saturates first.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    link: Link,
    keys: Keys,
    scripts: Scripts,
    tombstones: Duration,
    window: Duration,
    /// What the nodes that use this backend ask to be held of all channels.
    held: OfAll,
    /// Turns to read a page of a channel.
    pages: Semaphore,
    /// The epoch, 0 if it is not known, and the highest offset of it that Redis is known to have given.
    known: Mutex<Cursor>,
    /// The number of the node that last reported who is connected, and the part of its report that Redis has taken.
    said: Mutex<Said>,
}

/// Adds the first arguments of a script: the last offset that the node knows to be given, and an epoch to begin if that
/// offset is lost.
fn tell(known: Cursor, ask: &mut ScriptInvocation<'_>) {
    ask.arg(known.epoch.to_string()).arg(known.offset.get()).arg(random_epoch().to_string());
}

impl Inner {
    /// Asks the hub for its epoch, creates the hub if there is none, and has the last offset pushed to `node`. Returns
    /// whether the hub pushes to its shard of a cluster, which is decided when the hub is created.
    async fn level(&self, node: &str) -> Result<bool, BackendError> {
        let sharded = self.link.is_sharded().await?;
        let mut ask = self.scripts.level.key(self.keys.hub());
        ask.key(self.keys.index());
        tell(self.known(), &mut ask);
        self.held.get().tell(&mut ask);
        // Lasts until well after the next question: if the hub expired, readers of a quiet hub would get a gap for the
        // new epoch.
        ask.arg(millis(self.tombstones)).arg(node).arg(u8::from(sharded)).arg(u8::from(self.link.allows_eviction()));
        let answer = self.link.ask(&ask).await?;
        let [epoch, _last, sharded] = value::list(&answer) else { return Err(value::unexpected()) };
        self.begin(value::epoch(epoch).ok_or_else(value::unexpected)?);
        Ok(value::is(sharded, "1"))
    }

    fn known(&self) -> Cursor {
        *lock(&self.known)
    }

    /// Records that the hub is in this epoch. If the epoch has changed, no offset of it is known.
    fn begin(&self, epoch: Epoch) {
        let mut known = lock(&self.known);
        if known.epoch != epoch {
            *known = Cursor { epoch, offset: Offset::START };
        }
    }

    /// Records that Redis has given this offset, and never will again in this epoch.
    fn learn(&self, given: Cursor) {
        let mut known = lock(&self.known);
        if known.epoch == given.epoch {
            known.offset = known.offset.max(given.offset);
        }
    }

    /// Runs a script for the known epoch. Runs it again if that is not the current epoch.
    async fn ask<'a>(&'a self, make: impl Fn(Cursor) -> ScriptInvocation<'a>) -> Result<(Epoch, Value), BackendError> {
        for _ in 0..3 {
            if self.known().epoch == UNKNOWN {
                self.level("").await?;
            }
            let known = self.known();
            let answer = self.link.ask(&make(known)).await?;
            match value::list(&answer) {
                [kind, other] if value::is(kind, "epoch") => match value::epoch(other) {
                    Some(epoch) => self.begin(epoch),
                    // There is no hub.
                    None => drop(self.level("").await?),
                },
                _ => return Ok((known.epoch, answer)),
            }
        }
        Err(changes_too_often())
    }

    /// Adds the keys and arguments with which every script about a channel begins.
    fn of_channel<'a>(&self, script: &'a Script, known: Cursor, channel: &ChannelName) -> ScriptInvocation<'a> {
        let mut ask = script.key(self.keys.hub());
        tell(known, &mut ask);
        ask.key(self.keys.index());
        for key in self.keys.of_channel(channel) {
            ask.key(key);
        }
        ask
    }

    async fn append(&self, append: Append) -> Result<Appended, BackendError> {
        let Append { channel, events, retention, fence, expected, last } = &append;
        let wish = self.held.with(*retention);
        let (epoch, answer) = self
            .ask(|known| {
                let mut ask = self.of_channel(&self.scripts.append, known, channel);
                wish.tell(&mut ask);
                ask.arg(millis(self.tombstones)).arg(self.keys.feed(channel)).arg(u8::from(*last));
                ask.arg(Retention::cost(0)).arg(millis(self.window)).arg(self.keys.once(channel, ""));
                ask.arg(fence.map_or_else(String::new, value::write_fence));
                ask.arg(expected.map_or_else(String::new, value::write_expected));
                for NewEvent { client, bytes, id, key, except } in events {
                    ask.arg(&bytes[..]).arg(client.as_ref().map_or("", |client| client.as_str()));
                    ask.arg(id.as_ref().map_or("", |id| id.as_str())).arg(key.as_ref().map_or("", |key| key.as_str()));
                    ask.arg(value::write_exception(except.as_ref()));
                    if let Some(key) = key {
                        ask.key(self.keys.once(channel, key.as_str()));
                    }
                }
                ask
            })
            .await?;
        let appended = value::appended(epoch, events.len(), &answer).ok_or_else(value::unexpected)?;
        if let Appended::At(places) = &appended {
            places.iter().filter(|place| !place.repeated).for_each(|place| self.learn(place.cursor));
        }
        Ok(appended)
    }

    /// Pushes an ephemeral event to the nodes that watch its channel.
    async fn pass(&self, event: Ephemeral) -> Result<(), BackendError> {
        let Ephemeral { channel, client, except, bytes } = &event;
        let mut ask = self.scripts.pass.key(self.keys.hub());
        ask.arg(self.keys.feed(channel)).arg(client.as_ref().map_or("", |client| client.as_str()));
        ask.arg(value::write_exception(except.as_ref())).arg(&bytes[..]);
        self.link.ask(&ask).await.map(drop)
    }

    async fn heads(&self, channels: Vec<ChannelName>) -> Result<Heads, BackendError> {
        let (epoch, answer) = self
            .ask(|known| {
                let mut ask = self.scripts.heads.key(self.keys.hub());
                tell(known, &mut ask);
                ask.key(self.keys.index());
                for channel in &channels {
                    ask.key(self.keys.meta(channel));
                }
                ask
            })
            .await?;
        value::heads(epoch, &answer)
            .filter(|heads| heads.channels.len() == channels.len())
            .ok_or_else(value::unexpected)
    }

    async fn close(&self, channel: ChannelName) -> Result<(), BackendError> {
        // A channel that is already remembered for longer keeps its longer life.
        let life = millis(self.tombstones.saturating_mul(2));
        self.ask(|known| {
            let mut ask = self.of_channel(&self.scripts.close, known, &channel);
            ask.arg(self.keys.feed(&channel)).arg(life);
            ask
        })
        .await?;
        Ok(())
    }

    async fn renew(&self, lost: Epoch) -> Result<Epoch, BackendError> {
        let mut ask = self.scripts.renew.key(self.keys.hub());
        let known = self.known();
        let known = if known.epoch == lost { known.offset } else { Offset::START };
        ask.arg(lost.to_string()).arg(random_epoch().to_string()).arg(known.get());
        let answer = self.link.ask(&ask).await?;
        let epoch = value::epoch(&answer).ok_or_else(value::unexpected)?;
        self.begin(UNKNOWN);
        Ok(epoch)
    }
}

fn changes_too_often() -> BackendError {
    BackendError::new("the epoch changes again and again")
}

/// An epoch that no hub has.
const UNKNOWN: Epoch = Epoch::from_bits(0);

fn random_epoch() -> Epoch {
    // Never `UNKNOWN`.
    Epoch::from_bits(random::bits() | 1)
}

impl Backend for Redis {
    fn append(&self, append: Append) -> BackendFuture<'_, Appended> {
        Box::pin(self.0.append(append))
    }

    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        Box::pin(self.0.pass(event))
    }

    fn hold(&self, retention: Retention) {
        self.0.held.set(retention);
    }

    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held> {
        self.read_paged(channel, after, Some(retention), Progress::new())
    }

    fn read_paged(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        Box::pin(async move { self.0.read(channel, after, retention, &progress).await })
    }

    fn read_some(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        limit: usize,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        Box::pin(async move { self.0.read_some(channel, after, retention, limit, &progress).await })
    }

    fn about(
        &self,
        channel: ChannelName,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, About> {
        Box::pin(async move { self.0.about(channel, retention, &progress).await })
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        Box::pin(self.0.heads(channels))
    }

    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()> {
        Box::pin(self.0.close(channel))
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        Box::pin(self.0.renew(lost))
    }

    fn feed(&self, requests: Requests, messages: Messages) -> BackendFuture<'_, ()> {
        Box::pin(feed::run(&self.0, requests, messages))
    }

    fn tell(&self, notice: Notice) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            let mut ask = self.0.scripts.tell.key(self.0.keys.hub());
            ask.arg(self.0.keys.told()).arg(notice.as_str());
            self.0.link.ask(&ask).await.map(drop)
        })
    }

    fn count(&self, streams: Streams) -> BackendFuture<'_, bool> {
        Box::pin(self.0.count(streams))
    }

    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        Box::pin(self.0.refresh(present))
    }

    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        Box::pin(self.0.present(channel))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Leaves out the address, which may contain a password.
        f.debug_struct("Redis").field("keys", &self.0.keys).finish_non_exhaustive()
    }
}
