//! The crate's own events: `gap` when events may be lost, `goodbye` when a reader should not reconnect, and `cursor`
//! for the position at which a fresh reader starts.
//!
//! All are plain named events, so that a browser's `EventSource` can listen to them.

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::{
    cursor::{Cursor, EventId, Offset},
    encode::{write::DataWriter, write_field},
};

/// A notice that the reader may have missed events: what it resumes from, or something after that, is no longer held.
///
/// On the wire it is an event named `gap` whose data is a JSON object with three fields:
///
/// - `reason`: [`GapReason::as_str`]
/// - `requested`: the id that the reader resumed from, cut to 128 bytes, or `null` if it was already connected
/// - `first`: the offset of the first event that is still held for the reader, or `null` if there is none
///
/// The events that are still held follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Why there is a gap.
    pub reason: GapReason,
    /// The last event id that the reader sent, cut to 128 bytes. `None` if the reader was already connected.
    pub requested: Option<String>,
    /// The offset of the first event that is still held for this reader. `None` if there is none.
    pub first: Option<Offset>,
    /// The position from which the reader continues. It is the gap's id on the wire.
    pub cursor: Cursor,
}

/// Why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// Events after the last event id were evicted: by count, bytes or age, or together with their channel when it was
    /// dropped.
    Evicted,
    /// The last event id was not issued by this hub, or is a custom id that is no longer held.
    UnknownId,
    /// The last event id belongs to another epoch: since then, the log has lost some or all of its events, as by a
    /// restart.
    OtherEpoch,
    /// The reader was too slow: events were evicted before it had read them.
    Lagged,
}

impl GapReason {
    /// Returns the text that stands for this reason in a `gap` event.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Evicted => "evicted",
            GapReason::UnknownId => "unknown-id",
            GapReason::OtherEpoch => "other-epoch",
            GapReason::Lagged => "lagged",
        }
    }
}

/// The number of bytes of a requested id that are echoed back.
const REQUESTED_MAX: usize = 128;

impl Gap {
    pub(crate) fn new(reason: GapReason, requested: Option<&[u8]>, first: Option<Offset>, cursor: Cursor) -> Self {
        let requested = requested.map(|id| String::from_utf8_lossy(&id[..id.len().min(REQUESTED_MAX)]).into_owned());
        Self { reason, requested, first, cursor }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let data = json!({
            "reason": self.reason.as_str(),
            "requested": self.requested,
            "first": self.first.map(Offset::get),
        });
        encode("gap", &data, self.cursor)
    }
}

/// Why a subscription ended.
///
/// A reader that should not reconnect gets an event named `goodbye` whose data is JSON: `reason`, and `last_event_id`,
/// the position that the reader had reached.
///
/// An `EventSource` reconnects all the same, with the id of the `goodbye` itself in the header. The hub answers that id
/// with 204 every time, and the `EventSource` stops. A client that starts again later, for example because its user
/// asks for it, sends the `last_event_id` from the data instead, in the header or in the query, and misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Every channel was [finished](crate::Channel::finish), and the reader has read everything. A client that
    /// reconnects gets a 204. If the hub shuts down and won't be there to answer, the client is told not to reconnect.
    Finished,
    /// The client was [disconnected](crate::Publisher::disconnect). It is told not to reconnect.
    Disconnected,
    /// A newer connection of the same client took its place. It is told not to reconnect.
    Replaced,
    /// The channel was [closed](crate::Channel::close). The client is told not to reconnect.
    Closed,
    /// The hub is [shutting down](crate::Publisher::shutdown), or its last [`Publisher`](crate::Publisher) was dropped.
    /// The client is told when to reconnect.
    Shutdown,
    /// The grant expired. The client is told when to reconnect. It reconnects through the authorizer, with the
    /// credentials that it has by then, and misses nothing if it is let in.
    Expired,
    /// The client's access was [taken back](crate::Publisher::reauthorize). It is told not to reconnect.
    Revoked,
    /// The client is to be [authorized anew](crate::Publisher::reauthorize): it is told when to reconnect, and misses
    /// nothing if it is let in.
    Reauthorize,
}

impl EndReason {
    /// Returns the text that stands for this reason in a `goodbye` event.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Finished => "finished",
            EndReason::Disconnected => "disconnected",
            EndReason::Replaced => "replaced",
            EndReason::Closed => "closed",
            EndReason::Shutdown => "shutdown",
            EndReason::Expired => "expired",
            EndReason::Revoked => "revoked",
            EndReason::Reauthorize => "reauthorize",
        }
    }

    /// The event that tells the reader not to reconnect, if that is what this reason means. A browser reconnects all
    /// the same, so the event's id is one that the hub answers with 204: "a client can be told to stop reconnecting
    /// using the HTTP 204 No Content response code" (HTML, 9.2). The event also carries the reader's position, for a
    /// page that is let back in later.
    pub(crate) fn goodbye(self, cursor: Cursor) -> Option<Bytes> {
        match self {
            EndReason::Disconnected | EndReason::Replaced | EndReason::Closed | EndReason::Revoked => {
                Some(goodbye(self, cursor))
            }
            EndReason::Finished | EndReason::Shutdown | EndReason::Expired | EndReason::Reauthorize => None,
        }
    }
}

/// The goodbye to a reader that has read all there will ever be, for when no hub will be there to answer a reconnect.
pub(crate) fn completed(cursor: Cursor) -> Bytes {
    goodbye(EndReason::Finished, cursor)
}

fn goodbye(reason: EndReason, cursor: Cursor) -> Bytes {
    let data = json!({ "reason": reason.as_str(), "last_event_id": cursor.to_string() });
    encode("goodbye", &data, EventId::goodbye(cursor))
}

/// Writes the event that gives a fresh reader an id before its first event. Its data is empty because it has nothing to
/// tell a page. It has a `data` line because some clients ignore the id of a block without one.
pub(crate) fn write_announcement(out: &mut Vec<u8>, cursor: Cursor) {
    out.extend_from_slice(b"event: cursor\ndata: \n");
    write_field(out, "id", cursor);
    out.push(b'\n');
}

/// Writes a block that flushes what a client has kept of an event that was cut off before a reconnect.
///
/// The comment ends the line that the cut may have left open. The remainder then becomes an event under a name that
/// nobody listens to, and the id restores the last event id that the client sent, which the remainder may have changed;
/// `None` leaves the id as it is. If the client kept nothing, the block is no event: "If the data buffer is an empty
/// string, set the data buffer and the event type buffer to the empty string and return."
pub(crate) fn write_repair(out: &mut Vec<u8>, last_event_id: Option<impl fmt::Display>) {
    out.extend_from_slice(b":\nevent: -\n");
    if let Some(id) = last_event_id {
        write_field(out, "id", id);
    }
    out.push(b'\n');
}

fn encode(name: &str, data: &Value, id: impl fmt::Display) -> Bytes {
    let mut out = Vec::with_capacity(128);
    write_field(&mut out, "event", name);
    let mut lines = DataWriter::with_capacity(64);
    // The values are strings and numbers, written to memory: serialising them can't fail.
    let _ = serde_json::to_writer(&mut lines, data);
    out.extend_from_slice(&lines.finish());
    write_field(&mut out, "id", id);
    out.push(b'\n');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::Epoch;

    const CURSOR: Cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };

    /// Returns the name, the data and the id of an event that has exactly these lines.
    fn parts(bytes: &Bytes) -> (&str, Value, &str) {
        let lines: Vec<&str> = std::str::from_utf8(bytes).unwrap().split('\n').collect();
        let [name, data, id, "", ""] = lines[..] else { panic!("{lines:?}") };
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap(), data, id.strip_prefix("id: ").unwrap())
    }

    #[test]
    fn a_gap_carries_the_reason_the_requested_id_and_the_first_held_offset() {
        let reasons = [
            (GapReason::Evicted, "evicted"),
            (GapReason::UnknownId, "unknown-id"),
            (GapReason::OtherEpoch, "other-epoch"),
            (GapReason::Lagged, "lagged"),
        ];
        for (reason, text) in reasons {
            let gap = Gap::new(reason, Some(b"asked\xff"), Some(Offset::new(8)), CURSOR).encode();
            let data = json!({ "reason": text, "requested": "asked\u{fffd}", "first": 8 });
            assert_eq!(parts(&gap), ("gap", data, "000000000abc-7"));
        }
        let gap = Gap::new(GapReason::Lagged, None, None, CURSOR).encode();
        assert_eq!(parts(&gap).1, json!({ "reason": "lagged", "requested": null, "first": null }));
        let long = Gap::new(GapReason::UnknownId, Some(&[b'x'; 129]), None, CURSOR);
        assert_eq!(long.requested, Some("x".repeat(128)), "a requested id is cut to the length an id may have");
    }

    #[test]
    fn only_a_reader_that_should_not_reconnect_gets_a_goodbye() {
        let away = [EndReason::Disconnected, EndReason::Replaced, EndReason::Closed, EndReason::Revoked];
        for reason in away {
            let goodbye = reason.goodbye(CURSOR).unwrap();
            let data = json!({ "reason": reason.as_str(), "last_event_id": "000000000abc-7" });
            assert_eq!(parts(&goodbye), ("goodbye", data, "000000000abc-7-end"));
        }
        let ends = [EndReason::Finished, EndReason::Shutdown, EndReason::Expired, EndReason::Reauthorize];
        assert!(ends.iter().all(|reason| reason.goodbye(CURSOR).is_none()));
        assert_eq!(ends.map(EndReason::as_str), ["finished", "shutdown", "expired", "reauthorize"]);
        assert_eq!(away.map(EndReason::as_str), ["disconnected", "replaced", "closed", "revoked"]);
    }
}
