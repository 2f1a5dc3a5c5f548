//! A vector whose places are used again: what waits in a channel, by number.

/// Values by small numbers that stay theirs until they are removed. Number 0 is in the slab itself: most channels have one
/// reader or none.
pub(crate) struct Slab<T> {
    first: Option<T>,
    /// None if it is empty, unless it was made with room.
    rest: Option<Box<Rest<T>>>,
}

/// The values from number 1 on.
struct Rest<T> {
    places: Vec<Option<T>>,
    /// The places that are empty, the last one that became so at the end.
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Slab<T> {
    /// Without places, and with room for as many as `other` has.
    pub(crate) fn with_room_of(other: &Slab<T>) -> Self {
        let rest = other.rest.as_ref().map(|rest| Box::new(Rest::with_capacity(rest.places.len())));
        Self { rest, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if self.first.is_none() {
            self.first = Some(value);
            return 0;
        }
        self.rest.get_or_insert_with(|| Box::new(Rest::with_capacity(0))).insert(value) + 1
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        match key.checked_sub(1) {
            None => self.first.as_ref(),
            Some(place) => self.rest.as_ref()?.places.get(place as usize)?.as_ref(),
        }
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(place) => self.rest.as_mut()?.places.get_mut(place as usize)?.as_mut(),
        }
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let Some(place) = key.checked_sub(1) else { return self.first.take() };
        let rest = self.rest.as_mut()?;
        let taken = rest.remove(place);
        if rest.len() == 0 {
            self.rest = None;
        }
        taken
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let rest = self.rest.as_mut().into_iter().flat_map(|rest| rest.places.iter_mut().flatten());
        self.first.iter_mut().chain(rest)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let rest = self.rest.into_iter().flat_map(|rest| rest.places.into_iter().flatten());
        self.first.into_iter().chain(rest)
    }
}

impl<T> Rest<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), free: Vec::new() }
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn insert(&mut self, value: T) -> u32 {
        if let Some(key) = self.free.pop() {
            self.places[key as usize] = Some(value);
            return key;
        }
        self.places.push(Some(value));
        // Four billion values would not fit in memory.
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, key: u32) -> Option<T> {
        let taken = self.places.get_mut(key as usize)?.take()?;
        self.free.push(key);
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(slab.rest.is_none());
    }

    #[test]
    fn a_slab_with_room_takes_as_many_without_growing() {
        let fill = |slab: &mut Slab<u32>| {
            for n in 0..100 {
                slab.insert(n);
            }
        };
        let room = |slab: &Slab<u32>| slab.rest.as_ref().map(|rest| rest.places.capacity());
        let mut slab = Slab::default();
        fill(&mut slab);
        let mut other = Slab::with_room_of(&slab);
        let (len, before) = (other.len(), room(&other));
        fill(&mut other);
        assert_eq!((len, room(&other)), (0, before));
        assert_eq!(room(&Slab::with_room_of(&Slab::default())), None);
    }
}
