//! What the head of a request to publish asks for.

use std::sync::Arc;

use http::{
    HeaderMap, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};

use super::answer::{self, Refused};
use crate::{
    serve::{
        ask::{Rejection, read_channels},
        parameters::{named, parameter},
        refused,
        route::Routes,
    },
    wire::name::{ChannelName, ClientId, CustomId, EventName, IdempotencyKey},
};

pub(super) struct Ask {
    /// At least one, without duplicates.
    pub(super) channels: Arc<[ChannelName]>,
    pub(super) wish: Wish,
}

pub(super) enum Wish {
    Publish(How),
    Close,
}

/// How the events are to be published.
pub(super) struct How {
    pub(super) format: Format,
    pub(super) defaults: Defaults,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) finish: bool,
}

/// What the query says of the events that do not say it themselves.
#[derive(Clone)]
pub(super) struct Defaults {
    pub(super) name: Option<EventName>,
    pub(super) to: Option<ClientId>,
    pub(super) id: Option<CustomId>,
}

pub(super) enum Format {
    /// The data of one event.
    Text,
    Json,
    Lines,
    /// There is no body.
    Nothing,
}

impl Ask {
    pub(super) fn read(routes: &Routes, max_channels: usize, parts: &Parts) -> Result<Self, Refused> {
        let query = parts.uri.query();
        let (route, params) = routes.at(parts.uri.path()).ok_or_else(answer::not_found)?;
        let channels = |route, params| read_channels(route, max_channels, params, query).map_err(rejected);
        let wish = match parts.method {
            Method::POST => Wish::Publish(How::read(query, &parts.headers)?),
            Method::DELETE => Wish::Close,
            _ => return Err(refused::wrong_method("POST,DELETE")),
        };
        Ok(Self { channels: channels(route, &params)?, wish })
    }
}

impl How {
    fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Refused> {
        let finish = match parameter(query, "finish")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(answer::malformed("`finish` is neither `true` nor `false`")),
        };
        let format = Format::read(headers)?;
        let defaults = Defaults { name: named(query, "event")?, to: named(query, "to")?, id: named(query, "id")? };
        Ok(Self { format, defaults, key: key(headers)?, finish })
    }
}

impl Format {
    fn read(headers: &HeaderMap) -> Result<Self, Refused> {
        if headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
            return Err(answer::unsupported("the body is encoded"));
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (first, None) = (types.next(), types.next()) else {
            return Err(answer::unsupported("there are several content types"));
        };
        let Some(first) = first else { return Ok(Self::Nothing) };
        match kind(first.to_str().unwrap_or_default()).as_deref() {
            Some("text/plain") => Ok(Self::Text),
            Some("application/json") => Ok(Self::Json),
            Some("application/x-ndjson") => Ok(Self::Lines),
            _ => {
                let expected = "the body is neither text/plain nor application/json nor application/x-ndjson, in UTF-8";
                Err(answer::unsupported(expected))
            }
        }
    }
}

/// The media type without its parameters, in lower case, or `None` if it has a charset other than UTF-8.
fn kind(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let is_utf8 = |charset: &str| charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
    let mut parameters = parts.filter_map(|part| part.split_once('='));
    parameters.all(|(name, value)| !name.eq_ignore_ascii_case("charset") || is_utf8(value)).then_some(kind)
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refused> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let key = std::str::from_utf8(key.as_bytes()).map_err(|_| answer::malformed("the key is not UTF-8"))?;
            IdempotencyKey::try_from(key).map(Some).map_err(|error| answer::invalid(&error))
        }
        (Some(_), Some(_)) => Err(answer::malformed("there are several idempotency keys")),
    }
}

fn rejected(rejection: Rejection) -> Refused {
    match rejection {
        Rejection::Name(error) => answer::invalid(&error),
        Rejection::TooManyChannels => answer::bad("too-many-channels", "the request names too many channels"),
        _ => answer::bad("no-channel", "the request names no channel"),
    }
}
