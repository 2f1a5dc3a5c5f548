//! What the suite needs of a store: nodes that share it.

use tower_sse::{Publisher, PublisherBuilder, backend::Backend};

pub trait Store: Sized + Send + Sync {
    /// A store of its own, and empty. `None`: it can't be had here, which was said.
    fn begin() -> impl Future<Output = Option<Self>> + Send;

    /// Another hub on the same store, with the same settings.
    fn node(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher;

    fn nodes<const N: usize>(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> [Publisher; N] {
        std::array::from_fn(|_| self.node(settings))
    }
}

/// A store behind a [`Backend`], so that faults can be put in between.
pub trait Shared: Store {
    type Backend: Backend + Clone;

    fn backend(&self) -> Self::Backend;

    /// Loses everything.
    fn lose(&self) -> impl Future<Output = ()> + Send;

    /// The store knows of this many channels that are watched by all nodes together; `None` if it can't say.
    fn watched(&self) -> impl Future<Output = Option<usize>> + Send;
}

pub fn defaults(builder: PublisherBuilder) -> PublisherBuilder {
    builder
}
