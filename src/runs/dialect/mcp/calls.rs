//! The answers to the requests of MCP clients.

use std::time::Duration;

use http::{Response, StatusCode, request::Parts};
use serde_json::{Value, json};

use super::{Mcp, closing_cancels};
use crate::{
    runs::{New, ProducerError, Runs, Writer},
    serve::{SseBody, response},
};

impl Mcp {
    /// Answers a request with its result, as JSON.
    pub fn reply(request: &Value, result: &Value) -> Response<SseBody> {
        response::in_json(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
    }

    /// Answers a request with an error, as JSON. The code is one of JSON-RPC, such as -32601 for a method that does not exist.
    pub fn refuse(request: &Value, code: i32, message: &str) -> Response<SseBody> {
        let error = json!({ "code": code, "message": message });
        response::in_json(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }))
    }

    /// Answers a notification, or a response of the client: with 202.
    pub fn accepted() -> Response<SseBody> {
        response::empty(StatusCode::ACCEPTED)
    }
}

impl Runs<Mcp> {
    /// Answers a `POST` that calls a tool with a run. `request` is the JSON-RPC request, which the tool gets. What it returns is
    /// the result.
    ///
    /// The client's revision is that of the header `MCP-Protocol-Version`. The answer is refused as that of
    /// [`start`](Self::start) is.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn call<F, P>(&self, new: New, parts: &Parts, request: Value, tool: F) -> Response<SseBody>
    where
        F: FnOnce(Writer, Value) -> P + Send + 'static,
        P: Future<Output = Result<Value, ProducerError>> + Send,
    {
        let producer = async move |run: Writer| {
            run.send(Mcp::beginning(&request)).await?;
            let id = request["id"].clone();
            let result = tool(run.clone(), request).await?;
            run.send(Mcp::result(&id, &result)).await?;
            Ok(())
        };
        match closing_cancels(&parts.headers) {
            false => self.start(new, producer).await,
            true => {
                let dialect = Mcp { closing_cancels: true, ..self.spoken().clone() };
                self.dialect(dialect).stop_when_unread(CLOSED).start(new, producer).await
            }
        }
    }

    /// Answers a `GET`, with which a client goes on after an event: with the run that the event was of. Without a
    /// `Last-Event-ID` it is a 405, since there is no stream besides those of calls.
    ///
    /// Anyone who knows an id can read the run. To decide whether the client may, see [`Mcp::run_of`].
    pub async fn resume(&self, parts: &Parts) -> Response<SseBody> {
        match Mcp::run_of(parts) {
            Some(run) => self.attach(&run, parts).await,
            None => {
                response::problem(StatusCode::METHOD_NOT_ALLOWED, Some("there is no stream besides those of calls"))
            }
        }
    }
}

/// For how long a call goes on after its client has closed the stream. It is also the time in which the answer has to begin.
const CLOSED: Duration = Duration::from_secs(1);
