//! The tasks of HTTP/2 streams, which reset a stream that its client does not read.
//!
//! A client may stop reading one of its streams and keep reading the others, so the connection's I/O does not show it. hyper
//! polls a body again as soon as it has room for more. So a stream has stalled if its body has yielded something and is not
//! polled again. Only the stream's task can end it, and hyper spawns that task on our executor.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::{shared::Shared, stall::Stall};

/// The tasks of a connection's streams.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) shared: Arc<Shared>,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(Watched { future, shared: self.shared.clone(), full: false, stalled: None });
    }
}

thread_local! {
    /// Whether the body that was last polled on this thread has yielded something.
    static YIELDED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Records for the current task whether an event stream has yielded something.
pub(super) fn note<R>(frame: &Poll<R>) {
    YIELDED.set(Some(frame.is_ready()));
}

pin_project! {
    /// The task of a stream, which ends when its client does not read.
    struct Watched<F> {
        #[pin]
        future: F,
        shared: Arc<Shared>,
        // Whether the body has yielded something and has not been polled since.
        full: bool,
        // Runs while `full` is set.
        stalled: Option<Box<Stall>>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        YIELDED.set(None);
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(full) = YIELDED.take() {
            *this.full = full;
            *this.stalled = None;
        }
        if !*this.full {
            return Poll::Pending;
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::new(Stall::new(cx)));
        ready!(stalled.poll(this.shared.settings.stall_timeout, cx));
        this.shared.counters.stalled.add(1);
        Poll::Ready(())
    }
}
