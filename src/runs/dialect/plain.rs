//! For `EventSource`.

use super::{Dialect, Outcome};
use crate::{
    serve::Output,
    wire::{encoded::EncodedEvent, event::Event, name::EventName},
};

const ATTEMPT: EventName = EventName::from_static("run.attempt");

/// The dialect of `EventSource`, and of anything else that reads events and knows nothing of a protocol.
///
/// The events arrive as they were sent. The last one is named `run.outcome`, and its data is `{"outcome":"done"}`, or with
/// another [outcome](Outcome). If events are missing, there is a `gap` event before the next one. A page that reconnects goes
/// on after its last event. If another node [takes the run over](crate::runs::Runs::take_over), an event named `run.attempt` says
/// so, whose data is `{"attempt":2}`.
///
/// ```js
/// const run = new EventSource("/runs/7");
/// run.onmessage = (event) => show(event.data);
/// run.addEventListener("run.outcome", (event) => {
///     run.close();
///     if (JSON.parse(event.data).outcome !== "done") showThatItIsIncomplete();
/// });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Dialect for Plain {
    fn outcome(&mut self, _outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        out.pass(source);
    }

    fn attempt(&mut self, attempt: u64, source: &EncodedEvent, out: &mut Output) {
        out.replace(source, Event::text(format!(r#"{{"attempt":{attempt}}}"#)).name(ATTEMPT));
    }

    fn is_strict(&self) -> bool {
        false
    }
}
