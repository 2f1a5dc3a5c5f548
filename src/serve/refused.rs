//! The answers to requests that are refused, of the services that are no streams: problems with a `reason` for programs.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header::ALLOW, header::RETRY_AFTER};
use serde_json::{Value, json};

use super::{
    body::SseBody,
    response::{self, problem_with},
};
use crate::{authorize::Refusal, error::InvalidText, observe::Counter, publisher::Publisher};

/// The answer to a request that was not carried out, or not as a whole.
pub(super) type Refused = Box<Response<SseBody>>;

pub(super) fn not_found() -> Refused {
    Box::new(response::problem(StatusCode::NOT_FOUND, None))
}

/// A 405 that names the methods of the path.
pub(super) fn wrong_method(allow: &'static str) -> Refused {
    let mut response = response::problem(StatusCode::METHOD_NOT_ALLOWED, None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    Box::new(response)
}

pub(super) fn because(status: StatusCode, reason: &str, detail: &str) -> Refused {
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

pub(super) fn not_granted(reason: &str) -> Refused {
    because(StatusCode::FORBIDDEN, reason, "the credentials don't allow this")
}

/// Answers a request without a grant. If it came too soon, `limited` counts it.
pub(super) fn refused(publisher: &Publisher, refusal: &Refusal, limited: Option<&Counter>) -> Refused {
    match refusal {
        Refusal::Denied(denied) => {
            publisher.counters().denied.add(1);
            Box::new(response::denied_with(denied, json!({ "reason": "denied" })))
        }
        Refusal::Limited(rate) => {
            limited.into_iter().for_each(|counter| counter.add(1));
            let after = publisher.reconnect_after_at_least(rate.retry_after());
            let members = json!({ "reason": "rate-limited" });
            try_again(StatusCode::TOO_MANY_REQUESTS, after, &rate.to_string(), members)
        }
        Refusal::Failed => {
            publisher.counters().authorizer_failed.add(1);
            later(publisher, "the authorizer failed", json!({ "reason": "authorizer-failed" }))
        }
    }
}

/// A 503 that says when to try again.
pub(super) fn later(publisher: &Publisher, detail: &str, members: Value) -> Refused {
    try_again(StatusCode::SERVICE_UNAVAILABLE, publisher.reconnect_after(), detail, members)
}

fn try_again(status: StatusCode, after: Duration, detail: &str, members: Value) -> Refused {
    let mut response = problem_with(status, Some(detail), members);
    response.headers_mut().insert(RETRY_AFTER, response::retry_after(after));
    Box::new(response)
}
