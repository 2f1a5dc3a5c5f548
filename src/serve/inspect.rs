//! Inspecting a hub over HTTP: a service for operators, with a page.
//!
//! `ask` reads what a request asks for, `show` makes the answers in JSON, and `page` is the page that reads them.

mod ask;
mod page;
mod show;

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use serde_json::json;
use tokio::time::Instant;
use tower_service::Service;

use self::ask::{Ask, Subject};
use super::{
    body::SseBody,
    refused::{self, Refused},
    response,
};
use crate::{
    authorize::{Asking, InspectAuthorizer, InspectGrant, InspectRequest},
    publisher::Publisher,
    wire::name::ClientId,
};

/// A service that shows an operator who reads what, a channel's events and how the node is, and ends clients. It has a page
/// for browsers, and the JSON that the page reads.
///
/// It shows names and, if the grant allows, events of everybody. So you can't create it without an authorizer, and there is no
/// default that lets anybody in. Serve it where only operators reach it.
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
/// The paths are relative to where the service is mounted: see [`under`](Self::under). Parameters are in the query. `HEAD` is
/// answered as `GET`, without a body.
///
/// | request | answer | parameters |
/// | --- | --- | --- |
/// | `GET /` | the page | |
/// | `GET /overview` | the [health](Publisher::health) and the [numbers](crate::Stats) of the node, and what the grant allows | |
/// | `GET /channels` | channels, each with its readers and held events: by name, or those with the most readers first | `search`: a part of the name; `sort`: `name`, the default, or `readers`; `after`: the name after which to continue; `limit` |
/// | `GET /readers` | the readers of a channel, each with its client, for how long it has been connected, and how many events it has taken | `channel`; `from`: the `next` of the page before; `limit` |
/// | `GET /events` | the newest events of a channel, or those after an id. Those for everybody, or for a client too | `channel`; `client`; `after`: an id, or `start`; `limit` |
/// | `POST /disconnect` | [ends](Publisher::disconnect) a client on all channels, or [on one](crate::Channel::disconnect), and returns how many connections it had on this node as `ended` | `client`; `channel` |
///
/// # Bounds
///
/// Every list has a `limit`. It is 100 by default and at most 500, or 20 and at most 100 for events. Of an event's data, the
/// first 4,096 bytes are shown, and its size in `bytes`. A list of channels looks at each channel once, in slices, and keeps
/// no more of them than the limit. A list of readers looks at no more than 4,096 places. It can be empty and have a `next`,
/// if many readers have left.
///
/// With a remote backend, channels, readers and the newest events are those of this node, and `scope` is `node` instead of
/// `process`. Events after an id are read from the store, and a client is ended on all nodes.
///
/// # Other sites
///
/// A browser sends a password or a cookie with requests that other sites make too. They can't read the answers, since no
/// answer allows it, and can't show the page in a frame. A `POST` has to have the header `tower-sse-inspect`, with any value:
/// a browser lets another site send that only if an answer to a preflight request allows it, and this service never does. A `POST`
/// that a browser marks as coming from another site (`sec-fetch-site`) is refused even then. So put no CORS layer around it.
///
/// Names and data are untrusted text. The page inserts them as text only, and its `content-security-policy` allows no
/// script but its own and no other host.
///
/// # Refusals
///
/// Any other answer has an `application/problem+json` body, with a `reason` for programs:
///
/// | status | `reason` |
/// | --- | --- |
/// | 400 | `malformed`: a parameter. `invalid-name`: a name that is none. `missing`: a parameter that is required |
/// | 401, 403, 404 | `denied`: by the authorizer |
/// | 403 | `events-not-granted`, `disconnect-not-granted`, `cross-site` |
/// | 404, 405 | none: another path, another method |
/// | 429 | `rate-limited`: by the authorizer |
/// | 503 | `unavailable`: the backend. `authorizer-failed` |
#[derive(Clone)]
pub struct Inspect<A> {
    config: Arc<Config>,
    authorizer: A,
}

#[derive(Clone)]
struct Config {
    publisher: Publisher,
    /// The path of the page, without a slash at its end.
    path: String,
    /// When the service was made: the page computes rates by the time since then.
    since: Instant,
}

impl<A: InspectAuthorizer> Inspect<A> {
    /// Creates a service that shows the hub of `publisher` to whom `authorizer` allows.
    pub fn new(publisher: Publisher, authorizer: A) -> Self {
        let config = Config { publisher, path: String::new(), since: Instant::now() };
        Self { config: Arc::new(config), authorizer }
    }

    /// Sets the path under which the service is mounted, as it sees it, such as `/inspect`. The default is `/`: a router
    /// that nests a service, such as axum's `nest_service`, leaves out the path at which it does so.
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
    type Future = InspectFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> InspectFuture {
        let (config, authorizer) = (self.config.clone(), self.authorizer.clone());
        // No request needs a body.
        let parts = request.into_parts().0;
        let is_head = parts.method == Method::HEAD;
        let answering = async move {
            let answer = config.answer(authorizer, parts).await.unwrap_or_else(|refused| *refused);
            let answer = guarded(answer);
            if is_head { response::head(answer) } else { answer }
        };
        InspectFuture { answering: Box::pin(answering) }
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

/// Adds the headers that keep other sites away from an answer.
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

/// The response future of [`Inspect`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct InspectFuture {
    answering: Pin<Box<dyn Future<Output = Response<SseBody>> + Send>>,
}

impl Future for InspectFuture {
    type Output = Result<Response<SseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answering.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for InspectFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectFuture").finish_non_exhaustive()
    }
}
