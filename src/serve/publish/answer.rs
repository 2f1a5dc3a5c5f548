//! The answers to a request to publish.

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

pub(super) use crate::serve::refused::{Refused, bad, invalid, malformed, not_found, not_granted};
use crate::{
    error::PublishError,
    hub::Sent,
    publisher::Publisher,
    serve::{
        body::SseBody,
        refused::{because, later},
        response::{self, problem_with},
    },
    wire::name::ChannelName,
};

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
