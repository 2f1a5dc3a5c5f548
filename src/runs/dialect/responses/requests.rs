//! The answers to the requests of the Responses API.

use http::{Response, StatusCode, request::Parts};
use serde_json::{Value, json};

use super::{Outcome, Responses, Seen};
use crate::{
    runs::{New, ProducerError, RunError, Runs, Writer, names},
    serve::{SseBody, response},
    wire::percent,
};

impl Runs<Responses> {
    /// Answers `POST /responses`: with the run if the request's JSON has `stream`, with the response object at once if it has
    /// `background`, and otherwise with the response object once the run has ended.
    ///
    /// The answer is refused as that of [`start`](Self::start) is.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn create<F, P>(&self, new: New, request: &Value, producer: F) -> Response<SseBody>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        if request["stream"] == true {
            return self.start(new, producer).await;
        }
        let run = match self.spawn(new, producer).await {
            Ok(run) => run,
            Err(error) => return self.refused(&error),
        };
        match request["background"] == true {
            true => self.show(&run).await,
            false => self.show_ended(&run).await,
        }
    }

    /// Answers `GET /responses/{id}`: with the run if the query has `stream=true`, after the event with the number
    /// `starting_after`, and otherwise with the response object as it is now.
    ///
    /// Anyone who knows an id can read the response: decide before this call whether the client may.
    pub async fn retrieve(&self, id: &str, parts: &Parts) -> Response<SseBody> {
        match percent::query_values(parts.uri.query(), "stream").any(|stream| stream == "true") {
            true => self.attach(id, parts).await,
            false => self.show(id).await,
        }
    }

    /// Answers `POST /responses/{id}/cancel`: [stops](Self::stop) the run, and answers with the response object once it has
    /// ended. Decide before this call whether the client may stop the run.
    pub async fn cancel(&self, id: &str) -> Response<SseBody> {
        match self.stop(id).await {
            Ok(()) => self.show_ended(id).await,
            Err(error) => self.refused(&error),
        }
    }

    /// Returns the response object as it is now, with the items that are complete; `None` if there is no such run.
    ///
    /// It reads all that is held of the run.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    pub async fn response(&self, id: &str) -> Result<Option<Value>, RunError> {
        let Ok(name) = names::of_run(id) else { return Ok(None) };
        let channel = self.publisher().channel(name);
        let mut page = channel.read(None, PAGE).await?;
        if page.events.is_empty() {
            return Ok(None);
        }
        let mut seen = Seen::default();
        loop {
            page.events.iter().for_each(|event| seen.see(event));
            if page.caught_up {
                let outcome = page.events.last().and_then(Outcome::of);
                return Ok(Some(seen.object(outcome.as_ref(), id)));
            }
            page = channel.read(page.next, PAGE).await?;
        }
    }

    async fn show(&self, id: &str) -> Response<SseBody> {
        match self.response(id).await {
            Ok(Some(object)) => response::in_json(StatusCode::OK, &object),
            Ok(None) => {
                let error = json!({
                    "message": "there is no such response", "type": "invalid_request_error", "param": "response_id",
                    "code": null,
                });
                response::in_json(StatusCode::NOT_FOUND, &json!({ "error": error }))
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn show_ended(&self, id: &str) -> Response<SseBody> {
        match self.ended(id).await {
            Ok(_) => self.show(id).await,
            Err(error) => self.refused(&error),
        }
    }
}

/// How many events are read at a time.
const PAGE: usize = 512;
