//! Parses requests to inspect the hub.

use http::{Method, StatusCode, request::Parts};

use crate::{
    hub::inspect::{Order, Search},
    serve::{
        parameters::{named, parameter},
        refused::{self, Refused},
    },
    wire::{
        cursor::EventId,
        name::{ChannelName, ClientId},
    },
};

pub(super) struct Ask {
    pub(super) subject: Subject,
    /// The channel and the client that the request names.
    pub(super) channel: Option<ChannelName>,
    pub(super) client: Option<ClientId>,
}

pub(super) enum Subject {
    Page,
    Overview,
    Channels(Search),
    Readers { channel: ChannelName, from: u32, limit: usize },
    Events(Events),
    Disconnect(Disconnect),
}

/// Which events to show.
pub(super) struct Events {
    pub(super) channel: ChannelName,
    /// The client whose own events are shown, too.
    pub(super) client: Option<ClientId>,
    pub(super) after: After,
    pub(super) limit: usize,
}

pub(super) enum After {
    /// The last events that this node holds.
    Newest,
    /// The first events that are held.
    Start,
    Id(EventId),
}

/// Which client to disconnect, and from which channel.
pub(super) struct Disconnect {
    pub(super) client: ClientId,
    /// `None` for all channels.
    pub(super) channel: Option<ChannelName>,
}

/// The default and the largest limit of a list.
const LISTED: (usize, usize) = (100, 500);
/// The same for events, which may be large.
const EVENTS: (usize, usize) = (20, 100);

/// A `POST` requires this header. A browser does not let another site send it without a preflight request.
const OWN: &str = "tower-sse-inspect";

impl Ask {
    /// Reads a request to a service that is mounted under `path`.
    pub(super) fn read(path: &str, parts: &Parts) -> Result<Self, Refused> {
        let place = parts.uri.path().strip_prefix(path).ok_or_else(refused::not_found)?;
        let read: fn(&Named<'_>) -> Result<Subject, Refused> = match place {
            "" | "/" => |_| Ok(Subject::Page),
            "/overview" => |_| Ok(Subject::Overview),
            "/channels" => channels,
            "/readers" => readers,
            "/events" => events,
            "/disconnect" => disconnect,
            _ => return Err(refused::not_found()),
        };
        match (place, &parts.method) {
            ("/disconnect", &Method::POST) => is_own(parts)?,
            ("/disconnect", _) => return Err(refused::wrong_method("POST")),
            (_, &Method::GET | &Method::HEAD) => {}
            _ => return Err(refused::wrong_method("GET,HEAD")),
        }
        let query = parts.uri.query();
        let named = Named { query, channel: named(query, "channel")?, client: named(query, "client")? };
        let subject = read(&named)?;
        Ok(Self { subject, channel: named.channel, client: named.client })
    }
}

/// Checks that a request that changes something does not come from another site.
fn is_own(parts: &Parts) -> Result<(), Refused> {
    let is_from_here = parts.headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin");
    if parts.headers.contains_key(OWN) && is_from_here {
        return Ok(());
    }
    let detail = "a POST needs the header tower-sse-inspect, and may not come from another site";
    Err(refused::because(StatusCode::FORBIDDEN, "cross-site", detail))
}

/// A query whose channel and client have been parsed.
struct Named<'a> {
    query: Option<&'a str>,
    channel: Option<ChannelName>,
    client: Option<ClientId>,
}

impl Named<'_> {
    fn channel(&self) -> Result<ChannelName, Refused> {
        self.channel.clone().ok_or_else(|| refused::bad("missing", "the parameter `channel` is required"))
    }

    fn client(&self) -> Result<ClientId, Refused> {
        self.client.clone().ok_or_else(|| refused::bad("missing", "the parameter `client` is required"))
    }

    fn limit(&self, (default, max): (usize, usize)) -> Result<usize, Refused> {
        Ok(self.number("limit")?.unwrap_or(default).clamp(1, max))
    }

    fn number<N: std::str::FromStr>(&self, name: &'static str) -> Result<Option<N>, Refused> {
        let malformed = |_| refused::malformed(&format!("the parameter `{name}` is not such a number"));
        parameter(self.query, name)?.map(|text| text.parse().map_err(malformed)).transpose()
    }
}

fn channels(named: &Named<'_>) -> Result<Subject, Refused> {
    let after = parameter(named.query, "after")?;
    let order = match parameter(named.query, "sort")?.as_deref() {
        None | Some("name") => Order::NameAfter(after.unwrap_or_default()),
        Some("readers") if after.is_none() => Order::Readers,
        Some("readers") => return Err(refused::malformed("`after` is for channels by name")),
        Some(_) => return Err(refused::malformed("`sort` is neither `name` nor `readers`")),
    };
    let text = parameter(named.query, "search")?.unwrap_or_default();
    Ok(Subject::Channels(Search { text, order, limit: named.limit(LISTED)? }))
}

fn readers(named: &Named<'_>) -> Result<Subject, Refused> {
    let from = named.number("from")?.unwrap_or_default();
    Ok(Subject::Readers { channel: named.channel()?, from, limit: named.limit(LISTED)? })
}

fn events(named: &Named<'_>) -> Result<Subject, Refused> {
    let after = match parameter(named.query, "after")?.as_deref() {
        None => After::Newest,
        Some("start") => After::Start,
        Some(id) => {
            let id = EventId::parse(id.as_bytes());
            After::Id(id.ok_or_else(|| refused::malformed("`after` is neither an id nor `start`"))?)
        }
    };
    let (channel, client) = (named.channel()?, named.client.clone());
    Ok(Subject::Events(Events { channel, client, after, limit: named.limit(EVENTS)? }))
}

fn disconnect(named: &Named<'_>) -> Result<Subject, Refused> {
    Ok(Subject::Disconnect(Disconnect { client: named.client()?, channel: named.channel.clone() }))
}
