//! A backend of which nothing works: appends fail, reads are refused, questions get no answer, and the feed ends.

use std::future::pending;

use tower_sse::{
    BackendError, ChannelName, Epoch, Offset, Retention,
    backend::{Append, Appended, Backend, BackendFuture, Heads, Held, Messages, Requests},
};

pub struct Broken;

impl Backend for Broken {
    fn append(&self, _: Append) -> BackendFuture<'_, Appended> {
        Box::pin(async { Err(BackendError::new("it is broken")) })
    }

    fn read(&self, _: ChannelName, _: Offset, _: Retention) -> BackendFuture<'_, Held> {
        Box::pin(async { Err(BackendError::misconfigured("it forgets")) })
    }

    fn heads(&self, _: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        Box::pin(pending())
    }

    fn close(&self, _: ChannelName) -> BackendFuture<'_, ()> {
        Box::pin(async { Err(BackendError::timed_out("too long")) })
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        Box::pin(async move { Ok(lost) })
    }

    fn feed(&self, _: Requests, _: Messages) -> BackendFuture<'_, ()> {
        Box::pin(async { Err(BackendError::new("it is broken")) })
    }
}
