//! The gate, in every interleaving: `RUSTFLAGS="--cfg loom" cargo test --lib --release loom`. loom reports a lost wake-up
//! as a deadlock.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
};

use loom::{future::block_on, thread};

use super::*;
use crate::hub::wait::loom_tests::counting;

/// Waits until `number` is reached, or means nothing any more, which is asked once the place is taken.
async fn pass(gate: &Gate, number: u64, is_void: impl Fn() -> bool) {
    let mut place = None;
    poll_fn(|cx| {
        if !gate.wait(number, &mut place, cx.waker()) || is_void() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    gate.leave(&mut place);
}

#[test]
fn loom_who_begins_to_wait_while_the_number_is_reached_is_woken() {
    loom::model(|| {
        let gate = Arc::new(Gate::default());
        let other = thread::spawn({
            let gate = gate.clone();
            move || [1, 2].into_iter().for_each(|number| gate.reach(number))
        });
        block_on(pass(&gate, 2, || false));
        other.join().unwrap();
        assert!(lock(&gate.waiting).is_empty());
    });
}

#[test]
fn loom_who_begins_to_wait_while_all_begins_anew_is_woken_or_sees_it() {
    loom::model(|| {
        let (gate, void) = (Arc::new(Gate::default()), Arc::new(AtomicU64::new(0)));
        let renewing = thread::spawn({
            let (gate, void) = (gate.clone(), void.clone());
            move || {
                void.store(1, Ordering::Release);
                gate.reset();
            }
        });
        block_on(pass(&gate, 1, || void.load(Ordering::Acquire) == 1));
        renewing.join().unwrap();
        assert!(lock(&gate.waiting).is_empty());
    });
}

#[test]
fn loom_who_leaves_while_the_number_is_reached_takes_nobody_elses_place() {
    loom::model(|| {
        let gate = Arc::new(Gate::default());
        let ((waker, stays), mut place) = (counting(), None);
        assert!(gate.wait(1, &mut place, &waker));
        let leaver = thread::spawn({
            let gate = gate.clone();
            move || {
                let mut place = None;
                gate.wait(1, &mut place, Waker::noop());
                gate.leave(&mut place);
            }
        });
        gate.reach(1);
        leaver.join().unwrap();
        assert_eq!(stays.load(Ordering::SeqCst), 1, "woken once");
        assert!(lock(&gate.waiting).is_empty());
    });
}
