//! A hash map that shrinks, and knows its size.

use std::{
    borrow::Borrow,
    collections::{
        HashMap,
        hash_map::{self, RandomState},
    },
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
};

/// A table under small numbers that the crate chooses: nobody else can choose them so that they collide.
pub(crate) type ByNumber<K, V> = Table<K, V, BuildHasherDefault<Numbers>>;

/// A [`HashMap`] that gives room back as its entries leave.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V, S = RandomState> {
    map: HashMap<K, V, S>,
    /// The number of entries that there is room for. The map itself reports less when entries were removed.
    room: usize,
    /// The bytes that the room takes from the allocator.
    footprint: usize,
}

impl<K, V, S: Default> Default for Table<K, V, S> {
    fn default() -> Self {
        Self { map: HashMap::default(), room: 0, footprint: 0 }
    }
}

impl<K, V, S> Table<K, V, S> {
    /// A table this small gives nothing back until it is empty.
    const SMALL: usize = 3;

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Returns the entries, to be freed one at a time.
    pub(crate) fn into_entries(self) -> hash_map::IntoIter<K, V> {
        self.map.into_iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Returns how many bytes the table takes from the allocator, without what its entries own.
    pub(crate) fn footprint(&self) -> usize {
        self.footprint
    }

    fn set_room(&mut self, room: usize) {
        self.room = room;
        let buckets = match room {
            0 => 0,
            1..=3 => 4,
            4..=7 => 8,
            room => (room * 8 / 7).next_power_of_two(),
        };
        // One control byte for each bucket, and one more group of them.
        self.footprint = if buckets == 0 { 0 } else { buckets * (size_of::<(K, V)>() + 1) + 16 };
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Table<K, V, S> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    /// Returns the key as it is in the table.
    pub(crate) fn get_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
    {
        self.map.get_key_value(key).map(|(key, _)| key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.map.insert(key, value);
        if self.map.capacity() > self.room {
            self.set_room(self.map.capacity());
        }
        before
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.map.remove(key)?;
        let len = self.map.len();
        if len == 0 || (self.room > Self::SMALL && 8 * len < 3 * self.room) {
            self.map.shrink_to(len);
            self.set_room(self.map.capacity());
        }
        Some(removed)
    }
}

/// Hashes one number, at the cost of a multiplication.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(u64);

impl Hasher for Numbers {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // Multiplies by the golden ratio, because the table takes its bits from both ends.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_room_back_and_knows_its_size() {
        let mut table = Table::<u64, u64>::default();
        assert_eq!(table.footprint(), 0);
        let sizes: Vec<_> = (0..29)
            .map(|n| {
                table.insert(n, n);
                (table.footprint() - 16) / 17
            })
            .collect();
        assert_eq!(sizes, [vec![4; 3], vec![8; 4], vec![16; 7], vec![32; 14], vec![64; 1]].concat());
        (29..10_000).for_each(|n| assert_eq!(table.insert(n, n), None));
        let most = table.footprint();
        for n in 0..10_000 {
            assert_eq!(table.remove(&n), Some(n));
            // A table is full at seven eighths, and a new one is half full.
            let used = table.len() * 17 * 8 / 7;
            assert!(table.footprint() <= (3 * used).max(16 * 17 + 16), "{} for {used}", table.footprint());
        }
        assert!(most > 100_000 && table.footprint() == 0);
    }

    #[test]
    fn a_table_whose_entries_change_grows_once_at_most() {
        let mut table = Table::<u64, u64>::default();
        (0..100).for_each(|n| assert_eq!(table.insert(n, n), None));
        let mut sizes = vec![table.footprint()];
        for n in 100..10_000 {
            table.remove(&(n - 100));
            table.insert(n, n);
            sizes.push(table.footprint());
        }
        sizes.dedup();
        assert!(sizes.len() <= 2, "{sizes:?}");
    }
}
