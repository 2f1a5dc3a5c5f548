//! STUB
use crate::{
    channel::{grant::Grant, options::OpenOptions},
    cursor::Cursor,
    encode::EncodedEvent,
    error::OpenError,
    notice::{EndReason, Gap},
    publisher::Publisher,
};
use bytes::Bytes;
use futures_core::Stream;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// What a subscription yields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(EncodedEvent),
    /// Events before the next one may be lost.
    Gap(Gap),
}

/// One reader's live position on one or more channels.
#[derive(Debug)]
pub struct Subscription {}

impl OpenOptions {
    /// Opens a subscription.
    pub fn open(
        &self,
        _publisher: &Publisher,
        _grant: Grant,
        _last_event_id: Option<&[u8]>,
    ) -> Result<Subscription, OpenError> {
        todo!()
    }
}

impl Subscription {
    /// Position: everything up to and with it was delivered (or reported by a gap).
    pub fn cursor(&self) -> Cursor {
        todo!()
    }
    /// Why it ended, once the stream has ended.
    pub fn end_reason(&self) -> Option<EndReason> {
        todo!()
    }
    /// The next bytes for the wire: whole events, one or many (tens of KiB at most), gap and goodbye events and the shutdown's `retry:` line included.
    pub(crate) fn poll_chunk(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        todo!()
    }
}

impl Stream for Subscription {
    type Item = Delivery;
    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        todo!()
    }
}
