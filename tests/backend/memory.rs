//! In process, the clones of one publisher stand for nodes.

use std::sync::Mutex;

use tower_sse::{Publisher, PublisherBuilder};

use crate::store::Store;

#[derive(Default)]
pub struct MemoryStore(Mutex<Option<Publisher>>);

impl Store for MemoryStore {
    async fn begin() -> Option<Self> {
        Some(Self::default())
    }

    fn node(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher {
        self.0.lock().unwrap().get_or_insert_with(|| settings(Publisher::builder()).build()).clone()
    }
}
