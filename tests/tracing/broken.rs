//! A store that answers nothing but an error.

use std::sync::{Arc, Mutex};

use tower_sse::{
    BackendError, ChannelName, Epoch, Offset, Retention,
    backend::{Append, Appended, Backend, BackendFuture, Connected, Ephemeral, Heads, Held, Messages, Requests},
};

#[derive(Clone, Default)]
pub struct Broken {
    /// The bytes of the events that it was to append or to pass.
    pub given: Arc<Mutex<Vec<String>>>,
}

impl Broken {
    fn note(&self, bytes: &[u8]) {
        self.given.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
    }
}

fn fails<T: Send + 'static>() -> BackendFuture<'static, T> {
    Box::pin(async { Err(BackendError::new("the store is broken")) })
}

impl Backend for Broken {
    fn append(&self, append: Append) -> BackendFuture<'_, Appended> {
        append.events.iter().for_each(|event| self.note(&event.bytes));
        fails()
    }

    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        self.note(&event.bytes);
        fails()
    }

    fn read(&self, _: ChannelName, _: Offset, _: Retention) -> BackendFuture<'_, Held> {
        fails()
    }

    fn heads(&self, _: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        fails()
    }

    fn close(&self, _: ChannelName) -> BackendFuture<'_, ()> {
        fails()
    }

    fn renew(&self, _: Epoch) -> BackendFuture<'_, Epoch> {
        fails()
    }

    fn feed(&self, _: Requests, _: Messages) -> BackendFuture<'_, ()> {
        fails()
    }

    fn presence(&self, _: ChannelName) -> BackendFuture<'_, Connected> {
        fails()
    }
}
