//! A vector whose places are used again: what waits in a channel, by number.

/// Values by small numbers that stay theirs until they are removed.
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    /// The first free place, if there is one below the vector's end.
    free: Option<u32>,
    len: usize,
}

enum Place<T> {
    Taken(T),
    Free { next: Option<u32> },
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    /// Without places, and room for so many.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(key) = self.free {
            let place = &mut self.places[key as usize];
            if let Place::Free { next } = std::mem::replace(place, Place::Taken(value)) {
                self.free = next;
            }
            return key;
        }
        self.places.push(Place::Taken(value));
        // Four billion values would not fit in memory.
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        match self.places.get(key as usize)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.places.get_mut(key as usize)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let place = self.places.get_mut(key as usize)?;
        if let Place::Free { .. } = place {
            return None;
        }
        let taken = std::mem::replace(place, Place::Free { next: self.free });
        self.free = Some(key);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        match taken {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(key, place)| match place {
            Place::Taken(value) => Some((key, value)),
            Place::Free { .. } => None,
        })
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        })
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
        assert_eq!(slab.iter_mut().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 8, 7, 3, 9]);
        for key in 0..5 {
            slab.remove(key);
        }
        assert_eq!(slab.places.capacity(), 0);
    }
}
