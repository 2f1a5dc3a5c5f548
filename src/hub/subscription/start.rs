//! How a subscription begins: what `open` calls, step by step.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Hub, Life, Positions, Resumed, Seat, Subscription, expiry::Expiry};
use crate::wire::{
    cursor::{Cursor, Epoch, Offset},
    notice::Gap,
};

impl Subscription {
    /// Creates a reader that has no place yet. The places it gets are given back when it is dropped.
    pub(crate) fn new(hub: Arc<Hub>, seat: Arc<Seat>, expires: Option<Instant>, life: Option<Box<Life>>) -> Self {
        let mut subscription = Self {
            hub,
            seat,
            positions: Positions::None,
            cursor: Offset::START,
            epoch: Epoch::from_bits(0),
            aside: None,
            resumed: Resumed::Fresh,
            parked_as: None,
            end: None,
        };
        if expires.is_some() || life.is_some() {
            subscription.change_aside(|aside| {
                aside.expires = expires.map_or(Expiry::Never, Expiry::At);
                aside.life = life;
            });
        }
        subscription
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
            self.change_aside(|aside| aside.gap = gap);
        }
    }
}
