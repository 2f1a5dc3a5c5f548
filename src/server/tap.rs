//! The service that hyper calls. It calls the application, and decides which responses leave hyper.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use pin_project_lite::pin_project;

use super::{
    app::App,
    chunk::Framing,
    handover::{Carried, Handover},
    request::{Progress, RequestBody},
    shared::Shared,
};
use crate::oneshot::Oneshot;

/// An application, as hyper calls it.
pub(super) struct Tap<S: App> {
    app: S,
    shared: Arc<Shared>,
    /// `None` over HTTP/2, where nothing leaves hyper.
    handover: Option<Arc<Handover<S::Body>>>,
}

impl<S: App> Tap<S> {
    pub(super) fn new(app: S, shared: Arc<Shared>, handover: Option<Arc<Handover<S::Body>>>) -> Self {
        Self { app, shared, handover }
    }

    pub(super) fn into_app(self) -> S {
        self.app
    }
}

impl<S: App> hyper::service::Service<Request<Incoming>> for Tap<S> {
    type Response = Response<Carried<S::Body>>;
    type Error = S::Error;
    type Future = Answering<S>;

    fn call(&self, request: Request<Incoming>) -> Answering<S> {
        let (parts, body) = request.into_parts();
        let (body, progress) = RequestBody::new(body);
        let handover = self.handover.clone().map(|handover| (handover, Asked::new(&parts, progress)));
        let answering = Oneshot::new(self.app.clone(), Request::from_parts(parts, body));
        Answering { answering, shared: self.shared.clone(), handover }
    }
}

pin_project! {
    /// The application's response to a request. A body that can leave hyper is left for the driver.
    pub(super) struct Answering<S: App> {
        #[pin]
        answering: Oneshot<S, Request<RequestBody>>,
        shared: Arc<Shared>,
        handover: Option<(Arc<Handover<S::Body>>, Asked)>,
    }
}

impl<S: App> Future for Answering<S> {
    type Output = Result<Response<Carried<S::Body>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answering.poll(cx))?;
        let handover = this.handover.as_ref().map(|(handover, asked)| (&**handover, asked));
        Poll::Ready(Ok(hand_over(this.shared, handover, response)))
    }
}

/// Leaves the body of a response for the driver, if hyper does not have to send it.
fn hand_over<B: Body>(
    shared: &Shared,
    handover: Option<(&Handover<B>, &Asked)>,
    response: Response<B>,
) -> Response<Carried<B>> {
    let (parts, body) = response.into_parts();
    let is_stream = is_event_stream(&parts.headers);
    let Some((handover, asked)) = handover.filter(|_| is_stream) else {
        let watched = is_stream && handover.is_none();
        return Response::from_parts(parts, Carried::ByHyper { body, watched });
    };
    match asked.framing().filter(|_| has_no_size(&parts, &body)) {
        Some(framing) => {
            handover.leave(body, framing);
            Response::from_parts(parts, Carried::Detached)
        }
        None => {
            // The response to a HEAD has no body.
            shared.counters.by_hyper.add(u64::from(!asked.is_head));
            Response::from_parts(parts, Carried::ByHyper { body, watched: false })
        }
    }
}

/// What a request says about the response to it.
#[derive(Debug)]
struct Asked {
    progress: Progress,
    version: Version,
    is_head: bool,
    /// Whether the connection may change to another protocol.
    changes: bool,
}

impl Asked {
    fn new(parts: &http::request::Parts, progress: Progress) -> Self {
        let changes = parts.method == Method::CONNECT || parts.extensions.get::<OnUpgrade>().is_some();
        Self { progress, version: parts.version, is_head: parts.method == Method::HEAD, changes }
    }

    /// Returns how to mark the end of a body without a size, or `None` if the response has to stay with hyper.
    fn framing(&self) -> Option<Framing> {
        match self.version {
            _ if self.is_head || self.changes || !self.progress.is_read() => None,
            Version::HTTP_11 => Some(Framing::Chunked),
            Version::HTTP_10 => Some(Framing::Close),
            _ => None,
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Whether the head of the response does not determine where the body ends.
fn has_no_size<B: Body>(parts: &http::response::Parts, body: &B) -> bool {
    let status = parts.status;
    let has_body = !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    let own_framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];
    has_body
        && parts.version == Version::HTTP_11
        && !own_framing.iter().any(|name| parts.headers.contains_key(name))
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
}
