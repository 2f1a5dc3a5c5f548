//! How a subscription begins: what `open` calls, step by step.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Aside, Expiry, Hub, Life, Positions, Resumed, Seat, Subscription};
use crate::wire::{
    cursor::{Cursor, Epoch, Offset},
    notice::Gap,
};

impl Subscription {
    /// Creates a reader that has no place yet. The places it gets are given back when it is dropped.
    pub(crate) fn new(hub: Arc<Hub>, seat: Arc<Seat>, expires: Option<Instant>, life: Option<Box<Life>>) -> Self {
        let expires = expires.map_or(Expiry::Never, Expiry::At);
        let aside = Some(Aside { gap: None, expires, life }).filter(Aside::has_something).map(Box::new);
        Self {
            hub,
            seat,
            positions: Positions::None,
            cursor: Offset::START,
            epoch: Epoch::from_bits(0),
            aside,
            resumed: Resumed::Fresh,
            parked_as: None,
            end: None,
        }
    }

    pub(crate) fn positions(&mut self) -> &mut Positions {
        &mut self.positions
    }

    /// Marks the subscription as accepted: nothing refuses it any more. If `replace` is set, the older connections of
    /// its client end. If two arrive at once, the newer one stays, on every channel.
    pub(crate) fn settle(&self, replace: bool) {
        self.seat.settle();
        if replace {
            self.positions.replace();
        }
    }

    pub(crate) fn start_at(&mut self, cursor: Cursor, resumes: bool, gap: Option<Gap>) {
        self.resumed = match &gap {
            Some(gap) => Resumed::Gap(gap.reason),
            None if resumes => Resumed::Exact,
            None => Resumed::Fresh,
        };
        (self.epoch, self.cursor) = (cursor.epoch, cursor.offset);
        if gap.is_some() {
            self.aside.get_or_insert_default().gap = gap;
        }
    }
}
