//! What the suite needs of a store: several nodes that share it.

use tower_sse::{Publisher, PublisherBuilder, backend::Backend};

pub trait Store: Sized + Send + Sync {
    /// A new and empty store. `None` if it is not installed here, after saying so.
    fn begin() -> impl Future<Output = Option<Self>> + Send;

    /// Another hub on the same store, with the same settings.
    fn node(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher;

    fn nodes<const N: usize>(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> [Publisher; N] {
        std::array::from_fn(|_| self.node(settings))
    }
}

/// A store behind a [`Backend`], to which the tests can add faults.
pub trait Shared: Store {
    type Backend: Backend + Clone;

    fn backend(&self) -> Self::Backend;

    /// Makes the store lose everything.
    fn lose(&self) -> impl Future<Output = ()> + Send;

    /// How many channels all nodes together watch, as far as the store knows; `None` if it can't say.
    fn watched(&self) -> impl Future<Output = Option<usize>> + Send;
}

pub fn defaults(builder: PublisherBuilder) -> PublisherBuilder {
    builder
}
