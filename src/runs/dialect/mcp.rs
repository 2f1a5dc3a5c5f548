//! MCP's Streamable HTTP transport.

mod calls;

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, StatusCode, request::Parts};
use serde_json::{Value, json};

use super::{Dialect, Outcome, position::Position, splice};
use crate::{
    serve::{Output, Retry, SseBody, last_event_id},
    wire::{
        encoded::EncodedEvent,
        event::Event,
        name::{CustomId, EventName},
    },
};

/// The dialect of [MCP's Streamable HTTP][spec] for requests that are answered with a stream, such as `tools/call`.
///
/// A run is one call. [`Runs::call`](super::super::Runs::call) answers the `POST`: the producer sends notifications, and what it
/// returns is the result. If it returns no result, because the run was [stopped](Outcome::Stopped), has failed or is lost, the
/// client gets an error response with the code -32603, whose `data` has the outcome in one word.
///
/// With the revision 2025-11-25 and before it, the stream begins with an event that has an id and empty data, and a client that
/// loses its connection goes on with a `GET`, which [`Runs::resume`](super::super::Runs::resume) answers. Each id names its run,
/// so that the id is all that is needed, on any node. A call goes on without its client until it is cancelled.
///
/// With the revision 2026-07-28, there are no ids and no `GET`, and a client cancels a call by closing the stream: the run stops
/// one second after that.
///
/// ```
/// use serde_json::{Value, json};
/// use tower_sse::runs::{Mcp, ProducerError, Writer};
///
/// async fn count(run: Writer, request: Value) -> Result<Value, ProducerError> {
///     for n in 1..=3 {
///         run.send_all(Mcp::progress(&request, n, 3)).await?;
///     }
///     Ok(json!({ "content": [{ "type": "text", "text": "1, 2, 3" }] }))
/// }
/// ```
///
/// [spec]: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
#[derive(Debug, Clone, Default)]
pub struct Mcp {
    close_after: Option<Duration>,
    retry: Retry,
    /// As since the revision 2026-07-28: closing cancels, and nothing is resumed.
    closing_cancels: bool,
    after: Option<Position>,
    /// The id of the request.
    request: Value,
    is_answered: bool,
}

impl Mcp {
    /// Closes an answer after this time, but not the stream behind it: the client polls on with a `GET`, and no connection lasts
    /// for as long as a call. By default a connection lasts until the call is answered. It has no effect since the revision
    /// 2026-07-28.
    pub fn close_after(mut self, time: Duration) -> Self {
        self.close_after = Some(time);
        self
    }

    /// Sets how long a client waits before it goes on with a `GET`: a `Duration`, or a range of them. The default is three
    /// seconds.
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.retry = retry.into();
        self
    }

    /// Returns the id of the run that a request goes on with, by its `Last-Event-ID`.
    pub fn run_of(parts: &Parts) -> Option<String> {
        let id = last_event_id(&parts.headers, &parts.uri)?;
        let (run, _) = parse_id(std::str::from_utf8(&id).ok()?)?;
        Some(run)
    }

    /// A notification.
    pub fn notification(method: &str, params: &Value) -> Event {
        message(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    /// A notification of the progress of a request, if the request has asked for it.
    pub fn progress(request: &Value, progress: u64, total: u64) -> Option<Event> {
        let token = request["params"]["_meta"].get("progressToken")?;
        let params = json!({ "progressToken": token, "progress": progress, "total": total });
        Some(Self::notification("notifications/progress", &params))
    }

    /// The event that a run begins with. The client gets it as one with an id and empty data.
    fn beginning(request: &Value) -> Event {
        Event::text(request["id"].to_string()).name(BEGINNING)
    }

    fn result(id: &Value, result: &Value) -> Event {
        message(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    fn see(&mut self, event: &EncodedEvent) {
        let data = event.data();
        if is_beginning(event) {
            self.request = serde_json::from_str(&data).unwrap_or_default();
        } else if splice::string(&data, &["method"]).is_none() {
            // Neither a request nor a notification.
            self.is_answered = true;
        }
    }

    fn send(&self, source: &EncodedEvent, event: Event, out: &mut Output) {
        match self.closing_cancels {
            true => out.send(event),
            false => out.replace(source, event),
        }
    }
}

const BEGINNING: EventName = EventName::from_static("mcp.request");

fn is_beginning(event: &EncodedEvent) -> bool {
    event.name() == Some(BEGINNING.as_str())
}

fn message(message: &Value) -> Event {
    Event::text(message.to_string())
}

impl Dialect for Mcp {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        if self.is_answered {
            return;
        }
        let text = if outcome.is_done() { "the call has no result" } else { outcome.message() };
        let error = json!({ "code": -32603, "message": text, "data": { "outcome": outcome.as_str() } });
        self.send(source, message(&json!({ "jsonrpc": "2.0", "id": self.request, "error": error })), out);
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            self.see(event);
            match (is_beginning(event), self.closing_cancels) {
                (true, true) => {}
                (true, false) => out.replace(event, Event::text("")),
                (false, true) => out.send(Event::text(event.data())),
                (false, false) => out.pass(event),
            }
        }
    }

    fn body(&self, body: SseBody) -> SseBody {
        match (self.closing_cancels, self.close_after) {
            (true, _) => body.retry(None),
            (false, None) => body.retry(self.retry),
            (false, Some(time)) => body.retry(self.retry).close_after(time),
        }
    }

    fn id_prefix(&self, run: &str) -> Option<CustomId> {
        CustomId::try_from(prefix_of(run)).ok()
    }

    /// A client takes a 404 for the end of its session.
    fn absent(&self) -> StatusCode {
        StatusCode::GONE
    }

    // The end of a run repeats the id of the request, which stands at its beginning.
    fn seeks(&mut self, parts: &Parts) -> bool {
        self.after = Position::of(self.last_event_id(parts).as_deref());
        self.after.is_some()
    }

    fn has(&mut self, event: &EncodedEvent) -> bool {
        let has = self.after.is_some_and(|after| after.is_at_or_after(event));
        if has && Outcome::of(event).is_none() {
            self.see(event);
        }
        has
    }

    fn last_event_id(&self, parts: &Parts) -> Option<Vec<u8>> {
        let id = last_event_id(&parts.headers, &parts.uri)?;
        match std::str::from_utf8(&id).ok().and_then(parse_id) {
            Some((_, position)) => Some(position.into()),
            None => Some(id),
        }
    }
}

/// What stands before each id of a run. The run's id is in it, with all characters escaped that an id or a header can't have.
fn prefix_of(run: &str) -> String {
    let mut prefix = "run.".to_owned();
    for byte in run.bytes() {
        match byte {
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => prefix.push(byte.into()),
            // Writing to a string does not fail.
            _ => _ = write!(prefix, "_{byte:02x}"),
        }
    }
    prefix + "."
}

/// Returns the run that an id names, and the position in it.
fn parse_id(id: &str) -> Option<(String, &str)> {
    let (run, position) = id.strip_prefix("run.")?.split_once('.')?;
    let mut parts = run.split('_');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some((String::from_utf8(bytes).ok()?, position))
}

/// Whether the client speaks a revision in which closing cancels.
fn closing_cancels(headers: &HeaderMap) -> bool {
    // Revisions are dates.
    headers.get("mcp-protocol-version").is_some_and(|version| *version >= *"2026-07-28")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_run() {
        for run in ["3fa94c01", "a.b_c-D", "session/\"7\"", "é 🦀", "_", "."] {
            let id = prefix_of(run) + "3fa94c01b2d7-42";
            assert_eq!(parse_id(&id), Some((run.to_owned(), "3fa94c01b2d7-42")));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{id}");
        }
        for id in ["", "run.", "run.a", "3fa94c01b2d7-42", "run._.1", "run._g0.1", "run._é.1", "run._ff.1", "run._+1.1"]
        {
            assert_eq!(parse_id(id), None, "{id}");
        }
    }
}
