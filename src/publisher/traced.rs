//! Gives events the trace in which they are published, if the hub is set to.

use crate::{
    hub::{Batch, Hub},
    wire::event::Event,
};

/// Returns the event with the current trace, unless it says one.
#[inline]
pub(super) fn traced(hub: &Hub, event: Event) -> Event {
    let current = hub.settings.traceparent.as_ref().filter(|_| event.trace().is_none());
    match current.and_then(|current| current()) {
        Some(parent) => event.traceparent(parent),
        None => event,
    }
}

/// Does the same for all events of a batch.
pub(super) fn all_traced(hub: &Hub, batch: Batch) -> Batch {
    if hub.settings.traceparent.is_none() {
        return batch;
    }
    let events = batch.events.into_iter().map(|(client, event)| (client, traced(hub, event))).collect();
    Batch { events, ..batch }
}
