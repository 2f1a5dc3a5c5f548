//! What is kept of each reader without the feature `inspect`: nothing.

pub(super) struct Visit;

impl Visit {
    pub(super) const IS_KEPT: bool = false;

    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn took(&mut self, _: usize) {}

    pub(super) fn gave_back(&mut self, _: usize) {}
}
