//! Inspecting a hub over HTTP: a service for operators, with a page.
//!
//! `ask` reads what a request asks for, `show` makes the answers in JSON, and `page` is the page that reads them.

mod ask;
mod page;
mod show;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use serde_json::json;
use tokio::time::Instant;
use tower_service::Service;

use self::ask::{Ask, Subject};
use super::{
    answering::AnswerFuture,
    body::SseBody,
    refused::{self, Refused},
    response,
};
use crate::{
    authorize::{Asking, InspectAuthorizer, InspectGrant, InspectRequest},
    publisher::Publisher,
    wire::name::ClientId,
};

/// A service that shows operators who reads which channel, the events of a channel and the health of the node, and that
/// disconnects clients. It serves a page for browsers, and the JSON that the page reads.
///
/// It shows the names of all channels and clients and, if the grant allows it, all events. So you can't create it without an
/// authorizer, and no default lets anybody in. Serve it where only operators can reach it.
///
/// ```
/// use http::HeaderValue;
/// use tower_sse::{Denied, Inspect, InspectGrant, InspectRequest, Publisher, inspect_authorizer_fn};
///
/// let authorizer = inspect_authorizer_fn(|request: InspectRequest| async move {
///     match request.headers().get("authorization") {
///         // Compare it with the operators' password, in constant time.
///         Some(_) => Ok(InspectGrant::new().allow_events().allow_disconnect()),
///         // A browser then asks for a user and a password.
///         None => Err(Denied::unauthorized().challenge(HeaderValue::from_static(r#"Basic realm="inspect""#))),
///     }
/// });
/// let inspect = Inspect::new(Publisher::new(), authorizer);
/// let admin: axum::Router = axum::Router::new().nest_service("/inspect", inspect);
/// ```
///
/// # Requests
///
/// The paths are relative to the path at which the service is mounted: see [`under`](Self::under). Parameters are in the
/// query. The answer to a `HEAD` is that to a `GET`, without the body.
///
/// | request | answer | parameters |
/// | --- | --- | --- |
/// | `GET /` | the page | |
/// | `GET /overview` | the [health](Publisher::health) and the [counters](crate::Stats) of the node, and what the grant allows | |
/// | `GET /channels` | channels, each with its readers and held events, by name or by the number of readers | `search`: a part of the name; `sort`: `name` (the default) or `readers` (most readers first); `after`: the name after which to continue; `limit` |
/// | `GET /readers` | the readers of a channel, each with its client, how long it has been connected, and how many events it has got | `channel`; `from`: the `next` of the previous page; `limit` |
/// | `GET /events` | the newest events of a channel, or those after an id: those for everybody, and with `client` also those for that client | `channel`; `client`; `after`: an id, or `start`; `limit` |
/// | `POST /disconnect` | [disconnects](Publisher::disconnect) a client from all channels, or [from one](crate::Channel::disconnect); `ended` is how many connections it had on this node | `client`; `channel` |
///
/// # Bounds
///
/// Every list has a `limit`, which is 100 by default and at most 500. For events, it is 20 by default and at most 100. Of an
/// event's data, only the first 4,096 bytes are shown; `bytes` is the full size. A list of channels looks at each channel
/// once, in slices, and keeps no more of them than the limit. A list of readers looks at no more than 4,096 places. So if
/// many readers have left, it can be empty although it has a `next`.
///
/// With a remote backend, channels, readers and the newest events are those of this node, and `scope` is `node` instead of
/// `process`. Events after an id are read from the store, and a client is disconnected on all nodes.
///
/// # Other sites
///
/// A browser also sends a password or a cookie with requests that other sites make. Other sites can't read the answers, since
/// no answer allows it, and can't show the page in a frame. A `POST` requires the header `tower-sse-inspect`, with any value. A
/// browser lets another site send this header only if the answer to a preflight request allows it, and this service never
/// allows it. So don't put a CORS layer around the service. Even then, it refuses a `POST` that a browser marks as coming from
/// another site (`sec-fetch-site`).
///
/// Names and data are untrusted. The page inserts them only as text, and its `content-security-policy` allows no script but
/// its own, and no other host.
///
/// # Refusals
///
/// A refusal has an `application/problem+json` body, with a `reason` for programs:
///
/// | status | `reason` |
/// | --- | --- |
/// | 400 | `malformed`: a parameter can't be parsed; `invalid-name`: a channel or client name is not valid; `missing`: a required parameter is missing |
/// | 401, 403, 404 | `denied`: the authorizer denied the request |
/// | 403 | `events-not-granted`, `disconnect-not-granted`, `cross-site` |
/// | 404, 405 | none: the path or the method does not exist |
/// | 429 | `rate-limited`: the authorizer has limited the operator |
/// | 503 | `unavailable`: the backend did not answer; `authorizer-failed` |
#[derive(Clone)]
pub struct Inspect<A> {
    config: Arc<Config>,
    authorizer: A,
}

#[derive(Clone)]
struct Config {
    publisher: Publisher,
    /// The path of the page, without a trailing slash.
    path: String,
    /// When the service was created. The page computes rates from the time since then.
    since: Instant,
}

impl<A: InspectAuthorizer> Inspect<A> {
    /// Creates a service that shows the hub of `publisher` to those whom `authorizer` lets in.
    pub fn new(publisher: Publisher, authorizer: A) -> Self {
        let config = Config { publisher, path: String::new(), since: Instant::now() };
        Self { config: Arc::new(config), authorizer }
    }

    /// Sets the path at which the service is mounted, such as `/inspect`. The default is `/`, which is right for axum's
    /// `nest_service`, since it removes the path at which the service is nested.
    pub fn under(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut Arc::make_mut(&mut self.config).path);
        self
    }
}

impl<A, B> Service<Request<B>> for Inspect<A>
where
    A: InspectAuthorizer<Future: Send> + Send + Sync + 'static,
{
    type Response = Response<SseBody>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AnswerFuture {
        let (config, authorizer) = (self.config.clone(), self.authorizer.clone());
        // No request needs a body.
        let parts = request.into_parts().0;
        let is_head = parts.method == Method::HEAD;
        let answering = async move {
            let answer = config.answer(authorizer, parts).await.unwrap_or_else(|refused| *refused);
            let answer = guarded(answer);
            if is_head { response::head(answer) } else { answer }
        };
        AnswerFuture::new(answering)
    }
}

impl Config {
    async fn answer<A: InspectAuthorizer>(
        &self,
        authorizer: A,
        parts: http::request::Parts,
    ) -> Result<Response<SseBody>, Refused> {
        let Ask { subject, channel, client } = Ask::read(&self.path, &parts)?;
        let asking = Asking::new(&authorizer, InspectRequest::new(parts, channel, client));
        let grant = asking.await.map_err(|refusal| refused::refused(&self.publisher, &refusal, None))?;
        self.show(subject, &grant).await
    }

    async fn show(&self, subject: Subject, grant: &InspectGrant) -> Result<Response<SseBody>, Refused> {
        let publisher = &self.publisher;
        let members = match subject {
            Subject::Page => return Ok(page::response()),
            Subject::Overview => show::overview(publisher, grant, self.since.elapsed()).await,
            Subject::Channels(search) => show::channels(publisher, &search).await,
            Subject::Readers { channel, from, limit } => show::readers(publisher, &channel, from, limit),
            Subject::Events(_) if !grant.allows_events() => return Err(refused::not_granted("events-not-granted")),
            Subject::Events(which) => show::events(publisher, &which).await?,
            Subject::Disconnect(_) if !grant.allows_disconnect() => {
                return Err(refused::not_granted("disconnect-not-granted"));
            }
            Subject::Disconnect(ask::Disconnect { client, channel }) => {
                let ended = match channel {
                    Some(channel) => publisher.channel(channel).disconnect(&client).await,
                    None => publisher.disconnect::<&ClientId>(&client).await,
                };
                json!({ "ended": ended.map_err(|_| show::unavailable(publisher))? })
            }
        };
        Ok(response::in_json(http::StatusCode::OK, &members))
    }
}

/// Adds the headers that protect an answer from other sites.
fn guarded(mut response: Response<SseBody>) -> Response<SseBody> {
    let headers = response.headers_mut();
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let own = HeaderValue::from_static("same-origin");
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), own);
    response
}

impl<A> fmt::Debug for Inspect<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").field("path", &self.config.path).finish_non_exhaustive()
    }
}
