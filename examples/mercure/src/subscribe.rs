//! Subscribing: a stream of the updates that the topic selectors of a request match.

use std::time::{Duration, SystemTime};

use axum::{
    extract::{Query, State},
    http::{HeaderValue, Response, header::HeaderName, request::Parts},
};
use tower_sse::{EncodedEvent, Grant, OpenOptions, Output, Resumed, SseBody, Transform, WebKitRepair, last_event_id};

use crate::{
    Hub, Refused, UPDATES,
    claims::Claims,
    id,
    selector::{Kind, Selectors},
    update::Wanted,
};

pub(crate) async fn subscribe(State(hub): State<Hub>, parts: Parts) -> Result<Response<SseBody>, Refused> {
    // Whoever has no token may read what is public.
    let claims: Claims = hub.subscribers.verify(&parts).await?.unwrap_or_default();
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(Refused::bad)?;
    let asked = query.into_iter().filter_map(|(name, value)| Some(kind(&name)?.map(|kind| (kind, value))));
    let asked = Selectors::new(asked.collect::<Result<Vec<_>, _>>()?).map_err(Refused::bad)?;
    if asked.is_empty() {
        return Err(Refused::bad("the query has neither `topic` nor `match`"));
    }
    let private = claims.subscribe()?;

    let last = last_event_id(&parts.headers, &parts.uri);
    let (start, after) = id::asked(last.as_deref());
    let opening = OpenOptions::new().start(start).open(&hub.publisher, grant(claims.exp), after.as_deref());
    let subscription = match opening.await {
        Ok(subscription) => subscription,
        Err(error) => return Ok(SseBody::refused(&hub.publisher, &error)),
    };
    let before = last.as_deref().map(|last| before_first(subscription.resumed(), last));
    let mut response = SseBody::new(subscription)
        .webkit_repair(WebKitRepair::Auto, &parts.headers, last.as_deref())
        .transform(Updates(Wanted { asked, private }))
        .into_response();
    if let Some(before) = before {
        for name in ["last-event-id", "mercure-last-event-id"] {
            response.headers_mut().insert(HeaderName::from_static(name), before.clone());
        }
    }
    Ok(response)
}

/// What a parameter of the query selects, if it selects topics. Version 1.0 reserves all names that begin with `match`.
fn kind(name: &str) -> Option<Result<Kind, Refused>> {
    Some(match name {
        "topic" => Ok(Kind::Template),
        "match" | "match_exact" => Ok(Kind::Exact),
        "match_urlpattern" => Ok(Kind::UrlPattern),
        _ if name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("match")) => {
            Err(Refused::bad(format!("the parameter `{name}` is not known")))
        }
        _ => return None,
    })
}

fn grant(exp: Option<f64>) -> Grant {
    let grant = Grant::new([UPDATES]);
    let until = exp.and_then(|exp| Duration::try_from_secs_f64(exp).ok());
    match until.and_then(|until| SystemTime::UNIX_EPOCH.checked_add(until)) {
        Some(until) => grant.expires_at(until),
        None => grant,
    }
}

/// "The ID of the event preceding the first one sent to the subscriber, or the reserved value `earliest` if there is no
/// preceding event (e.g., [..] when the subscriber requests the earliest event, or [..] an event that doesn't exist)."
fn before_first(resumed: Resumed, last: &[u8]) -> HeaderValue {
    let same = HeaderValue::from_bytes(last).ok().filter(|_| resumed == Resumed::Exact);
    same.unwrap_or(HeaderValue::from_static("earliest"))
}

/// Sends the updates that are wanted, with the ids of the protocol.
struct Updates(Wanted);

impl Transform for Updates {
    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            if let (Some(update), Some(id)) = (self.0.map(event), id::told(&event.id())) {
                out.replace_as(event, update, &id);
            }
        }
    }
}
