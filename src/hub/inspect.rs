//! Lists the channels of the hub, and the readers of one channel, for whoever inspects the hub. Each list has a limit, and
//! is made in slices.

use std::{cmp::Reverse, collections::BTreeMap, time::Instant};

use super::{
    engine::Hub,
    registry::SHARDS,
    state::{Shared, State},
};
use crate::wire::name::{ChannelName, ClientId, ConnectionId};

/// The order in which channels are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// By name, from the first one after the text on.
    NameAfter(String),
    /// Those with the most readers first.
    Readers,
}

/// The channels to list.
pub(crate) struct Search {
    /// A part of the name. Every name has the empty one.
    pub(crate) text: String,
    pub(crate) order: Order,
    pub(crate) limit: usize,
}

/// The channels that a search has found.
#[derive(Default)]
pub(crate) struct Found {
    /// At most as many as the limit, in order.
    pub(crate) channels: Vec<Summary>,
    /// How many there are in all, without those before the name at which the list begins.
    pub(crate) all: usize,
}

/// A channel that has a reader or an event.
pub(crate) struct Summary {
    pub(crate) name: ChannelName,
    pub(crate) readers: usize,
    /// The events that are held here, and their bytes.
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) finished: bool,
}

/// A reader of a channel.
pub(crate) struct ReaderInfo {
    pub(crate) client: Option<ClientId>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) since: Instant,
    pub(crate) events: u64,
    pub(crate) of_several: bool,
}

/// How many slices of readers one call looks at. It finds nothing in them if so many readers have left, and the next call
/// goes on.
const SLICES: usize = 16;

impl Hub {
    /// Returns the channels that have a reader or an event. Yields after each shard, which is locked while it is copied.
    /// A channel that comes or goes in the meantime may or may not be included.
    pub(crate) async fn search(&self, search: &Search) -> Found {
        let (mut best, mut all) = (BTreeMap::new(), 0);
        for shard in 0..SHARDS {
            for shared in self.registry.in_shard(shard) {
                let Some(summary) = shared.summary(search) else { continue };
                all += 1;
                let rank = if search.order == Order::Readers { summary.readers } else { 0 };
                best.insert((Reverse(rank), summary.name.clone()), summary);
                if best.len() > search.limit {
                    best.pop_last();
                }
            }
            tokio::task::yield_now().await;
        }
        Found { channels: best.into_values().collect(), all }
    }

    /// Returns up to `limit` readers of a channel, starting at the number `from`, and the number to continue with, if
    /// there may be more. There may be fewer, or none, although there are more.
    pub(crate) fn readers_of(&self, name: &ChannelName, from: u32, limit: usize) -> (Vec<ReaderInfo>, Option<u32>) {
        let (mut readers, mut next) = (Vec::new(), Some(from));
        // Looks at a slice under each lock.
        for _ in 0..SLICES {
            let Some(from) = next.filter(|_| readers.len() < limit) else { break };
            let look = |state: &State| state.readers_in(from, limit - readers.len());
            let (more, after) = self.look_at(name, look).unwrap_or_default();
            readers.extend(more);
            next = after;
        }
        (readers, next)
    }
}

impl Shared {
    /// Returns what is to be listed of the channel, if it belongs to the search.
    fn summary(&self, search: &Search) -> Option<Summary> {
        let name = &self.name;
        let is_before = matches!(&search.order, Order::NameAfter(after) if name.as_str() <= after.as_str());
        if is_before || !name.as_str().contains(&search.text) {
            return None;
        }
        let state = self.look();
        let ((events, bytes), finished) = (state.log.size(), state.log.is_finished());
        let summary = Summary { name: name.clone(), readers: state.readers.live(), events, bytes, finished };
        (!state.dropped && !state.is_idle()).then_some(summary)
    }
}

impl State {
    fn readers_in(&self, from: u32, most: usize) -> (Vec<ReaderInfo>, Option<u32>) {
        let (visitors, next) = self.readers.visitors(from, most);
        let readers = visitors.into_iter().map(|visitor| ReaderInfo {
            client: visitor.lane.and_then(|lane| self.log.client_of(lane)).cloned(),
            connection: visitor.connection.cloned(),
            since: visitor.since,
            events: visitor.events,
            of_several: visitor.of_several,
        });
        (readers.collect(), next)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        Event, Grant, Publisher, Subscription,
        hub::{
            HubSettings,
            readers::{ReaderId, SLICE},
            seats::Seat,
            state::work::LOOKS,
        },
        log::Limit,
    };

    const CHAT: ChannelName = ChannelName::from_static("chat");

    /// A channel that this many readers have entered.
    fn read_by(count: usize) -> (Hub, Vec<ReaderId>) {
        let hub = Hub::new(HubSettings::default(), None);
        let seat = |hub: &Hub| -> Arc<Seat> { hub.seats.take().unwrap() };
        let enter = |_| hub.with_channel(&CHAT, |_, state| state.readers.insert(None, seat(&hub))).unwrap();
        let readers = (0..count).map(enter).collect();
        (hub, readers)
    }

    #[test]
    fn readers_are_looked_at_in_slices_and_a_call_looks_at_few_slices() {
        let (hub, readers) = read_by((SLICES + 2) * SLICE);
        // All but the last one leave, and their places stay for a while.
        for id in &readers[..readers.len() - 1] {
            hub.with_existing(&CHAT, |state| drop(state.readers.remove(*id)));
        }
        LOOKS.set(0);
        let (found, next) = hub.readers_of(&CHAT, 0, 10);
        assert_eq!((found.len(), next, LOOKS.get()), (0, Some((SLICES * SLICE) as u32), SLICES));
        let (found, next) = hub.readers_of(&CHAT, next.unwrap(), 10);
        assert_eq!((found.len(), next), (1, None));
    }

    #[test]
    fn a_page_of_readers_continues_where_the_page_before_ended() {
        let (hub, _) = read_by(25);
        let (mut from, mut pages) = (Some(0), Vec::new());
        while let Some(number) = from {
            let (readers, next) = hub.readers_of(&CHAT, number, 10);
            pages.push(readers.len());
            from = next;
        }
        assert_eq!(pages, [10, 10, 5]);
    }

    #[test]
    fn an_event_that_does_not_fit_and_is_taken_again_counts_once() {
        const NEWS: ChannelName = ChannelName::from_static("news");
        let publisher = Publisher::new();
        let mut reader = done(Subscription::open(&publisher, Grant::new([CHAT, NEWS]))).unwrap();
        done(publisher.channel("chat").send(Event::text("short"))).unwrap();
        done(publisher.channel("news").send(Event::text("x".repeat(Limit::CHUNK.bytes)))).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let chunks = std::iter::from_fn(|| match reader.poll_chunk(&mut cx) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        });
        assert_eq!(chunks.count(), 2);
        let events = |name| reader.hub().readers_of(&name, 0, 10).0[0].events;
        assert_eq!((events(CHAT), events(NEWS)), (1, 1));
    }

    fn done<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("in process it is ready at once")
    }
}
