//! A store that never answers, for tests.

use crate::{
    backend::{Append, Appended, Backend, BackendFuture, Connected, Heads, Held, Messages, Requests},
    log::Retention,
    wire::{
        cursor::{Epoch, Offset},
        name::ChannelName,
    },
};

pub(super) struct Silent;

fn never<T: Send + 'static>() -> BackendFuture<'static, T> {
    Box::pin(std::future::pending())
}

impl Backend for Silent {
    fn append(&self, _: Append) -> BackendFuture<'_, Appended> {
        never()
    }
    fn read(&self, _: ChannelName, _: Offset, _: Retention) -> BackendFuture<'_, Held> {
        never()
    }
    fn heads(&self, _: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        never()
    }
    fn close(&self, _: ChannelName) -> BackendFuture<'_, ()> {
        never()
    }
    fn renew(&self, _: Epoch) -> BackendFuture<'_, Epoch> {
        never()
    }
    fn feed(&self, _: Requests, _: Messages) -> BackendFuture<'_, ()> {
        never()
    }
    fn presence(&self, _: ChannelName) -> BackendFuture<'_, Connected> {
        never()
    }
}
