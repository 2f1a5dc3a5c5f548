//! What a request asks for, read from its parts, and whether it is valid.
//!
//! Nothing of the request itself is kept: a held header value would pin the connection's whole read buffer.

use std::{collections::HashSet, sync::Arc};

use http::{
    HeaderMap, Method, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use matchit::Params;
use tokio::time::Instant;

use super::{
    accept::accepts_event_stream,
    route::{CHANNEL, CLIENT_ID, Route, Routes},
};
use crate::{
    error::InvalidText,
    wire::{
        cursor::EventId,
        name::{ChannelName, ClientId, ConnectionId},
        percent,
    },
};

/// A valid request for a stream.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) route: Arc<Route>,
    /// At least one, without duplicates.
    pub(crate) channels: Arc<[ChannelName]>,
    pub(crate) client: Option<ClientId>,
    /// The id that the page has given its connection.
    pub(crate) connection: Option<ConnectionId>,
    /// Arbitrary bytes, but never empty.
    pub(crate) last_event_id: Option<Vec<u8>>,
    /// WebKit may have kept a part of a cut event, and is to be made to drop it.
    pub(crate) repair: bool,
    /// Whether only the headers are wanted.
    pub(crate) head: bool,
    /// When the request came, if somebody wants to know.
    pub(crate) asked: Option<Instant>,
}

/// Why a request for a stream is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    Name(InvalidText),
    /// The route takes its channels from the query, and the query names none.
    NoChannel,
    /// The request names more channels than one subscription may have.
    TooManyChannels,
    /// The request has a body, or announces one.
    Body,
    NotAcceptable,
}

impl From<InvalidText> for Rejection {
    fn from(error: InvalidText) -> Self {
        Self::Name(error)
    }
}

impl Ask {
    /// Reads a request. Returns `None` if it is for the inner service.
    pub(crate) fn read(
        routes: &Routes,
        max_channels: usize,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Result<Self, Rejection>> {
        let head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        let (route, params) = routes.at(uri.path())?;
        let channels = read_channels(route, max_channels, &params, uri.query());
        Some(channels.and_then(|channels| Self::read_match(route, channels, &params, head, uri, headers)))
    }

    fn read_match(
        route: &Arc<Route>,
        channels: Arc<[ChannelName]>,
        params: &Params<'_, '_>,
        head: bool,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Rejection> {
        let client = params.get(CLIENT_ID).map(read_client).transpose()?;
        if announces_body(headers) {
            return Err(Rejection::Body);
        }
        if !accepts_event_stream(headers) {
            return Err(Rejection::NotAcceptable);
        }
        let connection = read_connection(uri.query())?;
        let (last_event_id, repair) = (last_event_id(headers, uri), route.webkit_repair.applies(headers));
        Ok(Self { route: route.clone(), channels, client, connection, last_event_id, repair, head, asked: None })
    }
}

/// Returns whether a body follows. "Content received in a GET request has no generally defined semantics [..] and might
/// lead some implementations to reject the request" ([RFC 9110,
/// 9.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1)). A stream would not read the body, and hyper does not
/// notice that a client has hung up while its body is unread.
fn announces_body(headers: &HeaderMap) -> bool {
    let is_none = |length: &http::HeaderValue| length.as_bytes().iter().all(|digit| *digit == b'0');
    headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_none)
}

fn read_client(raw: &str) -> Result<ClientId, InvalidText> {
    ClientId::try_from(&*percent::decode_segment("client id", raw)?)
}

/// The parameter with which a page announces the id of its connection. An empty one announces none.
const CONNECTION: &str = "connection";

fn read_connection(query: Option<&str>) -> Result<Option<ConnectionId>, InvalidText> {
    let Some(raw) = percent::query_values(query, CONNECTION).find(|raw| !raw.is_empty()) else { return Ok(None) };
    ConnectionId::try_from(&*percent::decode_value("connection id", raw)?).map(Some)
}

/// Reads the channels, but stops at the first one over the limit, so that no request makes anybody look at thousands of
/// them.
pub(crate) fn read_channels(
    route: &Route,
    max: usize,
    params: &Params<'_, '_>,
    query: Option<&str>,
) -> Result<Arc<[ChannelName]>, Rejection> {
    let channels: Vec<_> = if let Some(raw) = params.get(CHANNEL) {
        vec![ChannelName::try_from(&*percent::decode_segment("channel name", raw)?)?]
    } else if !route.channels.is_empty() {
        route.channels.iter().take(max.saturating_add(1)).cloned().collect()
    } else {
        read_query(max, query)?
    };
    match channels.len() {
        0 => Err(Rejection::NoChannel),
        count if count > max => Err(Rejection::TooManyChannels),
        _ => Ok(channels.into()),
    }
}

/// Returns the channels of a query without duplicates, at most `max` + 1 of them.
fn read_query(max: usize, query: Option<&str>) -> Result<Vec<ChannelName>, InvalidText> {
    // A set, because a hub may allow thousands.
    let mut seen = HashSet::new();
    let mut channels = Vec::new();
    for raw in percent::query_values(query, CHANNEL) {
        let name = ChannelName::try_from(&*percent::decode_value("channel name", raw)?)?;
        if seen.insert(name.clone()) {
            channels.push(name);
        }
        if channels.len() > max {
            break;
        }
    }
    Ok(channels)
}

/// Returns the last event id of a request, as the layer reads it, or `None` if there is none or it is empty. Pass it to
/// [`OpenOptions::open`](crate::OpenOptions::open).
///
/// The id is the value of the `Last-Event-ID` header, which a browser sends when it reconnects. Without that header, it
/// is the percent-decoded `last_event_id` parameter of the query, which a page sets to start from an id that it has
/// kept. The header wins, because a browser that reconnects repeats the old query.
///
/// Some polyfills put the id into the query when they reconnect, so any spelling of the parameter's name is accepted,
/// such as `lastEventId` or `last-event-id`: case, `-` and `_` make no difference. The last non-empty parameter counts,
/// because these clients append theirs to the page's own URL.
///
/// The id may be any bytes. The hub answers an id that it does not know with a gap.
///
/// A client that sends the id of a `goodbye` was told not to reconnect, so the hub answers with 204. There is one
/// exception. In a parameter spelt exactly `last_event_id`, the id means that the page chose to start again, and stands
/// for the position at which the reader was sent away. A client that always sends the header finds that position in
/// the [`goodbye`'s data](crate::EndReason).
///
/// ```
/// use http::{HeaderMap, HeaderValue, Uri};
/// use tower_sse::last_event_id;
///
/// let uri = Uri::from_static("/answers?last_event_id=3fa94c01b2d7-41");
/// let mut headers = HeaderMap::new();
/// assert_eq!(last_event_id(&headers, &uri).unwrap(), b"3fa94c01b2d7-41");
/// headers.insert("last-event-id", HeaderValue::from_static("3fa94c01b2d7-42"));
/// assert_eq!(last_event_id(&headers, &uri).unwrap(), b"3fa94c01b2d7-42");
/// ```
pub fn last_event_id(headers: &HeaderMap, uri: &Uri) -> Option<Vec<u8>> {
    let header = headers.get("last-event-id").map(|value| value.as_bytes().to_vec());
    header.filter(|id| !id.is_empty()).or_else(|| last_event_id_in_query(uri.query()))
}

/// The parameter with which a page says where to start. Other spellings come from clients that reconnect.
const LAST_EVENT_ID: &[u8] = b"last_event_id";

fn last_event_id_in_query(query: Option<&str>) -> Option<Vec<u8>> {
    let ids = percent::query_pairs(query).filter(|(name, raw)| !raw.is_empty() && names_last_event_id(name));
    let (name, raw) = ids.last()?;
    let id = percent::decode_value_bytes(raw).map_or_else(|| raw.as_bytes().to_vec(), Into::into);
    Some(if *name == *LAST_EVENT_ID { reopened(id) } else { id })
}

fn names_last_event_id(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| !matches!(byte, b'-' | b'_'));
    letters.map(u8::to_ascii_lowercase).eq(*b"lasteventid")
}

/// Replaces a goodbye's id by its cursor, and leaves any other id as it is.
fn reopened(mut id: Vec<u8>) -> Vec<u8> {
    let Some(rest) = id.strip_suffix(b"-end") else { return id };
    // Comparing the texts makes sure that the part before the suffix is exactly a cursor's own text.
    let cursor = EventId::parse(rest).and_then(|id| id.cursor());
    if cursor.is_some_and(|cursor| cursor.to_string().as_bytes() == rest) {
        id.truncate(rest.len());
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, headers: &[(&'static str, &[u8])]) -> Result<Ask, Rejection> {
        let mut routes = Routes::default();
        for route in ["/sse/{channel}", "/sse/{channel}/{client_id}", "/all/{*channel}", "/events"] {
            routes.insert(route.into()).unwrap();
        }
        routes.insert(Route::new("/news").channel(ChannelName::from_static("news"))).unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), http::HeaderValue::from_bytes(value).unwrap()))
            .collect();
        Ask::read(&routes, 3, &Method::GET, &uri.parse().unwrap(), &headers).expect("a route")
    }

    fn channels(uri: &str) -> Vec<String> {
        read(uri, &[]).unwrap().channels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_decoded_after_the_match() {
        assert_eq!(channels("/sse/a%2Fb%20%C3%A9+"), ["a/b é+"]);
        assert_eq!(channels("/all/a/b%2Fc"), ["a/b/c"]);
        let ask = read("/sse/a/ana%40x", &[]).unwrap();
        assert_eq!(ask.client.unwrap(), "ana@x");
    }

    #[test]
    fn the_query_names_channels_only_if_the_route_does_not() {
        assert_eq!(channels("/events?channel=b&x=%zz&channel=a+1&channel=b"), ["b", "a 1"]);
        assert_eq!(channels("/sse/a?channel=b"), ["a"]);
        assert_eq!(channels("/news?channel=b"), ["news"]);
        assert_eq!(channels("/news?channel=%zz"), ["news"]);
        assert_eq!(channels("/events?channel=a&channel=b&channel=a&channel=c&channel=b"), ["a", "b", "c"]);
        let too_many = "/events?channel=a&channel=b&channel=c&channel=d&channel=%zz";
        assert_eq!(read(too_many, &[]).unwrap_err(), Rejection::TooManyChannels);
        assert_eq!(read("/events?x=1", &[]).unwrap_err(), Rejection::NoChannel);
        assert_eq!(read("/events", &[]).unwrap_err(), Rejection::NoChannel);
    }

    #[test]
    fn bad_names_are_rejected_before_accept_is_checked() {
        let html: &[(&str, &[u8])] = &[("accept", b"text/html")];
        let long = format!("/sse/{}", "x".repeat(256));
        for uri in [
            "/sse/%zz",
            "/sse/%2",
            "/sse/%ff",
            "/sse/%00",
            "/sse/a%0Ab",
            "/sse/%C2%85",
            "/sse/a/%ff",
            "/sse/a/b%0d",
            "/all/a/%7f",
            "/events?channel=",
            "/events?channel=a&channel=%ff",
            "/events?channel=%zz",
            &long,
        ] {
            assert!(matches!(read(uri, html), Err(Rejection::Name(_))), "{uri}");
        }
        assert_eq!(read("/sse/a", html).unwrap_err(), Rejection::NotAcceptable);
    }

    #[test]
    fn a_page_announces_its_connection_in_the_query() {
        let connection = |query: &str| read(&format!("/sse/a?{query}"), &[]).map(|ask| ask.connection);
        let is = |text: &str| Ok(Some(ConnectionId::try_from(text).unwrap()));
        assert_eq!(
            [connection("connection=tab+%C3%A9"), connection("connection=&connection=b")],
            [is("tab é"), is("b")]
        );
        assert_eq!(
            [connection(""), connection("connection"), connection("Connection=x")],
            [Ok(None), Ok(None), Ok(None)]
        );
        for bad in ["connection=%0a".into(), "connection=%ff".into(), format!("connection={}", "x".repeat(129))] {
            assert!(matches!(connection(&bad), Err(Rejection::Name(_))), "{bad}");
        }
    }

    #[test]
    fn a_request_with_a_body_is_rejected() {
        for header in [("content-length", &b"9"[..]), ("content-length", b"x"), ("transfer-encoding", b"chunked")] {
            assert_eq!(read("/sse/a", &[header]).unwrap_err(), Rejection::Body, "{header:?}");
        }
        for none in [&b"0"[..], b"000", b""] {
            assert!(read("/sse/a", &[("content-length", none)]).is_ok(), "{none:?}");
        }
        assert!(read("/sse/a", &[("content-length", b"0"), ("content-length", b"1")]).is_err());
    }

    #[test]
    fn the_last_event_id_is_bytes_and_the_header_wins() {
        let id = |uri: &str, header: Option<&[u8]>| {
            let headers: Vec<_> = header.map(|value| ("last-event-id", value)).into_iter().collect();
            read(uri, &headers).unwrap().last_event_id
        };
        assert_eq!(id("/sse/a", None), None);
        assert_eq!(id("/sse/a", Some(b"")), None);
        assert_eq!(id("/sse/a?last_event_id=", None), None);
        assert_eq!(id("/sse/a?last_event_id=q", None).unwrap(), b"q");
        assert_eq!(id("/sse/a?last_event_id=q", Some(b"h")).unwrap(), b"h");
        assert_eq!(id("/sse/a?last_event_id=q", Some(b"")).unwrap(), b"q");
        assert_eq!(id("/sse/a?last_event_id=%ff%00", None).unwrap(), b"\xff\0");
        assert_eq!(id("/sse/a?last_event_id=%zz", None).unwrap(), b"%zz");
        assert_eq!(id("/sse/a", Some(b"\xff")).unwrap(), b"\xff");
    }

    #[test]
    fn the_query_may_spell_last_event_id_in_any_way_and_the_last_one_counts() {
        let id = |query: &str| last_event_id(&HeaderMap::new(), &format!("/?{query}").parse().unwrap());
        for name in ["last_event_id", "lastEventId", "last-event-id", "Last-Event-ID", "lastEventID", "l%61steventid"] {
            assert_eq!(id(&format!("a=b&{name}=q&c=d")).unwrap(), b"q", "{name}");
            assert_eq!(id(&format!("{name}=")), None, "{name}");
        }
        for other in ["last_event", "last+event+id", "xlast_event_id", "last_event_ids", "%zzlastEventId", ""] {
            assert_eq!(id(&format!("{other}=q")), None, "{other}");
        }
        assert_eq!(id("last_event_id=the-pages&lastEventId=the-polyfills").unwrap(), b"the-polyfills");
        assert_eq!(id("lastEventId=first&lastEventId=second&lastEventId=").unwrap(), b"second");
    }

    #[test]
    fn a_goodbyes_id_becomes_its_cursor_only_in_the_pages_own_parameter() {
        let id = |query: &str, header: Option<&'static str>| {
            let headers =
                header.map(|id| ("last-event-id".parse().unwrap(), id.parse().unwrap())).into_iter().collect();
            let id = last_event_id(&headers, &format!("/?last_event_id={query}").parse().unwrap());
            String::from_utf8(id.unwrap()).unwrap()
        };
        assert_eq!(id("0123456789ab-7-end", None), "0123456789ab-7");
        assert_eq!(id("0123456789ab%2D7-en%64", None), "0123456789ab-7");
        assert_eq!(id("0123456789ab-7-end", Some("")), "0123456789ab-7");
        assert_eq!(id("x", Some("0123456789ab-7-end")), "0123456789ab-7-end");
        assert_eq!(id("0123456789ab-7&lastEventId=0123456789ab-8-end", None), "0123456789ab-8-end");
        for other in ["-end", "end", "order-1-end", "0123456789ab-end", "0123456789ab-07-end", "0123456789ab-7-end-end"]
        {
            assert_eq!(id(other, None), other);
        }
    }

    #[test]
    fn other_methods_and_paths_are_left_to_the_inner_service() {
        let mut routes = Routes::default();
        routes.insert("/sse/{channel}".into()).unwrap();
        let read = |method: Method, uri: &str| {
            Ask::read(&routes, 3, &method, &uri.parse().unwrap(), &HeaderMap::new()).map(|ask| ask.map(|ask| ask.head))
        };
        assert_eq!(read(Method::GET, "/sse/a"), Some(Ok(false)));
        assert_eq!(read(Method::HEAD, "/sse/a"), Some(Ok(true)));
        for method in [Method::POST, Method::OPTIONS, Method::DELETE, Method::CONNECT] {
            assert_eq!(read(method, "/sse/%zz"), None);
        }
        assert_eq!(read(Method::OPTIONS, "*"), None);
        assert_eq!(read(Method::GET, "/"), None);
    }
}
