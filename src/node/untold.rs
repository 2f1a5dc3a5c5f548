//! Of whom the store is to be told that they have fewer streams here.

use std::{collections::HashSet, sync::Arc};

use crate::sync::{Mutex, lock};

/// Those who have fewer streams here than the store may know.
pub(crate) struct Untold(Mutex<State>);

#[derive(Default)]
struct State {
    holders: HashSet<Arc<str>>,
    /// Whether a task is telling the store.
    is_telling: bool,
}

impl Untold {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// Adds somebody. Returns whether nobody is telling the store.
    pub(crate) fn add(&self, holder: &Arc<str>) -> bool {
        let mut state = lock(&self.0);
        state.holders.insert(holder.clone());
        !std::mem::replace(&mut state.is_telling, true)
    }

    /// Returns somebody. If there is nobody, the task has to end.
    pub(super) fn next(&self) -> Option<Arc<str>> {
        let mut state = lock(&self.0);
        let next = state.holders.iter().next().cloned();
        match &next {
            Some(holder) => _ = state.holders.remove(holder),
            None => *state = State::default(),
        }
        next
    }

    /// Lets another task tell the store, because one has ended before it had told everything.
    pub(super) fn broke_off(&self) {
        lock(&self.0).is_telling = false;
    }
}
