//! Waiting for one of two.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

/// Which of two futures was ready first.
pub(super) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for one of two futures, the left one first. The other one is dropped.
pub(super) async fn race<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right): (Pin<&mut A>, Pin<&mut B>) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(output));
        }
        right.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
