//! The order of a log's events across its lanes.

use std::collections::VecDeque;

use super::lane_id::LaneId;
use crate::footprint::Elastic as _;

/// The lane of each held event, oldest first. Consecutive events of one lane share an entry, because most events are
/// broadcasts.
#[derive(Default)]
pub(super) struct Order {
    /// Lanes, and how many consecutive events each had.
    rows: VecDeque<(LaneId, u32)>,
}

impl Order {
    /// Creates the order of `count` events that are all of one lane.
    pub(super) fn of(lane: LaneId, mut count: usize) -> Self {
        let mut order = Self::default();
        while count > 0 {
            let row = u32::try_from(count).unwrap_or(u32::MAX);
            order.rows.push_back((lane, row));
            // Lossless, because the `u32` is no more than `count` was.
            count -= row as usize;
        }
        order
    }

    pub(super) fn push(&mut self, lane: LaneId) {
        match self.rows.back_mut() {
            Some((last, count)) if *last == lane && *count < u32::MAX => *count += 1,
            _ => {
                self.rows.make_room();
                self.rows.push_back((lane, 1));
            }
        }
    }

    pub(super) fn first(&self) -> Option<LaneId> {
        self.rows.front().map(|(lane, _)| *lane)
    }

    /// Removes the oldest event, and returns its lane.
    pub(super) fn pop(&mut self) -> Option<LaneId> {
        let (lane, count) = self.rows.front_mut()?;
        let lane = *lane;
        *count -= 1;
        if *count == 0 {
            self.rows.pop_front();
            self.rows.give_back();
        }
        Some(lane)
    }

    pub(super) fn footprint(&self) -> usize {
        self.rows.footprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_lane_in_a_row_are_one_entry() {
        let [a, b] = [0, 1].map(LaneId::numbered);
        let mut order = Order::of(a, 3);
        [a, b, b, a].into_iter().for_each(|lane| order.push(lane));
        assert_eq!(order.rows, [(a, 4), (b, 2), (a, 1)]);
        assert_eq!(order.first(), Some(a));
        let all: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
        assert_eq!((all, order.first()), (vec![a, a, a, a, b, b, a], None));
        assert!(Order::of(a, 0).pop().is_none());
    }
}
