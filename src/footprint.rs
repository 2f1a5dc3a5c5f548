//! Containers whose memory follows their use: they know what they take from the allocator, and give it back.
//!
//! The containers of `std` keep the room for the most values that they ever held. These give it back as values leave:
//! they have room for at most about twice the values that they hold. In return, each value is moved a bounded number of
//! times.

mod slab;
mod table;
mod tally;

use std::collections::VecDeque;

pub(crate) use self::{
    slab::{Slab, Values},
    table::{ByNumber, Table},
    tally::{Footprint, Parts, Tally},
};

/// A container this small gives nothing back until its owner drops it.
const SMALL: usize = 8;

/// From this length on, a sequence grows by an eighth: the system moves large memory without copying it.
const LARGE: usize = 1_024;

/// A sequence that grows by a quarter or less where `std` doubles, and that shrinks.
pub(crate) trait Elastic {
    /// Makes room for one more value.
    fn make_room(&mut self);

    /// Gives room back once less than five eighths of it is used. Call it when values have left.
    fn give_back(&mut self);

    /// Returns how many bytes it takes from the allocator.
    fn footprint(&self) -> usize;
}

macro_rules! elastic {
    ($Container:ident) => {
        impl<T> Elastic for $Container<T> {
            fn make_room(&mut self) {
                if self.len() == self.capacity() {
                    let part = if self.len() < LARGE { 4 } else { 8 };
                    self.reserve_exact((self.len() / part).max(4));
                }
            }

            fn give_back(&mut self) {
                let (len, capacity) = (self.len(), self.capacity());
                if capacity > SMALL && 8 * len < 5 * capacity {
                    self.shrink_to(len + len / 8);
                }
            }

            fn footprint(&self) -> usize {
                self.capacity() * size_of::<T>()
            }
        }
    };
}

elastic!(Vec);
elastic!(VecDeque);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_has_room_for_at_most_two_times_what_it_holds() {
        let mut values = VecDeque::new();
        let mut moves = 0;
        let mut change = |values: &mut VecDeque<u64>, work: fn(&mut VecDeque<u64>)| {
            let before = values.capacity();
            work(values);
            moves += if values.capacity() == before { 0 } else { values.len() };
            assert!(values.capacity() <= (2 * values.len()).max(SMALL), "{} for {}", values.capacity(), values.len());
        };
        for _ in 0..2 {
            for _ in 0..10_000 {
                change(&mut values, |values| {
                    values.make_room();
                    values.push_back(7);
                });
            }
            for _ in 0..10_000 {
                change(&mut values, |values| {
                    values.pop_front();
                    values.give_back();
                });
            }
        }
        assert!(moves < 40_000 * 6, "{moves} moves");
        assert_eq!(vec![0_u64; 3].footprint(), 24);
    }

    #[test]
    fn a_sequence_around_a_length_keeps_its_room() {
        let mut values = vec![0; 100];
        values.make_room();
        let capacity = values.capacity();
        for _ in 0..100 {
            values.truncate(80);
            values.give_back();
            values.resize(100, 0);
            assert_eq!(values.capacity(), capacity);
        }
    }
}
