//! A backend whose calls are counted and timed, for the feature `metrics`.

use std::sync::Arc;

use metrics::Histogram;

use super::{
    About, Append, Appended, Backend, BackendFuture, Connected, Ephemeral, Heads, Held, Messages, Notice, Presence,
    Progress, Requests, Streams,
};
use crate::{
    error::BackendError,
    log::Retention,
    meter::{Family, Labels, Started},
    wire::{
        cursor::{Epoch, Offset},
        name::ChannelName,
    },
};

/// What became of a call. One that got no answer was given up, by the node's timeout or by its caller.
const OUTCOMES: &[&str] = &["ok", "no_answer", "timeout", "misconfigured", "error"];

/// A backend, and the measures of each of its calls.
pub(crate) struct Measured {
    inner: Arc<dyn Backend>,
    append: Call,
    pass: Call,
    read: Call,
    about: Call,
    heads: Call,
    close: Call,
    renew: Call,
    tell: Call,
    count: Call,
    refresh: Call,
    presence: Call,
}

/// The measures of one kind of call.
struct Call {
    outcomes: Family,
    time: Histogram,
}

/// A call that is in progress.
struct Running<'a> {
    call: &'a Call,
    started: Started,
    outcome: &'static str,
}

impl Measured {
    pub(crate) fn around(inner: Arc<dyn Backend>, labels: &Labels) -> Arc<dyn Backend> {
        let call = |name| Call::new(labels, name);
        Arc::new(Self {
            inner,
            append: call("append"),
            pass: call("pass"),
            read: call("read"),
            about: call("about"),
            heads: call("heads"),
            close: call("close"),
            renew: call("renew"),
            tell: call("tell"),
            count: call("count"),
            refresh: call("refresh"),
            presence: call("presence"),
        })
    }
}

impl Call {
    fn new(labels: &Labels, name: &'static str) -> Self {
        let labels = labels.with("call", name);
        Self {
            outcomes: Family::new(
                &labels,
                "tower_sse_backend_calls_total",
                "Calls to the backend, by outcome.",
                "outcome",
                OUTCOMES,
            ),
            time: labels.seconds(
                "tower_sse_backend_call_duration_seconds",
                "Time until the backend answered, or the node gave up.",
            ),
        }
    }

    fn run<'a, T: 'a>(&'a self, answer: BackendFuture<'a, T>) -> BackendFuture<'a, T> {
        Box::pin(async move {
            let mut running = Running { call: self, started: Started::now(), outcome: "no_answer" };
            let answer = answer.await;
            running.outcome = answer.as_ref().err().map_or("ok", word);
            answer
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.call.outcomes.add(self.outcome);
        self.started.elapsed().into_iter().for_each(|time| self.call.time.record(time));
    }
}

fn word(error: &BackendError) -> &'static str {
    match () {
        () if error.is_timeout() => "timeout",
        () if error.is_misconfigured() => "misconfigured",
        () => "error",
    }
}

impl Backend for Measured {
    fn append(&self, append: Append) -> BackendFuture<'_, Appended> {
        self.append.run(self.inner.append(append))
    }

    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        self.pass.run(self.inner.pass(event))
    }

    fn hold(&self, retention: Retention) {
        self.inner.hold(retention);
    }

    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held> {
        self.read.run(self.inner.read(channel, after, retention))
    }

    fn read_paged(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        self.read.run(self.inner.read_paged(channel, after, retention, progress))
    }

    fn read_some(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        limit: usize,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        self.read.run(self.inner.read_some(channel, after, retention, limit, progress))
    }

    fn about(
        &self,
        channel: ChannelName,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, About> {
        self.about.run(self.inner.about(channel, retention, progress))
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        self.heads.run(self.inner.heads(channels))
    }

    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()> {
        self.close.run(self.inner.close(channel))
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        self.renew.run(self.inner.renew(lost))
    }

    /// A feed is no call: it lasts. Its losses are counted where the node begins the next one.
    fn feed(&self, requests: Requests, messages: Messages) -> BackendFuture<'_, ()> {
        self.inner.feed(requests, messages)
    }

    fn tell(&self, notice: Notice) -> BackendFuture<'_, ()> {
        self.tell.run(self.inner.tell(notice))
    }

    fn count(&self, streams: Streams) -> BackendFuture<'_, bool> {
        self.count.run(self.inner.count(streams))
    }

    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        self.refresh.run(self.inner.refresh(present))
    }

    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        self.presence.run(self.inner.presence(channel))
    }
}

#[cfg(test)]
mod tests {
    /// The names of the functions that take a backend, in the text of a file.
    fn methods(text: &str) -> Vec<&str> {
        let functions = text.split("    fn ").skip(1).filter(|text| {
            let arguments = text.split_once('(').map_or("", |(_, rest)| rest.trim_start());
            arguments.starts_with("&self")
        });
        let mut names: Vec<_> = functions.filter_map(|text| text.split('(').next()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn no_method_of_a_backend_is_forgotten() {
        let own = include_str!("measured.rs").split_once("impl Backend for Measured").expect("it is one").1;
        assert_eq!(methods(own.split("#[cfg(test)]").next().unwrap()), methods(include_str!("contract.rs")));
    }
}
