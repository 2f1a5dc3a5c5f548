//! The first bytes of a stream, before any event.

use std::time::Duration;

use super::retry::Retry;
use crate::wire::{
    cursor::{Cursor, EventId},
    encode::{retry_millis, write_comment, write_retry},
    notice::{write_announcement, write_repair},
};

/// What the first bytes contain. They are sent at once, so that the client and every proxy on the way see that the
/// stream is open.
#[derive(Debug)]
pub(crate) struct Preamble {
    /// First ends what WebKit has kept of a cut event: see `webkit`.
    pub(crate) repair: Option<Repair>,
    /// In milliseconds.
    pub(crate) retry: Option<u32>,
    /// Whether the first bytes also say where the reader starts.
    pub(crate) announce_cursor: bool,
}

/// The last event id that the client should have after the repair.
#[derive(Debug)]
pub(crate) enum Repair {
    /// The client sent none.
    NoId,
    /// The client sent this one.
    Id(EventId),
    /// The client sent one that the hub can't have issued. It keeps that id.
    Unknown,
}

impl Repair {
    /// The repair for a client that sent this last event id.
    pub(crate) fn of(last_event_id: Option<&[u8]>) -> Self {
        last_event_id.map_or(Self::NoId, |id| EventId::parse(id).map_or(Self::Unknown, Self::Id))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::NoId => write_repair(out, Some("")),
            Self::Id(id) => write_repair(out, Some(id)),
            Self::Unknown => write_repair(out, None::<&str>),
        }
    }
}

impl Default for Preamble {
    fn default() -> Self {
        let mut preamble = Self { repair: None, retry: None, announce_cursor: false };
        preamble.set_retry(Retry::default());
        preamble
    }
}

impl Preamble {
    pub(crate) fn set_retry(&mut self, retry: Retry) {
        self.retry = retry.draw().map(retry_millis);
    }

    /// Encodes the preamble.
    ///
    /// `retry:` takes effect as soon as its line is read. With a cursor, an event follows, with empty data, because
    /// Firefox and several other clients ignore the id of a block without data. Without a cursor, a comment follows,
    /// without a blank line.
    pub(crate) fn encode(&self, cursor: Option<Cursor>) -> Vec<u8> {
        const LONGEST: &str = "retry: 2147483647\nevent: cursor\ndata: \nid: 0123456789ab-18446744073709551615\n\n";
        let mut out = Vec::with_capacity(LONGEST.len());
        if let Some(repair) = &self.repair {
            repair.write(&mut out);
        }
        if let Some(retry) = self.retry {
            write_retry(&mut out, Duration::from_millis(retry.into()));
        }
        match cursor {
            Some(cursor) => write_announcement(&mut out, cursor),
            None => write_comment(&mut out, None),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::{Epoch, Offset};

    fn encode(repair: Option<Repair>, retry: Option<Duration>, cursor: Option<Cursor>) -> String {
        let mut preamble = Preamble { repair, ..Preamble::default() };
        preamble.set_retry(retry.into());
        String::from_utf8(preamble.encode(cursor)).unwrap()
    }

    #[test]
    fn only_whole_events_end_in_a_blank_line() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(encode(None, second, None), "retry: 1000\n:\n");
        assert_eq!(encode(None, None, None), ":\n");
        assert_eq!(encode(None, Some(Duration::MAX), None), "retry: 2147483647\n:\n");
        let cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };
        let announced = encode(None, Some(Duration::ZERO), Some(cursor));
        assert_eq!(announced, "retry: 0\nevent: cursor\ndata: \nid: 000000000abc-7\n\n");
        let repaired = encode(Some(Repair::of(Some(b"000000000abc-7"))), second, None);
        assert_eq!(repaired, ":\nevent: -\nid: 000000000abc-7\n\nretry: 1000\n:\n");
        assert_eq!(encode(Some(Repair::of(None)), second, None), ":\nevent: -\nid: \n\nretry: 1000\n:\n");
    }

    #[test]
    fn a_repair_never_repeats_an_id_that_the_hub_cannot_have_issued() {
        for id in [&b"\xff"[..], b"a b", b"x\ndata: forged", b"", b"0123456789ab-07"] {
            assert_eq!(encode(Some(Repair::of(Some(id))), None, None), ":\nevent: -\n\n:\n", "{id:?}");
        }
        assert_eq!(encode(Some(Repair::of(Some(b"order-1"))), None, None), ":\nevent: -\nid: order-1\n\n:\n");
    }
}
