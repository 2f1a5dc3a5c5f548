//! Tests of the level in every interleaving: `RUSTFLAGS="--cfg loom" cargo test --lib --release loom`. loom reports a
//! lost wake-up as a deadlock.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
};

use loom::{future::block_on, thread};

use super::*;
use crate::hub::wait::loom_tests::counting;

/// Waits until `number` is reached, or has lost its meaning. Checks for the latter after taking the place.
async fn pass(level: &Level, number: u64, is_void: impl Fn() -> bool) {
    let mut place = None;
    poll_fn(|cx| {
        if !level.wait(number, &mut place, cx.waker()) || is_void() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    level.leave(&mut place);
}

#[test]
fn loom_who_begins_to_wait_while_the_number_is_reached_is_woken() {
    loom::model(|| {
        let level = Arc::new(Level::default());
        let other = thread::spawn({
            let level = level.clone();
            move || [1, 2].into_iter().for_each(|number| level.reach(number))
        });
        block_on(pass(&level, 2, || false));
        other.join().unwrap();
        assert!(lock(&level.waiting).is_empty());
    });
}

#[test]
fn loom_who_begins_to_wait_while_all_begins_anew_is_woken_or_sees_it() {
    loom::model(|| {
        let (level, void) = (Arc::new(Level::default()), Arc::new(AtomicU64::new(0)));
        let renewing = thread::spawn({
            let (level, void) = (level.clone(), void.clone());
            move || {
                void.store(1, Ordering::Release);
                level.reset();
            }
        });
        block_on(pass(&level, 1, || void.load(Ordering::Acquire) == 1));
        renewing.join().unwrap();
        assert!(lock(&level.waiting).is_empty());
    });
}

#[test]
fn loom_who_leaves_while_the_number_is_reached_takes_nobody_elses_place() {
    loom::model(|| {
        let level = Arc::new(Level::default());
        let ((waker, stays), mut place) = (counting(), None);
        assert!(level.wait(1, &mut place, &waker));
        let leaver = thread::spawn({
            let level = level.clone();
            move || {
                let mut place = None;
                level.wait(1, &mut place, Waker::noop());
                level.leave(&mut place);
            }
        });
        level.reach(1);
        leaver.join().unwrap();
        assert_eq!(stays.load(Ordering::SeqCst), 1, "woken once");
        assert!(lock(&level.waiting).is_empty());
    });
}
