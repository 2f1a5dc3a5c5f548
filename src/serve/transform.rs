//! How an application changes what a body sends: event by event, or in runs.

use super::output::Output;
use crate::wire::{
    encoded::EncodedEvent,
    notice::{EndReason, Gap},
};

/// What a body sends instead of its subscription's events: see [`SseBody::transform`](crate::SseBody::transform).
///
/// A transform is asked with everything that can be read now, so that it can put together what a late reader missed. A
/// closure `FnMut(&EncodedEvent, &mut Output)` is a transform too, which is asked event by event.
///
/// This one sends tokens that follow each other as one event, so that a page that is reloaded gets a long answer in a
/// few large pieces:
///
/// ```
/// use tower_sse::{EncodedEvent, EndReason, Event, EventName, Output, SseBody, Subscription, Transform};
///
/// struct Join;
///
/// impl Transform for Join {
///     fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
///         for run in events.chunk_by(|a, b| a.name() == Some("token") && b.name() == Some("token")) {
///             match run {
///                 [only] => out.pass(only),
///                 [.., last] => {
///                     let text: String = run.iter().map(|event| event.data()).collect();
///                     // Resumes after the last of them.
///                     out.replace(last, Event::text(text).name(EventName::from_static("token")));
///                 }
///                 [] => {}
///             }
///         }
///     }
///
///     fn end(&mut self, reason: EndReason, out: &mut Output) {
///         if reason == EndReason::Finished {
///             out.send(Event::text("[DONE]"));
///         }
///         out.notice();
///     }
/// }
///
/// fn body(subscription: Subscription) -> SseBody {
///     SseBody::new(subscription).transform(Join)
/// }
/// ```
pub trait Transform: Send + 'static {
    /// Called once before anything else, for what goes before the first event. By default nothing does.
    ///
    /// It comes in the body's first bytes, after the `retry:` line.
    fn begin(&mut self, out: &mut Output) {
        let _ = out;
    }

    /// Called with the events that can be read now, in order: at least one, and at most about as many as make 32 KiB.
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output);

    /// Called when there is nothing more to read for now, and before [`gap`](Self::gap) and [`end`](Self::end), for what the
    /// transform has kept back. It is called again until it sends nothing. By default it sends nothing.
    fn level(&mut self, out: &mut Output) {
        let _ = out;
    }

    /// Called when events before the next one may be lost. By default the body sends the `gap` event.
    ///
    /// A [strict](crate::SseBody::strict) body breaks off after this, unless it calls [`Output::go_on`]. This is not
    /// called for a gap that a strict stream begins with, if that is answered with a
    /// [410](crate::SseBody::into_response) instead.
    fn gap(&mut self, gap: &Gap, out: &mut Output) {
        let _ = gap;
        out.notice();
    }

    /// Called when the subscription has ended. By default the body sends the `goodbye` event or the `retry:` line that
    /// belongs to the reason, if there is one.
    ///
    /// A [strict](crate::SseBody::strict) body breaks off after this, unless the reason is
    /// [`Finished`](EndReason::Finished) or it calls [`Output::finish`].
    fn end(&mut self, reason: EndReason, out: &mut Output) {
        let _ = reason;
        out.notice();
    }
}

impl<F: FnMut(&EncodedEvent, &mut Output) + Send + 'static> Transform for F {
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            self(event, out);
        }
    }
}

/// The events of a body without a transform.
pub(super) struct Pass;

impl Transform for Pass {
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        events.iter().for_each(|event| out.pass(event));
    }
}
