//! The responses that the layer makes itself: their status, headers and body. `answer` decides when each is due.

use std::time::Duration;

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::{
    body::SseBody,
    greeting::{GREETING, Greeting},
};
use crate::{
    authorize::Denied,
    hub::{Ending, Subscription},
    wire::{cursor::Offset, encode::write_retry, notice::Gap},
};

impl SseBody {
    /// Returns a response with this body and the headers that a stream needs.
    ///
    /// One of them is for clients on `fetch`: `tower-sse` has the version of the protocol, the interval of the keep-alive in
    /// milliseconds, and whether the stream is strict, such as `1;keep-alive=15000;strict`. A page from another origin can read it
    /// if your CORS layer exposes it.
    ///
    /// For a [strict](Self::strict) body whose subscription begins with a gap, it is a 410 (Gone) instead, with an
    /// `application/problem+json` body. Besides the usual members of a problem, it has the gap's `reason`, `requested`
    /// and `first`, as a [`gap` event](crate::Gap) has them, and `last_event_id`: the id with which the client gets what
    /// is still held.
    pub fn into_response(self) -> Response<Self> {
        match self.fatal_gap() {
            Some(gap) => {
                let (response, ending) = (gone(gap), Ending::Gap(gap.reason));
                self.end(ending);
                response
            }
            None => {
                let greeting = self.greeting();
                stream(self, greeting, false)
            }
        }
    }
}

impl From<Subscription> for Response<SseBody> {
    fn from(subscription: Subscription) -> Self {
        SseBody::new(subscription).into_response()
    }
}

/// A 200 with a stream. `no-transform` keeps compressing proxies from buffering it, and `x-accel-buffering` does the
/// same for nginx.
pub(crate) fn stream(body: SseBody, greeting: Greeting, declare_charset: bool) -> Response<SseBody> {
    let content_type = if declare_charset { "text/event-stream; charset=utf-8" } else { "text/event-stream" };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(GREETING, greeting.value());
    response
}

/// A stream that only says when to reconnect, because a browser gives up for good on a 503.
pub(crate) fn come_back(after: Duration) -> Response<SseBody> {
    let mut line = Vec::new();
    write_retry(&mut line, after);
    stream(SseBody::rest(Some(line.into())), Greeting::default(), false)
}

/// A 204: "a client can be told to stop reconnecting using the HTTP 204 No Content response code" (HTML, 9.2.1).
pub(crate) fn stop() -> Response<SseBody> {
    empty(StatusCode::NO_CONTENT)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<SseBody> {
    not_stored(status, SseBody::whole(None))
}

/// A status that says that a request may succeed after a time, with that time in whole seconds.
pub(crate) fn try_again(status: StatusCode, after: Duration, detail: &str) -> Response<SseBody> {
    let mut response = problem(status, Some(detail));
    response.headers_mut().insert(RETRY_AFTER, retry_after(after));
    response
}

pub(crate) fn retry_after(after: Duration) -> HeaderValue {
    let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    seconds.max(1).into()
}

/// A 410: what comes after the request's last event id is gone, at least in part.
pub(crate) fn gone(gap: &Gap) -> Response<SseBody> {
    let members = json!({
        "reason": gap.reason.as_str(),
        "requested": gap.requested,
        "first": gap.first.map(Offset::get),
        "last_event_id": gap.cursor.to_string(),
    });
    problem_with(StatusCode::GONE, Some("events that the stream would begin with are no longer held"), members)
}

/// An answer in JSON that is made for this request, and is not kept by a cache.
pub(crate) fn in_json(status: StatusCode, members: &Value) -> Response<SseBody> {
    let mut response = not_stored(status, SseBody::whole(Some(members.to_string().into())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A problem as in [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457): with `about:blank`, the title is that of the
/// status.
pub(crate) fn problem(status: StatusCode, detail: Option<&str>) -> Response<SseBody> {
    problem_with(status, detail, json!({}))
}

/// A problem with more members.
pub(crate) fn problem_with(status: StatusCode, detail: Option<&str>, mut body: Value) -> Response<SseBody> {
    body["type"] = "about:blank".into();
    body["title"] = status.canonical_reason().into();
    body["status"] = status.as_u16().into();
    if let Some(detail) = detail {
        body["detail"] = detail.into();
    }
    let mut response = in_json(status, &body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

pub(crate) fn denied(denied: &Denied) -> Response<SseBody> {
    denied_with(denied, json!({}))
}

/// A denial with more members.
pub(crate) fn denied_with(denied: &Denied, members: Value) -> Response<SseBody> {
    let (status, challenge, detail) = denied.parts();
    let mut response = problem_with(status, detail, members);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

/// Reduces an answer to what a HEAD gets: the headers. It announces no size, so as not to announce one that a GET would
/// not.
pub(crate) fn head(response: Response<SseBody>) -> Response<SseBody> {
    response.map(|_| SseBody::rest(None))
}

pub(crate) fn not_stored(status: StatusCode, body: SseBody) -> Response<SseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    async fn json(response: Response<SseBody>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_response_says_what_is_wrong() {
        let response = problem(StatusCode::BAD_REQUEST, Some("channel name is empty"));
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers().len(), 2);
        assert!(response.body().size_hint().exact().is_some());
        let expected = json!({
            "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "channel name is empty",
        });
        assert_eq!(json(response).await, expected);
    }

    #[tokio::test]
    async fn a_denial_has_its_status_and_challenge() {
        let response = denied(&Denied::unauthorized());
        assert_eq!(
            (response.status().as_u16(), &response.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        assert_eq!(json(response).await, json!({ "type": "about:blank", "title": "Unauthorized", "status": 401 }));
        let response = denied(&Denied::forbidden().detail("not yours \"\n"));
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_eq!(json(response).await["detail"], "not yours \"\n");
    }

    #[tokio::test]
    async fn a_stream_has_exactly_its_headers() {
        let response = come_back(Duration::from_millis(1234));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["tower-sse"], "1");
        assert_eq!(response.headers().len(), 4);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "retry: 1234\n");
    }

    #[test]
    fn a_time_to_come_back_is_in_whole_seconds_and_may_be_any() {
        let seconds = |after| retry_after(after).to_str().unwrap().parse::<u64>().unwrap();
        let times = [Duration::ZERO, Duration::from_millis(1001), Duration::from_secs(2), Duration::MAX];
        assert_eq!(times.map(seconds), [1, 2, 2, u64::MAX]);
    }

    #[tokio::test]
    async fn a_head_has_the_headers_and_no_body() {
        let response = head(problem(StatusCode::FORBIDDEN, None));
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.body().size_hint().exact(), None);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
    }
}
