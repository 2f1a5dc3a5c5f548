//! Reading a channel. A script returns what is known of the channel and its newest events, and plain commands return
//! all others. Each command holds Redis for as long as a page takes.

use std::{pin::pin, time::Duration};

use redis::{Cmd, Value};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{
    Inner, changes_too_often,
    held::{Wish, millis},
    part::{self, Answer, Part},
    reading::Reading,
    value,
};
use crate::{
    backend::{About, Held, Progress},
    error::BackendError,
    log::Retention,
    wire::{
        cursor::{Epoch, Offset},
        name::ChannelName,
    },
};

/// The number of clients in one reply.
const CLIENTS: usize = 250;
/// How often, at most, to list again the clients that got something while the others were listed.
const LISTINGS: usize = 5;
/// How many pages may be requested at once. A publish waits behind all of them.
pub(super) const PAGES: usize = 4;
/// How often a read that waits for its turn reports progress.
const WAITING: Duration = Duration::from_millis(100);

impl Inner {
    pub(super) async fn read(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: &Progress,
    ) -> Result<Held, BackendError> {
        let wish = self.held.with(retention);
        for _ in 0..3 {
            if let Some(held) = self.read_pages(&channel, after, wish, progress).await? {
                return Ok(held);
            }
        }
        Err(changes_too_often())
    }

    /// Reads a channel page by page. Returns `None` if the epoch has changed.
    async fn read_pages(
        &self,
        channel: &ChannelName,
        after: Offset,
        wish: Wish,
        progress: &Progress,
    ) -> Result<Option<Held>, BackendError> {
        let mut reading = Reading::new(after);
        if !self.begin_reading(channel, wish, &mut reading, progress).await? {
            return Ok(None);
        }
        self.note_if(reading.is_wish_new(), channel, wish).await;
        let stream = self.keys.stream(channel);
        while let Some((before, count)) = reading.next() {
            let mut page = redis::cmd("XREVRANGE");
            page.arg(&stream).arg(format!("({before}-0")).arg(format!("({after}-0")).arg("COUNT").arg(count);
            let Some(events) = self.ask_page(reading.epoch(), page, progress).await? else { return Ok(None) };
            reading.take(count, &events).ok_or_else(value::unexpected)?;
        }
        Ok(Some(reading.finish()))
    }

    /// Reads no more than the oldest `limit` events after `after`.
    pub(super) async fn read_some(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        limit: usize,
        progress: &Progress,
    ) -> Result<Held, BackendError> {
        if (1..usize::MAX).contains(&limit) {
            let wish = self.held.with(retention);
            if let Some(held) = self.read_part(&channel, after, wish, limit, progress).await? {
                return Ok(held);
            }
        }
        let mut held = self.read(channel, after, retention, progress).await?;
        held.cut(limit);
        Ok(held)
    }

    /// Reads a part of a channel. Returns `None` if everything that follows has to be read.
    async fn read_part(
        &self,
        channel: &ChannelName,
        after: Offset,
        wish: Wish,
        limit: usize,
        progress: &Progress,
    ) -> Result<Option<Held>, BackendError> {
        let ask = |known| {
            let mut ask = self.of_channel(&self.scripts.part, known, channel);
            wish.tell(&mut ask);
            ask.arg(after.get()).arg(limit);
            ask
        };
        let (epoch, answer) = self.ask(ask).await?;
        let mut part = match Part::begin(epoch, after, limit, &answer).ok_or_else(value::unexpected)? {
            Answer::Some(part) => part,
            Answer::All => return Ok(None),
        };
        self.note_if(part.is_wish_new(), channel, wish).await;
        let stream = self.keys.stream(channel);
        while let Some((after, upto, count)) = part.next() {
            let mut page = redis::cmd("XRANGE");
            page.arg(&stream).arg(format!("({after}-0")).arg(format!("{upto}-0")).arg("COUNT").arg(count);
            match self.ask_page(part.epoch(), page, progress).await? {
                Some(events) => part.take(count, &events),
                None => return Ok(None),
            }
        }
        Ok((!part.is_damaged()).then(|| part.finish()))
    }

    /// Returns how a channel is.
    pub(super) async fn about(
        &self,
        channel: ChannelName,
        retention: Option<Retention>,
        progress: &Progress,
    ) -> Result<About, BackendError> {
        let wish = self.held.with(retention);
        let ask = |known| {
            let mut ask = self.of_channel(&self.scripts.about, known, &channel);
            wish.tell(&mut ask);
            ask
        };
        let (epoch, answer) = self.ask(ask).await?;
        match part::about(epoch, &answer).ok_or_else(value::unexpected)? {
            Answer::Some((about, is_wish_new)) => {
                self.note_if(is_wish_new, &channel, wish).await;
                Ok(about)
            }
            Answer::All => Ok(About::of(self.read(channel, Offset::START, retention, progress).await?)),
        }
    }

    /// Asks for a page of a channel, once it is its turn. Returns `None` if the epoch has changed.
    async fn ask_page(&self, epoch: Epoch, page: Cmd, progress: &Progress) -> Result<Option<Value>, BackendError> {
        progress.made();
        let _turn = self.turn(progress).await;
        self.ask_in(epoch, page).await
    }

    /// Waits for a turn to request a page. A turn always comes, since those who have one get an answer or time out.
    async fn turn(&self, progress: &Progress) -> Option<SemaphorePermit<'_>> {
        let mut turn = pin!(self.pages.acquire());
        loop {
            match timeout(WAITING, &mut turn).await {
                // The semaphore is never closed.
                Ok(turn) => return turn.ok(),
                Err(_) => progress.made(),
            }
        }
    }

    /// Reads what is known of the channel, as of one moment, with all clients that it remembers. Lists again the
    /// clients that got something while others were listed. Returns `false` if the epoch has changed.
    async fn begin_reading(
        &self,
        channel: &ChannelName,
        wish: Wish,
        reading: &mut Reading,
        progress: &Progress,
    ) -> Result<bool, BackendError> {
        let mut listed = Offset::START;
        for _ in 0..LISTINGS {
            let before = reading.epoch();
            let (epoch, answer) = self.ask_read(channel, wish, reading, listed).await?;
            if listed > Offset::START && epoch != before {
                return Ok(false);
            }
            let (mut newest, mut count) = reading.begin(epoch, &answer).ok_or_else(value::unexpected)?;
            if count < CLIENTS {
                return Ok(true);
            }
            while count == CLIENTS {
                let mut page = redis::cmd("ZRANGEBYSCORE");
                page.arg(self.keys.clients(channel)).arg(format!("({newest}")).arg("+inf");
                page.arg("WITHSCORES").arg("LIMIT").arg(0).arg(CLIENTS);
                progress.made();
                let Some(clients) = self.ask_in(epoch, page).await? else { return Ok(false) };
                (newest, count) = reading.take_clients(&clients).ok_or_else(value::unexpected)?;
            }
            listed = reading.level();
        }
        reading.forget_clients();
        Ok(true)
    }

    async fn ask_read(
        &self,
        channel: &ChannelName,
        wish: Wish,
        reading: &Reading,
        listed: Offset,
    ) -> Result<(Epoch, Value), BackendError> {
        let clients = if reading.is_whole() { CLIENTS } else { 0 };
        self.ask(|known| {
            let mut ask = self.of_channel(&self.scripts.read, known, channel);
            wish.tell(&mut ask);
            ask.arg(reading.after().get()).arg(listed.get()).arg(clients);
            ask
        })
        .await
    }

    /// Has the hub note what is to be held of a channel, if that is new.
    async fn note_if(&self, is_new: bool, channel: &ChannelName, wish: Wish) {
        if is_new {
            // Reading needs no memory, but this does. If the server has none left, the hub does not note it, and what
            // the node asks for may no longer be held.
            let _ = self.note(channel, wish).await;
        }
    }

    async fn note(&self, channel: &ChannelName, wish: Wish) -> Result<(), BackendError> {
        let noted = self.ask(|known| {
            let mut ask = self.of_channel(&self.scripts.hold, known, channel);
            wish.tell(&mut ask);
            ask.arg(millis(self.tombstones));
            ask
        });
        noted.await.map(drop)
    }

    /// Runs a plain command and returns its answer, or `None` if the epoch has changed.
    async fn ask_in(&self, epoch: Epoch, command: Cmd) -> Result<Option<Value>, BackendError> {
        let mut both = redis::pipe();
        both.add_command(command).cmd("HGET").arg(self.keys.hub()).arg("e");
        let answer = self.link.run(&both).await?;
        match value::list(&answer) {
            [answer, current] if value::epoch(current) == Some(epoch) => Ok(Some(answer.clone())),
            [_, current] => {
                self.begin(value::epoch(current).unwrap_or(super::UNKNOWN));
                Ok(None)
            }
            _ => Err(value::unexpected()),
        }
    }
}
