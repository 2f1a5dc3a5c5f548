//! Turns the answers of the authorizer and the hub into responses, as the table of HTTP answers says, and counts them.

use std::time::Duration;

use http::{Response, StatusCode};

use super::{
    ask::{Ask, Rejection},
    body::SseBody,
    greeting::Greeting,
    response,
    route::Route,
};
use crate::{
    authorize::{Denied, Refusal},
    error::{OpenError, OpenErrorKind},
    hub::{Grant, OpenOptions, Subscription},
    publisher::{Opening, Publisher},
    trace::debug,
};

impl SseBody {
    /// Returns the whole response for a [`Subscription`](crate::Subscription) that was not opened, as the layer sends
    /// it:
    ///
    /// | [`OpenError`] | response |
    /// | --- | --- |
    /// | [`is_over`](OpenError::is_over) | 204, which makes a browser stop reconnecting |
    /// | [`is_channel_count`](OpenError::is_channel_count) | 400 |
    /// | [`is_expired`](OpenError::is_expired) | 401 |
    /// | [`is_absent`](OpenError::is_absent) | 404 |
    /// | [`retry_after`](OpenError::retry_after) | 200 and a stream that consists of a `retry:` only, with at least that time |
    /// | any other: a limit, a shutdown, a remote backend that does not answer | 200 and a stream that consists of a `retry:` only |
    ///
    /// The `retry:` is a random time, as set by [`PublisherBuilder::reconnect`](crate::PublisherBuilder::reconnect).
    /// The response is counted in the [`Stats`](crate::Stats) of `publisher`, like the layer's own responses.
    pub fn refused(publisher: &Publisher, error: &OpenError) -> Response<Self> {
        not_opened(publisher, error, false)
    }

    /// Like [`refused`](Self::refused), for a client that is no `EventSource`: an answer that is no stream has a status
    /// that says so. See [`SseBody::strict`](Self::strict).
    ///
    /// | [`OpenError`] | response |
    /// | --- | --- |
    /// | [`is_over`](OpenError::is_over) | 204 |
    /// | [`is_channel_count`](OpenError::is_channel_count) | 400 |
    /// | [`is_expired`](OpenError::is_expired) | 401 |
    /// | [`is_duplicate`](OpenError::is_duplicate) | 409 |
    /// | [`is_client_limit`](OpenError::is_client_limit), [`retry_after`](OpenError::retry_after) | 429 |
    /// | any other: another limit, a shutdown, a remote backend that does not answer | 503 |
    ///
    /// The last three have a `Retry-After` with a random time of the hub, in whole seconds. It is at least the time that
    /// the error says.
    pub fn refused_strictly(publisher: &Publisher, error: &OpenError) -> Response<Self> {
        not_opened(publisher, error, true)
    }
}

/// Answers a request that is not valid, without asking the authorizer.
pub(crate) fn rejected(publisher: &Publisher, rejection: &Rejection, head: bool) -> Response<SseBody> {
    let response = match rejection {
        Rejection::Name(error) => bad_request(publisher, &error.to_string()),
        Rejection::NoChannel => bad_request(publisher, "the request names no channel"),
        Rejection::TooManyChannels => {
            bad_request(publisher, "the request names more channels than one subscription may read")
        }
        Rejection::Body => bad_request(publisher, "a request for a stream can't have a body"),
        Rejection::NotAcceptable => {
            response::problem(StatusCode::NOT_ACCEPTABLE, Some("only text/event-stream is available"))
        }
    };
    for_method(head, response)
}

/// What follows from the authorizer's verdict.
pub(crate) enum Decided {
    Open(Opening),
    Answer(Response<SseBody>),
}

/// Opens what was asked for, or answers.
pub(crate) fn decided(publisher: &Publisher, ask: &Ask, verdict: Result<Grant, Refusal>) -> Decided {
    match verdict {
        Err(refusal) => Decided::Answer(for_method(ask.head, refused(publisher, &refusal, ask.route.strict))),
        Ok(grant) => {
            let id = ask.last_event_id.as_deref();
            let mut options = OpenOptions { asked: ask.asked, ..ask.route.options.clone() };
            if ask.connection.is_some() {
                options = options.connection(ask.connection.clone());
            }
            // A HEAD gets no events.
            let grant = if ask.head { grant.free() } else { grant };
            // A strict stream that begins with a gap is refused, which is known only once it is open.
            Decided::Open(match ask.head || ask.route.strict {
                true => options.probing().open(publisher, grant, id),
                false => options.open(publisher, grant, id),
            })
        }
    }
}

/// Answers with what was opened.
pub(crate) fn opened(publisher: &Publisher, ask: &Ask, opened: Result<Subscription, OpenError>) -> Response<SseBody> {
    let response = match opened {
        Err(error) => not_opened(publisher, &error, ask.route.strict),
        Ok(subscription) => match subscription.untold_gap().filter(|_| ask.route.strict) {
            Some(gap) => {
                if !ask.head {
                    publisher.counters().gaps.add(1);
                    publisher.meter().opened(true, Some(gap.reason));
                }
                response::gone(gap)
            }
            None => stream(ask, subscription),
        },
    };
    for_method(ask.head, response)
}

fn stream(ask: &Ask, subscription: Subscription) -> Response<SseBody> {
    // "The HEAD method is identical to GET except that the server MUST NOT send content in the response" (RFC 9110,
    // 9.3.2). The probe has shown that there is a stream, and gives its place back.
    let body = if ask.head { SseBody::rest(None) } else { body(ask, subscription) };
    response::stream(body, greeting(&ask.route), ask.route.declare_charset)
}

/// What the body of a route says about itself. A HEAD has no body, but the same headers.
fn greeting(route: &Route) -> Greeting {
    Greeting { keep_alive: route.keep_alive.interval(), strict: route.strict && route.close_after.is_none() }
}

fn body(ask: &Ask, mut subscription: Subscription) -> SseBody {
    let route = &*ask.route;
    if route.strict {
        // So far it was a probe.
        route.options.settle(&mut subscription, ask.last_event_id.is_some());
    }
    let mut body = SseBody::new(subscription).keep_alive(route.keep_alive.clone()).retry(route.retry);
    if route.show_channel {
        body = body.show_channel(true);
    }
    if route.strict {
        body = body.strict();
    }
    if let Some(time) = route.close_after {
        body = body.close_after(time);
    }
    // A reader that resumes has an id already.
    let announce = (route.announce_cursor || route.close_after.is_some()) && ask.last_event_id.is_none();
    let body = body.coalesce(route.coalesce).announce_cursor(announce);
    if ask.repair { body.repaired(ask.last_event_id.as_deref()) } else { body }
}

fn not_opened(publisher: &Publisher, error: &OpenError, strict: bool) -> Response<SseBody> {
    debug!("a stream was not opened", reason = error);
    if error.is_over() {
        response::stop()
    } else if error.is_channel_count() {
        bad_request(publisher, &error.to_string())
    } else if error.is_expired() {
        let denied = Denied::unauthorized().detail(error.to_string());
        refused(publisher, &Refusal::Denied(denied), strict)
    } else if error.is_absent() {
        response::problem(StatusCode::NOT_FOUND, Some(&error.to_string()))
    } else if let Some(after) = error.retry_after() {
        // A limit of replays was counted when it was reached.
        publisher.counters().rate_limited.add(u64::from(matches!(error.0, OpenErrorKind::RateLimit(_))));
        too_soon(publisher, after, &error.to_string(), strict)
    } else if strict {
        let status = match () {
            () if error.is_duplicate() => StatusCode::CONFLICT,
            () if error.is_client_limit() => StatusCode::TOO_MANY_REQUESTS,
            () => StatusCode::SERVICE_UNAVAILABLE,
        };
        response::try_again(status, publisher.reconnect_after(), &error.to_string())
    } else {
        // A limit, a shutdown, an unreachable backend, or any error that may be added later: the reader can try again.
        response::come_back(publisher.reconnect_after())
    }
}

fn refused(publisher: &Publisher, refusal: &Refusal, strict: bool) -> Response<SseBody> {
    match refusal {
        Refusal::Denied(denied) => {
            publisher.counters().denied.add(1);
            debug!("a stream was denied", status = denied.status());
            response::denied(denied)
        }
        Refusal::Limited(limited) => not_opened(publisher, &(*limited).into(), strict),
        // A browser takes any status but 200 as final, while the failure may be over in a moment.
        Refusal::Failed => {
            publisher.counters().authorizer_failed.add(1);
            let after = publisher.reconnect_after();
            match strict {
                true => response::try_again(StatusCode::SERVICE_UNAVAILABLE, after, "the authorizer failed"),
                false => response::come_back(after),
            }
        }
    }
}

/// Sends a client away that has to stay away for `least`.
fn too_soon(publisher: &Publisher, least: Duration, detail: &str, strict: bool) -> Response<SseBody> {
    let after = publisher.reconnect_after_at_least(least);
    match strict {
        true => response::try_again(StatusCode::TOO_MANY_REQUESTS, after, detail),
        false => response::come_back(after),
    }
}

fn bad_request(publisher: &Publisher, detail: &str) -> Response<SseBody> {
    publisher.counters().bad_requests.add(1);
    response::problem(StatusCode::BAD_REQUEST, Some(detail))
}

fn for_method(head: bool, response: Response<SseBody>) -> Response<SseBody> {
    if head { response::head(response) } else { response }
}
