//! How a response leaves hyper. The service gives the body to the connection's driver, and gives hyper a body that never
//! yields anything. hyper then writes the head and waits, and the driver takes the connection away from it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{chunk::Framing, watched};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// The place where a body changes hands. All parties are in the same task, but hyper is between them.
pub(super) struct Handover<B> {
    /// Set when a body was left here. From then on, hyper writes only the rest of the response's head.
    left: AtomicBool,
    /// Set when hyper has nothing more to write.
    written: AtomicBool,
    body: Mutex<Option<(B, Framing)>>,
}

impl<B> Handover<B> {
    pub(super) fn new() -> Self {
        Self { left: AtomicBool::new(false), written: AtomicBool::new(false), body: Mutex::new(None) }
    }

    /// Leaves a body for the driver.
    pub(super) fn leave(&self, body: B, framing: Framing) {
        *lock(&self.body) = Some((body, framing));
        self.left.store(true, Ordering::Release);
    }

    /// Returns whether a body was left here.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Records that hyper has written everything, since it flushes its I/O only then.
    pub(super) fn written(&self) {
        self.written.store(true, Ordering::Release);
    }

    /// Takes the body, if there is one and hyper has written the head.
    pub(super) fn take(&self) -> Option<(B, Framing)> {
        if self.written.load(Ordering::Acquire) { lock(&self.body).take() } else { None }
    }
}

pin_project! {
    /// The body that hyper gets.
    #[project = CarriedProj]
    pub(super) enum Carried<B> {
        /// A body that hyper sends. Tells the task of an HTTP/2 stream what it yields.
        ByHyper { #[pin] body: B, watched: bool },
        /// Stands in for a body that the driver sends.
        Detached,
    }
}

impl<B: Body> Body for Carried<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            CarriedProj::ByHyper { body, watched } => {
                let frame = body.poll_frame(cx);
                if *watched {
                    watched::note(&frame);
                }
                frame
            }
            // The driver, which has polled hyper, continues without it.
            CarriedProj::Detached => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::ByHyper { body, .. } => body.is_end_stream(),
            Self::Detached => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::ByHyper { body, .. } => body.size_hint(),
            Self::Detached => SizeHint::default(),
        }
    }
}
