//! Reads a subscription in runs: all the events that can be read now, one by one, as a body that maps events needs
//! them.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{Found, Positions, Subscription};
use crate::{
    log::{Batch, Limit},
    wire::{
        encoded::EncodedEvent,
        notice::{EndReason, Gap},
    },
};

/// What comes next for a reader.
pub(crate) enum Turn {
    Run(Run),
    Gap(Gap),
    /// The end, with the lines that tell a client about it, if there are any.
    End(EndReason, Option<Bytes>),
}

/// Consecutive events, at least one and about as many as fill a body chunk.
pub(crate) enum Run {
    /// The common case of a reader that is level. It needs no memory of its own.
    One(EncodedEvent),
    /// The bytes of the events lie in `chunk`, one after the other, unless it is empty.
    Many { chunk: Bytes, events: Vec<EncodedEvent> },
}

impl Run {
    const NONE: Self = Self::Many { chunk: Bytes::new(), events: Vec::new() };

    pub(crate) fn as_slice(&self) -> &[EncodedEvent] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many { events, .. } => events,
        }
    }

    /// Adds the run that comes next.
    fn add(&mut self, next: Self) {
        let many = |run| match run {
            Self::One(event) => vec![event],
            Self::Many { events, .. } => events,
        };
        let mut events = many(std::mem::replace(self, Self::NONE));
        events.extend(many(next));
        *self = Self::Many { chunk: Bytes::new(), events };
    }

    /// Leaves out the events for which `keep` returns `false`. It may leave none.
    pub(crate) fn retain(&mut self, keep: &mut (impl FnMut(&EncodedEvent) -> bool + ?Sized)) {
        match self {
            Self::One(event) if !keep(event) => *self = Self::NONE,
            Self::One(_) => {}
            Self::Many { events, .. } => events.retain(keep),
        }
    }
}

impl Subscription {
    /// Reads what can be read now, up to the size of a body chunk.
    pub(crate) fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Some(reason) = self.end {
            return Poll::Ready(Turn::End(reason, None));
        }
        if let Some(gap) = self.take_gap() {
            return Poll::Ready(Turn::Gap(gap));
        }
        Poll::Ready(match ready!(self.poll_found(cx, self.limit(0))) {
            Found::Batch(batch) => Turn::Run(self.run(batch, cx)),
            Found::Lagged => Turn::Gap(self.lag()),
            Found::Lost(place) => Turn::Gap(self.begin_anew(place)),
            Found::End(reason) => {
                self.end(reason);
                Turn::End(reason, self.farewell(reason))
            }
        })
    }

    /// Returns how much to read at once, if `read` bytes were read already.
    fn limit(&self, read: usize) -> Limit {
        match &self.positions {
            // A read of several events does not tell which channel each event belongs to.
            Positions::Several(_) => Limit::ONE,
            Positions::None | Positions::One(_) => Limit { bytes: Limit::RUN.bytes.saturating_sub(read), ..Limit::RUN },
        }
    }

    /// Reads on after `batch`, unless that is already a good part of a chunk. The next read finds again anything that
    /// is not an event.
    fn run(&mut self, batch: Batch, cx: &mut Context<'_>) -> Run {
        if self.is_level(cx) {
            return self.take(batch);
        }
        let mut read = batch.len();
        let mut run = self.take(batch);
        while 2 * read < Limit::RUN.bytes
            && !self.is_level(cx)
            && let Poll::Ready(Found::Batch(batch)) = self.poll_positions(cx, self.limit(read))
        {
            read += batch.len();
            run.add(self.take(batch));
        }
        run
    }

    fn take(&mut self, batch: Batch) -> Run {
        self.cursor = batch.last();
        match batch {
            Batch::One(event) => Run::One(self.positions.seen(event, self.epoch)),
            Batch::Each { chunk, events } => {
                let events = events.into_iter().map(|event| self.positions.seen(event, self.epoch)).collect();
                Run::Many { chunk, events }
            }
            Batch::Many { .. } => unreachable!("the events were asked for one by one"),
        }
    }
}
