//! The answers to a request to publish.

use std::time::Duration;

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    authorize::Refusal,
    error::{InvalidText, PublishError},
    hub::Sent,
    publisher::Publisher,
    serve::{
        body::SseBody,
        response::{self, problem_with},
    },
    wire::name::ChannelName,
};

/// The answer to a request of which nothing, or not everything, was published.
pub(super) type Refused = Box<Response<SseBody>>;

pub(super) fn published(published: &[(&ChannelName, Vec<Sent>)]) -> Response<SseBody> {
    let event = |channel: &ChannelName, sent: &Sent| {
        json!({
            "channel": channel.as_str(),
            "id": sent.id.to_string(),
            "reached": sent.reached,
            "repeated": sent.repeated,
        })
    };
    let events = published.iter().flat_map(|(channel, all)| all.iter().map(move |sent| event(channel, sent)));
    let body = json!({ "events": events.collect::<Vec<_>>() });
    let mut response = response::not_stored(StatusCode::OK, SseBody::whole(Some(body.to_string().into())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn closed() -> Response<SseBody> {
    response::stop()
}

pub(super) fn not_found() -> Refused {
    Box::new(response::problem(StatusCode::NOT_FOUND, None))
}

pub(super) fn wrong_method() -> Refused {
    let mut response = response::problem(StatusCode::METHOD_NOT_ALLOWED, None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST,DELETE"));
    Box::new(response)
}

fn because(status: StatusCode, reason: &str, detail: &str) -> Refused {
    Box::new(problem_with(status, Some(detail), json!({ "reason": reason })))
}

pub(super) fn bad(reason: &str, detail: &str) -> Refused {
    because(StatusCode::BAD_REQUEST, reason, detail)
}

pub(super) fn malformed(detail: &str) -> Refused {
    bad("malformed", detail)
}

pub(super) fn invalid(error: &InvalidText) -> Refused {
    bad("invalid-name", &error.to_string())
}

pub(super) fn unsupported(detail: &str) -> Refused {
    because(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", detail)
}

pub(super) fn late() -> Refused {
    because(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")
}

pub(super) fn too_large(detail: &str) -> Refused {
    because(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

pub(super) fn too_large_body(max: usize) -> Refused {
    too_large(&format!("the body has more than {max} bytes"))
}

pub(super) fn not_granted(reason: &str) -> Refused {
    because(StatusCode::FORBIDDEN, reason, "the credentials don't allow this")
}

pub(super) fn refused(publisher: &Publisher, refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::Denied(denied) => {
            publisher.counters().denied.add(1);
            Box::new(response::denied_with(denied, json!({ "reason": "denied" })))
        }
        Refusal::Limited(limited) => {
            publisher.counters().publishes_limited.add(1);
            let after = publisher.reconnect_after_at_least(limited.retry_after());
            let members = json!({ "reason": "rate-limited" });
            try_again(StatusCode::TOO_MANY_REQUESTS, after, &limited.to_string(), members)
        }
        Refusal::Failed => {
            publisher.counters().authorizer_failed.add(1);
            later(publisher, "the authorizer failed", json!({ "reason": "authorizer-failed" }))
        }
    }
}

/// Says which channel may not be closed, and which ones are.
pub(super) fn not_closed(publisher: &Publisher, channel: &ChannelName, before: &[ChannelName]) -> Refused {
    let members = json!({ "reason": "unavailable", "channel": channel.as_str(), "closed": names(before) });
    later(publisher, "the backend is not available", members)
}

/// Says why a channel did not get the events, and which ones have got them.
pub(super) fn not_published(
    publisher: &Publisher,
    error: &PublishError,
    channel: &ChannelName,
    before: &[ChannelName],
) -> Refused {
    let (status, reason) = match error {
        _ if error.is_invalid_text() => (StatusCode::BAD_REQUEST, "invalid-name"),
        _ if error.is_too_large() => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
        _ if error.is_finished() => (StatusCode::CONFLICT, "finished"),
        _ if error.is_duplicate_id() => (StatusCode::CONFLICT, "duplicate-id"),
        _ if error.is_limit() => (StatusCode::SERVICE_UNAVAILABLE, "limit"),
        _ if error.is_shutting_down() => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let members = json!({ "reason": reason, "channel": channel.as_str(), "published": names(before) });
    match status {
        StatusCode::SERVICE_UNAVAILABLE => later(publisher, &error.to_string(), members),
        _ => Box::new(problem_with(status, Some(&error.to_string()), members)),
    }
}

fn names(channels: &[ChannelName]) -> Vec<&str> {
    channels.iter().map(ChannelName::as_str).collect()
}

fn later(publisher: &Publisher, detail: &str, members: Value) -> Refused {
    try_again(StatusCode::SERVICE_UNAVAILABLE, publisher.reconnect_after(), detail, members)
}

fn try_again(status: StatusCode, after: Duration, detail: &str, members: Value) -> Refused {
    let mut response = problem_with(status, Some(detail), members);
    response.headers_mut().insert(RETRY_AFTER, response::retry_after(after));
    Box::new(response)
}
