//! What the clients of a protocol expect of a run.

mod ag_ui;
mod ai_sdk;
mod anthropic;
mod mcp;
mod named;
mod open_ai;
mod plain;
mod position;
mod responses;
mod splice;

use std::borrow::Cow;

use http::{HeaderMap, StatusCode, request::Parts};

pub use self::{
    ag_ui::AgUi,
    ai_sdk::AiSdk,
    anthropic::Anthropic,
    mcp::Mcp,
    open_ai::{ChatCompletions, Completion},
    plain::Plain,
    responses::{ModelResponse, Responses},
};
use super::outcome::Outcome;
use crate::{
    serve::{Output, SseBody, last_event_id},
    wire::{encoded::EncodedEvent, name::CustomId, notice::Gap},
};

/// What the clients of one protocol expect of a run: of its events, its end, and the answers around it.
///
/// The events of a run are the application's, in the form of the protocol. The dialect adds what the protocol says at the end
/// of an answer, by the [outcome](Outcome) with which the run has ended. Each answer has a clone of the dialect to itself, so
/// that it can have a state.
///
/// This one is for clients that read lines of JSON. Events named `token` are parts of one text:
///
/// ```
/// use tower_sse::{EncodedEvent, Event, Output, runs::{Delta, Dialect, Outcome}};
///
/// #[derive(Clone)]
/// struct Lines;
///
/// impl Dialect for Lines {
///     fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
///         let end = match outcome {
///             Outcome::Done => r#"{"end":true}"#.to_owned(),
///             other => format!(r#"{{"error":"{other}"}}"#),
///         };
///         out.replace(source, Event::text(end));
///     }
///
///     fn delta<'a>(name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
///         (name == Some("token")).then(|| Delta::new("the text", data))
///     }
/// }
/// ```
pub trait Dialect: Clone + Send + Sync + 'static {
    /// Tells the client how the run ended. `source` is the run's last event; what [replaces](Output::replace) it takes its
    /// id.
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output);

    /// Sends events of the run: by default, as they are. See [`Transform::events`](crate::Transform::events).
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        events.iter().for_each(|event| out.pass(event));
    }

    /// Tells the client that another node [goes on](super::Runs::take_over) with the run: `attempt` counts its producers, and is 2
    /// for the second one. By default it is not told, and the events of the producers follow each other. `source` is the event
    /// with which the producer begins.
    fn attempt(&mut self, attempt: u64, source: &EncodedEvent, out: &mut Output) {
        let _ = (attempt, source, out);
    }

    /// The rule by which events become one: returns the part of a text that an event adds. Events that follow each other, have
    /// the same name, and add to the same text are merged: for readers that come late, and before they are sent, if
    /// [`Runs::roll_up`](super::Runs::roll_up) is on. All others stay as they are. By default no event is merged.
    ///
    /// An event with a custom id, a retry or a comment is never merged by `roll_up`, and one with a retry or a comment never at
    /// all. The rule belongs to the type: it has to give the same answer for all of its values.
    fn delta<'a>(name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        let _ = (name, data);
        None
    }

    /// Returns the data of a merged event: that of the last event that was merged, with the text of all of them. By default it
    /// is the text alone. A merged event has the name and the id of that last event.
    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        let _ = data;
        text.to_owned().into()
    }

    /// Sends what goes before the first event of an answer: by default, nothing.
    fn begin(&mut self, out: &mut Output) {
        let _ = out;
    }

    /// Tells the client that events may be missing. By default a [strict](Self::is_strict) answer breaks off, and another one
    /// has a `gap` event. See [`Transform::gap`](crate::Transform::gap).
    fn gap(&mut self, gap: &Gap, out: &mut Output) {
        let _ = gap;
        out.notice();
    }

    /// Returns `true` if the client is not an `EventSource`, so that the end of an answer has to mean that it is complete. The
    /// default is `true`.
    /// See [`SseBody::strict`](crate::SseBody::strict).
    fn is_strict(&self) -> bool {
        true
    }

    /// Adds headers to a stream: by default, none.
    fn headers(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// Sets what the body of an answer is besides, such as its [`retry`](SseBody::retry) or its
    /// [`keep_alive`](SseBody::keep_alive). By default it is left as it is.
    fn body(&self, body: SseBody) -> SseBody {
        body
    }

    /// Returns a prefix for each id in an answer with this run, for clients that send back nothing but the id.
    /// [`last_event_id`](Self::last_event_id) has to remove it again. By default there is none.
    fn id_prefix(&self, run: &str) -> Option<CustomId> {
        let _ = run;
        None
    }

    /// The status of an answer if there is no such run: 404 by default.
    fn absent(&self) -> StatusCode {
        StatusCode::NOT_FOUND
    }

    /// Returns the id of the last event that the client got, if it goes on after that. By default it is the
    /// [last event id](crate::last_event_id) of the request.
    fn last_event_id(&self, parts: &Parts) -> Option<Vec<u8>> {
        last_event_id(&parts.headers, &parts.uri)
    }

    /// Reads from the request of an answer whether the client says by other means than an id which events it has. If it does,
    /// the events of the run are shown to [`has`](Self::has), and [`last_event_id`](Self::last_event_id) is not asked. By default
    /// it does not.
    fn seeks(&mut self, parts: &Parts) -> bool {
        let _ = parts;
        false
    }

    /// Returns whether the client has an event. It is asked with the events from the beginning of the run on, as far as they are
    /// held, until it returns `false`: the answer begins with that event. The last one that it is asked with is the
    /// [outcome](Outcome::of).
    fn has(&mut self, event: &EncodedEvent) -> bool {
        let _ = event;
        false
    }
}

/// What an event adds to a text, from [`Dialect::delta`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta<'a> {
    /// What the text belongs to. Events with the same one can be merged, if they follow each other.
    pub of: Cow<'a, str>,
    /// The text that the event adds.
    pub text: Cow<'a, str>,
}

impl<'a> Delta<'a> {
    /// A part of the text that belongs to `of`.
    pub fn new(of: impl Into<Cow<'a, str>>, text: impl Into<Cow<'a, str>>) -> Self {
        Self { of: of.into(), text: text.into() }
    }
}
