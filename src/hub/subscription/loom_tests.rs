//! Tests a whole hub in every interleaving with up to two preemptions: publishers, and a reader of two channels that
//! waits for them.

use std::{future::poll_fn, task::Poll};

use futures_util::{FutureExt as _, StreamExt as _};
use loom::{
    future::block_on,
    model::Builder,
    thread::{JoinHandle, spawn},
};

use super::*;
use crate::{Event, Grant, OpenOptions, PublishError, Publisher, Retention, hub::Sent, wire::name::ChannelName};

const CHANNELS: [ChannelName; 2] = [ChannelName::from_static("a"), ChannelName::from_static("b")];

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn open(publisher: &Publisher) -> Subscription {
    Subscription::open(publisher, Grant::new(CHANNELS)).now_or_never().expect("in process nothing waits").unwrap()
}

/// Starts a thread that publishes.
fn publish(
    publisher: &Publisher,
    work: impl AsyncFnOnce(Publisher) -> Result<Sent, PublishError> + Send + 'static,
) -> JoinHandle<()> {
    let publisher = publisher.clone();
    spawn(move || drop(work(publisher).now_or_never().expect("in process nothing waits").unwrap()))
}

/// Reads the events up to `last`, or to the end. Returns their offsets, and how many gaps were reported.
fn read(subscription: &mut Subscription, last: u64) -> (Vec<u64>, usize) {
    let (mut offsets, mut gaps) = (Vec::new(), 0);
    block_on(poll_fn(|cx| {
        while let Poll::Ready(delivery) = subscription.poll_next_unpin(cx) {
            match delivery {
                Some(Delivery::Event(event)) => offsets.push(event.offset().get()),
                Some(Delivery::Gap(_)) => gaps += 1,
                None => return Poll::Ready(()),
            }
        }
        if offsets.last() == Some(&last) { Poll::Ready(()) } else { Poll::Pending }
    }));
    (offsets, gaps)
}

#[test]
fn loom_a_reader_of_two_channels_gets_all_of_both_in_order() {
    explore(|| {
        let publisher = Publisher::new();
        let mut subscription = open(&publisher);
        let publishers = CHANNELS.map(|name| {
            publish(&publisher, async move |publisher| publisher.channel(name).send(Event::text("x")).await)
        });
        assert_eq!(read(&mut subscription, 2), (vec![1, 2], 0));
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_a_reader_of_two_channels_gets_the_last_of_both_before_its_end() {
    explore(|| {
        let publisher = Publisher::new();
        let mut subscription = open(&publisher);
        let publishers = CHANNELS.map(|name| {
            publish(&publisher, async move |publisher| publisher.channel(name).finish(Event::text("x")).await)
        });
        assert_eq!(read(&mut subscription, u64::MAX), (vec![1, 2], 0));
        assert_eq!(subscription.end_reason(), Some(EndReason::Finished));
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_a_reader_of_two_channels_is_told_once_of_what_is_evicted_before_it() {
    explore(|| {
        let publisher = Publisher::builder().retention(Retention::new().events(1)).build();
        let mut subscription = open(&publisher);
        let publishing = publish(&publisher, async |publisher| {
            publisher.channel("a").send(Event::text("x")).await?;
            publisher.channel("a").send(Event::text("y")).await?;
            publisher.channel("b").send(Event::text("z")).await
        });
        let read = read(&mut subscription, 3);
        assert!(read == (vec![1, 2, 3], 0) || read == (vec![2, 3], 1), "{read:?}");
        publishing.join().unwrap();
    });
}

#[test]
fn loom_what_is_published_while_the_last_reader_leaves_is_there_for_its_return() {
    explore(|| {
        let publisher = Publisher::new();
        let subscription = open(&publisher);
        let id = subscription.cursor().to_string();
        let publishing = publish(&publisher, async |publisher| publisher.channel("a").send(Event::text("x")).await);
        drop(subscription);
        publishing.join().unwrap();
        let resumed = OpenOptions::new().open(&publisher, Grant::new(CHANNELS), Some(id.as_bytes()));
        assert_eq!(read(&mut resumed.now_or_never().unwrap().unwrap(), 1), (vec![1], 0));
    });
}
