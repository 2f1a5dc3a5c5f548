//! Publishing over HTTP: a service for the application's other backends, in whatever language they are.
//!
//! A request is asked about before its body is read. `ask` reads what the head of a request asks for, `body` reads the
//! body, `events` makes events of it, and `answer` says what became of them.

mod answer;
mod ask;
mod body;
mod events;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use self::ask::{Ask, Wish};
use super::{
    answering::AnswerFuture,
    body::SseBody,
    refused::{self, Refused},
    route::{Route, Routes},
};
use crate::{
    authorize::{Asking, PublishAuthorizer, PublishGrant, PublishRequest},
    error::{BoxError, RouteError},
    hub::Batch,
    publisher::Publisher,
    wire::name::ChannelName,
};

/// A service that publishes what it is sent: for backends in other languages, for scripts, and for `curl`.
///
/// There is no default that lets anybody publish: you can't create the service without an authorizer.
///
/// ```
/// use tower_sse::{Denied, Publisher, PublishRequest, PublishService, publish_authorizer_fn};
///
/// let authorizer = publish_authorizer_fn(|request: PublishRequest| async move {
///     match request.headers().get("authorization") {
///         // Compare it with the key of the service that publishes, in constant time.
///         Some(_) => Ok(request.grant()),
///         None => Err(Denied::unauthorized()),
///     }
/// });
/// let publish = PublishService::new(Publisher::new(), "/channels/{channel}", authorizer)?;
/// let app: axum::Router = axum::Router::new().route_service("/channels/{channel}", publish);
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// # Requests
///
/// `POST` publishes to the channel in the path. With a pattern that has no `{channel}`, it publishes to the channels that
/// the query names (`?channel=a&channel=b`). The `content-type` says what the body is:
///
/// | `content-type` | body |
/// | --- | --- |
/// | `text/plain` | the data of one event |
/// | `application/json` | an event, or an array of events |
/// | `application/x-ndjson` | an event in each line |
///
/// An event in JSON is an object. A string as `data` is the event's data as it is; any other value is its data as JSON, as
/// it was written:
///
/// | member | meaning |
/// | --- | --- |
/// | `data` | the data; the only member that is required |
/// | `event` | the name: see [`EventName`](crate::EventName) |
/// | `to` | the client that gets the event; by default, everybody does |
/// | `id` | an id of your own: see [`CustomId`](crate::CustomId) |
///
/// The query may have `event`, `to` and `id` too. They apply to text, and to each event in JSON that has no such member.
///
/// Several events are a [`Batch`]: all of them are published or none. With several channels, each gets all of them, one
/// channel after another. If one channel fails, those before it have them, and the answer lists these as `published`.
///
/// - With `?finish=true`, the channel is [finished](crate::Channel::finish) in the same step. The body may then be empty.
/// - With the header `Idempotency-Key`, the request can be repeated: events that were published before are not published
///   again, and the answer is the same with `repeated`. See [`Event::idempotency_key`](crate::Event::idempotency_key). All who
///   may publish to a channel share its keys, so make up keys that others don't guess, such as UUIDs, if these could be hostile.
/// - `DELETE` [closes](crate::Channel::close) the channel, or one channel after another. If one fails, the answer lists
///   those before it as `closed`.
///
/// # Answers
///
/// The answer to a `POST` is a 200 with an `application/json` body. `reached` is the number of connections on this node, as
/// in [`Sent`](crate::Sent):
///
/// ```json
/// { "events": [{ "channel": "chat", "id": "3fa94c01b2d7-41", "reached": 2, "repeated": false }] }
/// ```
///
/// The answer to a `DELETE` is a 204. Any other answer has an `application/problem+json` body, with a `detail` for humans and
/// a `reason` for programs:
///
/// | status | `reason` |
/// | --- | --- |
/// | 400 | `malformed`: the body is not what it should be. `invalid-name`: a name or id that the format can't carry. `reserved-name`: an event's name that begins with `run.`. `no-channel`, `too-many-channels`, `no-event` |
/// | 401, 403, 404 | `denied`: by the authorizer |
/// | 403 | `channel-not-granted`, `event-not-granted`, `finish-not-granted`, `close-not-granted` |
/// | 404, 405 | none: another path, another method |
/// | 408 | `timeout`: the body did not arrive in time |
/// | 409 | `finished`: the channel is. `duplicate-id`: the channel holds an event with this id |
/// | 413 | `too-large`: the body, an event, or the batch |
/// | 415 | `unsupported`: the body's type or encoding |
/// | 429 | `rate-limited`: the client publishes too much. Try again after the time in `Retry-After` |
/// | 503 | `limit`, `shutting-down`, `unavailable`, `authorizer-failed`: try again after the time in `Retry-After` |
///
/// Only after `unavailable`, and after no answer at all, may the events have been published: repeat the request with the same
/// `Idempotency-Key`.
#[derive(Clone)]
pub struct PublishService<A> {
    config: Arc<Config>,
    authorizer: A,
}

#[derive(Clone)]
struct Config {
    publisher: Publisher,
    routes: Routes,
    max_body: usize,
    patience: Duration,
}

impl<A: PublishAuthorizer> PublishService<A> {
    /// Creates a service that publishes through `publisher` what `authorizer` allows. The `pattern` is that of a
    /// [`Route`].
    ///
    /// # Errors
    ///
    /// Returns an error if the pattern is malformed: see [`RouteError::is_pattern`].
    pub fn new(publisher: Publisher, pattern: impl Into<String>, authorizer: A) -> Result<Self, RouteError> {
        let mut routes = Routes::default();
        routes.insert(Route::new(pattern))?;
        let config = Config { publisher, routes, max_body: 1 << 20, patience: Duration::from_secs(10) };
        Ok(Self { config: Arc::new(config), authorizer })
    }

    /// Sets how many bytes a request's body may have. The default is 1 MiB. A larger body is not read to its end. JSON takes
    /// a few times as much memory while it is read.
    pub fn max_body(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.config).max_body = bytes;
        self
    }

    /// Sets how long a request's body may take to arrive. The default is 10 seconds. Waiting for it needs a tokio runtime
    /// with time enabled.
    pub fn body_timeout(mut self, patience: Duration) -> Self {
        Arc::make_mut(&mut self.config).patience = patience;
        self
    }
}

impl<A, B> Service<Request<B>> for PublishService<A>
where
    A: PublishAuthorizer<Future: Send> + Send + Sync + 'static,
    B: Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<SseBody>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AnswerFuture {
        let (config, authorizer) = (self.config.clone(), self.authorizer.clone());
        let answering = async move { config.answer(authorizer, request).await.unwrap_or_else(|refused| *refused) };
        AnswerFuture::new(answering)
    }
}

impl Config {
    async fn answer<A, B>(&self, authorizer: A, request: Request<B>) -> Result<Response<SseBody>, Refused>
    where
        A: PublishAuthorizer,
        B: Body<Error: Into<BoxError>>,
    {
        let (parts, body) = request.into_parts();
        let max = self.publisher.limits().channels_per_subscription;
        let ask = Ask::read(&self.routes, max, &parts)?;
        let asking = Asking::new(&authorizer, PublishRequest::of(parts, ask.channels.clone()));
        let limited = Some(&self.publisher.counters().publishes_limited);
        let grant = asking.await.map_err(|refusal| refused::refused(&self.publisher, &refusal, limited))?;
        if !grant.allows_channels(&ask.channels) {
            return Err(answer::not_granted("channel-not-granted"));
        }
        match &ask.wish {
            Wish::Close => self.close(&ask, &grant).await,
            Wish::Publish(how) => {
                let body = body::read(body, self.max_body, self.patience).await?;
                let batch = events::read(how, &body, &grant, self.publisher.limits().batch_events)?;
                // Lossless: no target has a wider `usize`.
                grant.count((batch.events.len() * ask.channels.len()) as u64);
                self.publish(&ask.channels, batch).await
            }
        }
    }

    async fn publish(&self, channels: &[ChannelName], batch: Batch) -> Result<Response<SseBody>, Refused> {
        let mut published = Vec::new();
        for (at, channel) in channels.iter().enumerate() {
            match self.publisher.channel(channel).send_all(batch.clone()).await {
                Ok(sent) => published.push((channel, sent)),
                Err(error) => return Err(answer::not_published(&self.publisher, &error, channel, &channels[..at])),
            }
        }
        Ok(answer::published(&published))
    }

    async fn close(&self, ask: &Ask, grant: &PublishGrant) -> Result<Response<SseBody>, Refused> {
        if !grant.allows_close() {
            return Err(answer::not_granted("close-not-granted"));
        }
        for (at, channel) in ask.channels.iter().enumerate() {
            let closed = self.publisher.channel(channel).close().await;
            closed.map_err(|_| answer::not_closed(&self.publisher, channel, &ask.channels[..at]))?;
        }
        Ok(answer::closed())
    }
}

impl<A> fmt::Debug for PublishService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishService").field("max_body", &self.config.max_body).finish_non_exhaustive()
    }
}
