//! A store that answers nothing but an error.

use tower_sse::{
    BackendError, ChannelName, Epoch, Offset, Retention,
    backend::{Append, Appended, Backend, BackendFuture, Connected, Heads, Held, Messages, Requests},
};

pub struct Broken;

fn fails<T: Send + 'static>() -> BackendFuture<'static, T> {
    Box::pin(async { Err(BackendError::new("the store is broken")) })
}

impl Backend for Broken {
    fn append(&self, _: Append) -> BackendFuture<'_, Appended> {
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
