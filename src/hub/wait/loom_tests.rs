//! Tests waiting in every interleaving: `RUSTFLAGS="--cfg loom" cargo test --lib --release loom`.
//!
//! The tests use a small model of a channel: a number that grows and the waiters, under one lock, used as
//! `hub::publish`, `Position::park` and `Position::leave` use them. loom reports a lost wake-up as a deadlock.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
};

use loom::{future::block_on, thread};

use super::*;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

#[derive(Default)]
struct Channel(Mutex<State>);

#[derive(Default)]
struct State {
    published: usize,
    waiters: Waiters,
}

impl Channel {
    fn publish(&self) {
        let mut state = lock(&self.0);
        state.published += 1;
        let wakeups = Wakeups::of_all(state.waiters.take_all());
        drop(state);
        drop(wakeups);
    }

    /// Waits until `count` events were published.
    async fn read(&self, count: usize) {
        let mut ticket = Ticket::default();
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.published >= count {
                return Poll::Ready(());
            }
            let replaced = state.waiters.park(&mut ticket, cx.waker());
            drop(state);
            drop(replaced);
            Poll::Pending
        })
        .await;
    }

    fn leave(&self, ticket: &mut Ticket) {
        let waker = lock(&self.0).waiters.take(ticket);
        drop(waker);
    }

    fn park(&self, ticket: &mut Ticket, waker: &Waker) {
        let replaced = lock(&self.0).waiters.park(ticket, waker);
        drop(replaced);
    }
}

/// Returns a waker and a counter of its wake-ups.
pub(crate) fn counting() -> (Waker, Arc<AtomicUsize>) {
    struct Count(Arc<AtomicUsize>);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    (Arc::new(Count(count.clone())).into(), count)
}

#[test]
fn loom_a_publish_wakes_a_reader_that_parks_at_the_same_time() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        let publisher = thread::spawn({
            let channel = channel.clone();
            move || channel.publish()
        });
        block_on(channel.read(1));
        publisher.join().unwrap();
    });
}

#[test]
fn loom_two_publishers_wake_a_reader_that_needs_both() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        let publishers = [(); 2].map(|()| {
            let channel = channel.clone();
            thread::spawn(move || channel.publish())
        });
        block_on(channel.read(2));
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_a_publish_wakes_both_of_two_readers() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        let reader = thread::spawn({
            let channel = channel.clone();
            move || block_on(channel.read(1))
        });
        let publisher = thread::spawn({
            let channel = channel.clone();
            move || channel.publish()
        });
        block_on(channel.read(1));
        reader.join().unwrap();
        publisher.join().unwrap();
    });
}

#[test]
fn loom_a_reader_that_leaves_while_it_is_woken_takes_nobody_elses_place() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        let (waker, stays) = counting();
        let mut ticket = Ticket::default();
        channel.park(&mut ticket, &waker);
        let leaver = thread::spawn({
            let channel = channel.clone();
            move || {
                let mut ticket = Ticket::default();
                channel.park(&mut ticket, Waker::noop());
                channel.leave(&mut ticket);
            }
        });
        let publisher = thread::spawn({
            let channel = channel.clone();
            move || channel.publish()
        });
        leaver.join().unwrap();
        publisher.join().unwrap();
        assert_eq!(stays.load(Ordering::SeqCst), 1, "woken once");
        assert_eq!(lock(&channel.0).waiters.len(), 0);
    });
}
