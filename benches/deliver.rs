//! What a delivery costs with and without the feature `metrics`, in instructions, which other processes do not disturb:
//!
//! ```sh
//! cargo bench -p engine-bench --bench deliver --no-run
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/deliver-* 100 1000
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/deliver-* 100 2000
//! ```
//!
//! The first number is that of the readers, the second that of the events. The difference of the two counts, divided by
//! 100 x 1,000, is what a delivery costs. Do the same with `--features metrics`, with the exporter of Prometheus.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http_body::Body;
use tower_sse::{ChannelName, Event, Grant, Publisher, SseBody, Subscription};

/// Publishes one event at a time, and has each reader take it and ask for more, as a server does.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    // `cargo bench` passes no numbers.
    let (readers, events) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
    #[cfg(feature = "metrics")]
    let _page = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let publisher = Publisher::new();
    let mut bodies = Vec::new();
    for _ in 0..readers {
        let grant = Grant::new([ChannelName::from_static("a")]);
        bodies.push(SseBody::from(Subscription::open(&publisher, grant).await.unwrap()));
    }
    bodies.iter_mut().for_each(take);
    for _ in 0..events {
        publisher.channel("a").send(Event::text("a token of an answer, or a line of a chat")).await.unwrap();
        bodies.iter_mut().for_each(take);
        tokio::task::yield_now().await;
    }
}

/// Takes what there is, and looks once more.
fn take(body: &mut SseBody) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(_)) = Pin::new(&mut *body).poll_frame(&mut cx) {}
}
