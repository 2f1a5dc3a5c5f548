//! Reading a channel from the store, without a subscription.

use std::time::Duration;

use super::{mirror::put, remote::Remote};
use crate::{
    backend::{About, Held, Progress},
    error::BackendError,
    hub::{
        ChannelState, Info, Page,
        coverage::Coverage,
        engine::{Hub, now},
        page::Reading,
    },
    log::{Log, Retention},
    wire::{
        cursor::{Cursor, EventId, Id, Offset},
        encoded::EncodedEvent,
        name::{ChannelName, ClientId},
    },
};

/// Returns the retention of a log that holds everything the store returned for as long as it is looked at. Which part
/// of it is history is up to `retention`.
fn looked_at(retention: Option<Retention>) -> Retention {
    let all = Retention::new().bytes(usize::MAX).age(Duration::MAX);
    // The part that is only for connected readers depends on how much there is.
    match retention.filter(Retention::is_lag_apart) {
        Some(retention) => all.events(retention.max_events()).lag(usize::MAX),
        None => all.events(usize::MAX),
    }
}

/// The result of reading a part of a channel.
struct Part {
    log: Log,
    level: Cursor,
    /// The channel's last event of all.
    head: Offset,
    before: Option<Cursor>,
    /// The last event that was read, or the offset to read after if there was none.
    upto: Offset,
    more: bool,
}

impl Part {
    /// Returns the cursor to go on from once everything was read. If events of the channel may have been lost with the
    /// previous epoch, after those that are held, and the page does not tell so, a later one has to.
    fn end(&self, reading: &Reading) -> Cursor {
        let was_cut = self.before.is_some_and(|before| Offset::START < self.head && self.head <= before.offset);
        match was_cut && !reading.tells_of_an_epoch() {
            true => Cursor { offset: Offset::START, ..self.level },
            false => self.level,
        }
    }
}

impl Remote {
    /// Reads up to `limit` events for a client, or for everybody if `client` is `None`.
    pub(crate) async fn read(
        &self,
        hub: &Hub,
        name: &ChannelName,
        client: Option<&ClientId>,
        after: Option<&EventId>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let mut part = match after.map(EventId::kind) {
            None => self.read_part(hub, name, Offset::START, limit).await?,
            Some(Id::Custom(_)) => self.read_part(hub, name, Offset::START, usize::MAX).await?,
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) => self.read_after(hub, name, *cursor, limit).await?,
        };
        let view = part.log.view_for(client);
        let before = part.before;
        // If anything followed the previous epoch, the store hides it.
        let translate = |cursor: Cursor| Coverage::place_in(before, cursor);
        let upto = if part.more { part.upto } else { part.level.offset };
        let mut reading = Reading::begin(&part.log, view, after, part.level, upto, translate);
        loop {
            let view = part.log.view_for(client);
            reading.take(&part.log, view, limit, usize::MAX);
            if !part.more || reading.len() >= limit {
                // Nothing before the last of these events was left out.
                let end = part.end(&reading);
                return Ok(reading.into_page(name, after, end, part.more));
            }
            // Some of the events that were read are not for this reader.
            reading.skip_to(part.upto);
            let next = self.read_part(hub, name, part.upto, limit).await?;
            let view = next.log.view_for(client);
            if next.level.epoch != part.level.epoch || reading.has_lagged(&next.log, view) {
                return Ok(reading.into_page(name, after, part.level, true));
            }
            part = next;
        }
    }

    /// Reads what follows a cursor. Reads everything if events may be missing after that cursor.
    async fn read_after(
        &self,
        hub: &Hub,
        name: &ChannelName,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Part, BackendError> {
        if cursor.offset > Offset::START {
            let held = self.read_held(hub, name, cursor.offset, limit).await?;
            let is_known = held.epoch == cursor.epoch && cursor.offset <= held.level;
            // In a partial read, the marks only tell whether there may be more to know.
            if is_known && held.marks.highest() <= cursor.offset {
                return Ok(part_of(hub, cursor.offset, held));
            }
        }
        self.read_part(hub, name, Offset::START, usize::MAX).await
    }

    async fn read_part(
        &self,
        hub: &Hub,
        name: &ChannelName,
        after: Offset,
        limit: usize,
    ) -> Result<Part, BackendError> {
        Ok(part_of(hub, after, self.read_held(hub, name, after, limit).await?))
    }

    async fn read_held(
        &self,
        hub: &Hub,
        name: &ChannelName,
        after: Offset,
        limit: usize,
    ) -> Result<Held, BackendError> {
        let (link, progress) = (&self.link, Progress::new());
        let retention = link.retention_of(hub, name);
        let read = async |limit| {
            let read = link.backend.read_some(name.clone(), after, retention, limit, progress.clone());
            link.while_it_goes_on("read", &progress, read).await.map(Held::without_damage)
        };
        // Reads at least one event, which tells how far the channel is.
        let mut held = read(limit.max(1)).await?;
        held.retention = held.retention.or(retention);
        if held.more && held.retention.as_ref().is_some_and(Retention::is_lag_apart) {
            held = Held { retention: held.retention, ..read(usize::MAX).await? };
        }
        Ok(held)
    }

    /// Describes a channel's state.
    pub(crate) async fn info(&self, hub: &Hub, name: &ChannelName) -> Result<Info, BackendError> {
        let (link, progress) = (&self.link, Progress::new());
        let about = link.backend.about(name.clone(), link.retention_of(hub, name), progress.clone());
        let About { epoch, head, finished, first, events, bytes, newest } =
            link.while_it_goes_on("about", &progress, about).await?;
        let cursor = |offset| Cursor { epoch, offset };
        let last_event = newest.filter(|entry| entry.is_whole()).map(|entry| entry.seal(epoch).0);
        Ok(Info {
            state: ChannelState::of(finished, head.is_some()),
            first: first.map(cursor),
            last: head.map(cursor),
            events,
            bytes,
            last_event: last_event.map(|sealed| EncodedEvent::new(name.clone(), epoch, sealed)),
        })
    }
}

fn part_of(hub: &Hub, after: Offset, held: Held) -> Part {
    let Held { epoch, level, head, entries, marks, finished, since, before, more, retention, .. } = held;
    let now = now();
    let retention = looked_at(retention);
    let began = Coverage::began(retention, now);
    let mut log = Log::new(retention, marks.into_tombstone(finished, since), began);
    let upto = entries.last().map_or(after, |entry| entry.offset);
    log.is_read();
    for entry in entries {
        put(hub, &mut log, epoch, entry, now);
    }
    Part { log, level: Cursor { epoch, offset: level }, head, before, upto, more }
}
