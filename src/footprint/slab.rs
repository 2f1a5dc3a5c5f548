//! A slab: values under small numbers, whose places are used again.

use super::{ByNumber, Elastic};

/// Values under small numbers that stay the same until the value is removed. Most slabs have one value or none, so a
/// single value is stored in the slab itself.
///
/// When many values have left, the values at the end move into free places, so that the slab can free its end. A value
/// that has moved keeps its number, under which a table finds it. All other values lie at the place of their number.
#[derive(Default)]
pub(crate) enum Slab<T> {
    #[default]
    Empty,
    One {
        key: u32,
        value: T,
    },
    Many(Box<Places<T>>),
}

pub(crate) struct Places<T> {
    places: Vec<Place<T>>,
    /// The number of places that are taken.
    taken: usize,
    /// The first free place, if there is one. Each free place knows the next.
    free: u32,
    /// The places of the values that do not lie at the place of their key.
    moved: ByNumber<u32, u32>,
}

/// The values of a former slab.
pub(crate) struct Values<T> {
    one: Option<T>,
    many: std::vec::IntoIter<Place<T>>,
}

impl<T> Iterator for Values<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let taken = |place| match place {
            Place::Taken { value, .. } => Some(value),
            Place::Free { .. } => None,
        };
        self.one.take().or_else(|| self.many.by_ref().find_map(taken))
    }
}

enum Place<T> {
    Taken { key: u32, value: T },
    Free { before: u32, next: u32 },
}

/// Stands for no place.
const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    /// Creates an empty slab with room for as many values as `other` has places.
    pub(crate) fn with_room_of(other: &Slab<T>) -> Self {
        match other {
            Self::Many(many) => Self::Many(Box::new(Places::with_capacity(many.places.len()))),
            Self::Empty | Self::One { .. } => Self::Empty,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One { .. } => 1,
            Self::Many(many) => many.taken,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Self::Many(many) = self {
            return many.insert(value);
        }
        let Self::One { key, value: first } = std::mem::take(self) else {
            *self = Self::One { key: 0, value };
            return 0;
        };
        let mut many = Box::new(Places::with_capacity(0));
        many.put(key, first);
        let key = many.insert(value);
        *self = Self::Many(many);
        key
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        match self {
            Self::Many(many) => many.get(key),
            Self::One { key: of, value } if *of == key => Some(value),
            Self::Empty | Self::One { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self {
            Self::Many(many) => many.get_mut(key),
            Self::One { key: of, value } if *of == key => Some(value),
            Self::Empty | Self::One { .. } => None,
        }
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        match self {
            Self::Empty => None,
            Self::One { key: of, .. } if *of != key => None,
            Self::One { .. } => match std::mem::take(self) {
                Self::One { value, .. } => Some(value),
                Self::Empty | Self::Many(_) => None,
            },
            Self::Many(many) => {
                let removed = many.remove(key)?;
                if many.taken <= 1 {
                    *self = many.take_last().map_or(Self::Empty, |(key, value)| Self::One { key, value });
                }
                Some(removed)
            }
        }
    }

    /// Gives back room for more than `expected` values, in a slab that was created with more than it needs.
    pub(crate) fn give_back(&mut self, expected: usize) {
        if let Self::Many(many) = self {
            let expected = expected.max(many.taken);
            if expected <= 1 && many.taken == 0 {
                *self = Self::Empty;
            } else if expected < many.places.capacity() / 2 {
                many.places.shrink_to(expected);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One { value, .. } => (Some(value), None),
            Self::Many(many) => (None, Some(many.places.iter_mut())),
        };
        let many = many.into_iter().flatten().filter_map(|place| match place {
            Place::Taken { value, .. } => Some(value),
            Place::Free { .. } => None,
        });
        one.into_iter().chain(many)
    }

    pub(crate) fn into_values(self) -> Values<T> {
        match self {
            Self::Empty => Values { one: None, many: Vec::new().into_iter() },
            Self::One { value, .. } => Values { one: Some(value), many: Vec::new().into_iter() },
            Self::Many(many) => Values { one: None, many: many.places.into_iter() },
        }
    }

    /// Returns how many places [`at`](Self::at) can be asked for.
    pub(crate) fn places(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One { .. } => 1,
            Self::Many(many) => many.places.len(),
        }
    }

    /// Returns the value that lies at a place now, and its number. Later the value may lie elsewhere.
    pub(crate) fn at(&self, place: usize) -> Option<(u32, &T)> {
        match self {
            Self::One { key, value } if place == 0 => Some((*key, value)),
            Self::Empty | Self::One { .. } => None,
            Self::Many(many) => match many.places.get(place)? {
                Place::Taken { key, value } => Some((*key, value)),
                Place::Free { .. } => None,
            },
        }
    }

    /// Returns how many bytes the slab takes from the allocator, without what its values own.
    pub(crate) fn footprint(&self) -> usize {
        match self {
            Self::Empty | Self::One { .. } => 0,
            Self::Many(many) => size_of::<Places<T>>() + many.places.footprint() + many.moved.footprint(),
        }
    }
}

impl<T> Places<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), taken: 0, free: NONE, moved: ByNumber::default() }
    }

    fn get(&self, key: u32) -> Option<&T> {
        match self.places.get(key as usize) {
            Some(Place::Taken { key: of, value }) if *of == key => Some(value),
            _ => match self.places.get(*self.moved.get(&key)? as usize)? {
                Place::Taken { value, .. } => Some(value),
                Place::Free { .. } => None,
            },
        }
    }

    fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        let place = self.place_of(key)?;
        match &mut self.places[place as usize] {
            Place::Taken { value, .. } => Some(value),
            Place::Free { .. } => None,
        }
    }

    fn place_of(&self, key: u32) -> Option<u32> {
        match self.places.get(key as usize) {
            Some(Place::Taken { key: of, .. }) if *of == key => Some(key),
            _ => self.moved.get(&key).copied(),
        }
    }

    fn insert(&mut self, value: T) -> u32 {
        if self.free == NONE && self.moved.is_empty() {
            return self.push(value);
        }
        let mut place = self.take_free();
        // The value gets the number of its place, unless that belongs to a value that moved away. That value then moves
        // back.
        while !self.moved.is_empty()
            && let Some(moved_to) = self.moved.remove(&place)
        {
            self.places.swap(place as usize, moved_to as usize);
            place = moved_to;
        }
        self.places[place as usize] = Place::Taken { key: place, value };
        self.taken += 1;
        place
    }

    /// Adds a value at the end, under the number of its place. No value that has moved may have that number.
    fn push(&mut self, value: T) -> u32 {
        // Four billion values would not fit in memory.
        let key = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.places.make_room();
        self.places.push(Place::Taken { key, value });
        self.taken += 1;
        key
    }

    /// Puts in a value under its key. There must not be any others.
    fn put(&mut self, key: u32, value: T) {
        let place = self.take_free();
        self.places[place as usize] = Place::Taken { key, value };
        self.taken += 1;
        if place != key {
            self.moved.insert(key, place);
        }
    }

    /// Takes a free place, or adds one. Its contents have no meaning.
    fn take_free(&mut self) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.unlink(place);
            return place;
        }
        self.places.make_room();
        self.places.push(Place::Free { before: NONE, next: NONE });
        // Four billion values would not fit in memory.
        u32::try_from(self.places.len() - 1).unwrap_or(NONE)
    }

    fn remove(&mut self, key: u32) -> Option<T> {
        let place = self.place_of(key)?;
        let free = Place::Free { before: NONE, next: self.free };
        let Place::Taken { value, .. } = std::mem::replace(&mut self.places[place as usize], free) else { return None };
        self.link(self.free, |before, _| *before = place);
        self.free = place;
        if place != key {
            self.moved.remove(&key);
        }
        self.taken -= 1;
        self.shrink();
        Some(value)
    }

    /// Removes the only value that is left.
    fn take_last(&mut self) -> Option<(u32, T)> {
        // There are only a few places then.
        let key = self.places.iter().find_map(|place| match place {
            Place::Taken { key, .. } => Some(*key),
            Place::Free { .. } => None,
        })?;
        Some((key, self.remove(key)?))
    }

    /// Drops places at the end if the free ones are more than a quarter of the taken ones. It drops two for each value
    /// that was removed, so there are never many more.
    fn shrink(&mut self) {
        for _ in 0..2 {
            if self.places.len() <= self.taken + self.taken / 4 + 4 {
                break;
            }
            self.drop_last();
        }
        self.places.give_back();
    }

    /// Drops the last place. A value there moves to a free one.
    fn drop_last(&mut self) {
        // There is more than one free place.
        let last = u32::try_from(self.places.len() - 1).unwrap_or(NONE);
        if let Place::Free { .. } = self.places[last as usize] {
            self.unlink(last);
            self.places.pop();
            return;
        }
        let place = self.free;
        self.unlink(place);
        let Some(Place::Taken { key, value }) = self.places.pop() else { return };
        self.places[place as usize] = Place::Taken { key, value };
        if key == place {
            self.moved.remove(&key);
        } else {
            self.moved.insert(key, place);
        }
    }

    /// Removes a free place from the list of free places.
    fn unlink(&mut self, place: u32) {
        let Place::Free { before, next } = self.places[place as usize] else { return };
        self.link(next, |of_next, _| *of_next = before);
        match before {
            NONE => self.free = next,
            before => self.link(before, |_, of_before| *of_before = next),
        }
    }

    /// Changes the links of a free place to the free places before and behind it.
    fn link(&mut self, place: u32, change: impl FnOnce(&mut u32, &mut u32)) {
        if let Some(Place::Free { before, next }) = self.places.get_mut(place as usize) {
            change(before, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many places a slab has, unless its value is in the slab itself.
    fn room<T>(slab: &Slab<T>) -> Option<usize> {
        match slab {
            Slab::Many(many) => Some(many.places.capacity()),
            Slab::Empty | Slab::One { .. } => None,
        }
    }

    #[test]
    fn a_removed_place_is_used_again_and_an_empty_slab_holds_no_memory() {
        let mut slab = Slab::default();
        let keys: Vec<u32> = (0..4).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.remove(keys[1]), Some(1));
        assert_eq!(slab.remove(keys[1]), None);
        assert_eq!(slab.remove(keys[2]), Some(2));
        assert_eq!((slab.insert(7), slab.insert(8), slab.insert(9)), (keys[2], keys[1], 4));
        assert_eq!(slab.len(), 5);
        assert_eq!(slab.iter_mut().map(|n| *n).collect::<Vec<_>>(), [0, 8, 7, 3, 9]);
        for key in 0..5 {
            slab.remove(key);
        }
        assert!(matches!(slab, Slab::Empty));
    }

    #[test]
    fn a_slab_with_room_takes_as_many_without_growing() {
        let fill = |slab: &mut Slab<u32>| {
            for n in 0..100 {
                slab.insert(n);
            }
        };
        let mut slab = Slab::default();
        fill(&mut slab);
        let mut other = Slab::with_room_of(&slab);
        let (len, before) = (other.len(), room(&other));
        fill(&mut other);
        assert_eq!((len, room(&other)), (0, before));
        assert_eq!(room(&Slab::<u32>::with_room_of(&Slab::default())), None);
    }

    #[test]
    fn room_that_nobody_is_expected_to_take_is_given_back() {
        let mut full = Slab::default();
        (0..100).for_each(|n| assert_eq!(full.insert(n), n));
        let mut slab = Slab::with_room_of(&full);
        slab.give_back(90);
        assert_eq!(room(&slab), Some(100));
        slab.give_back(30);
        assert_eq!(room(&slab), Some(30));
        (0..20).for_each(|n| assert_eq!(slab.insert(n), n));
        slab.give_back(3);
        assert_eq!(room(&slab), Some(30), "twenty are there");
        (0..20).for_each(|key| assert_eq!(slab.remove(key), Some(key)));
        let mut slab = Slab::with_room_of(&full);
        slab.give_back(1);
        assert_eq!(room(&slab), None);
    }

    #[test]
    fn the_last_of_many_values_keeps_its_number_and_little_room() {
        for kept in [0_u32, 1, 500, 998, 999] {
            let mut slab = Slab::default();
            (0..1_000_u32).for_each(|n| assert_eq!(slab.insert(n), n));
            (0..1_000).filter(|key| *key != kept).for_each(|key| assert_eq!(slab.remove(key), Some(key)));
            assert_eq!((slab.len(), slab.get(kept)), (1, Some(&kept)));
            assert_eq!(room(&slab), None, "{kept} is left");
            // Others get numbers of their own.
            let mut keys: Vec<u32> = (0..1_000_u32).map(|n| slab.insert(1_000 + n)).collect();
            assert_eq!((slab.len(), slab.get(kept)), (1_001, Some(&kept)));
            keys.push(kept);
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), 1_001);
        }
    }

    /// What comes and goes by chance, against a map.
    #[test]
    fn a_slab_is_a_map_whose_room_follows_what_it_holds() {
        let rounds = if cfg!(miri) { 2_000 } else { 50_000 };
        let (mut slab, mut map) = (Slab::default(), std::collections::BTreeMap::new());
        let mut random = 1_u64;
        for n in 0..rounds {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = |below: usize| usize::try_from(random >> 33).unwrap() % below;
            // Crowds come, and go but for a few.
            let grows = n / (rounds / 10) % 2 == 0;
            if pick(10) < if grows { 7 } else { 2 } || map.is_empty() {
                assert!(map.insert(slab.insert(n), n).is_none(), "a number of its own");
            } else {
                let nth = pick(map.len());
                let key = *map.keys().nth(nth.min(50)).unwrap();
                assert_eq!(slab.remove(key), map.remove(&key));
                assert!(slab.get(key).is_none() && slab.remove(key).is_none());
            }
            if let Some((key, value)) = map.iter().nth(pick(20)) {
                assert!(slab.get(*key) == Some(value) && slab.get_mut(*key).copied() == Some(*value));
            }
            assert_eq!(slab.len(), map.len());
            if let Slab::Many(many) = &slab {
                let (capacity, taken) = (many.places.capacity(), many.taken);
                assert!(capacity <= 2 * taken + 8, "room for {capacity} and {taken} values");
                assert!(many.moved.len() <= taken);
            }
        }
        let (mut values, mut expected): (Vec<_>, Vec<_>) =
            (slab.iter_mut().map(|n| *n).collect(), map.values().collect());
        assert_eq!(slab.into_values().count(), map.len());
        values.sort_unstable();
        expected.sort_unstable();
        assert!(values.iter().eq(expected));
    }
}
