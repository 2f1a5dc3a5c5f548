//! An application whose responses are in the requests' paths, for this server and for hyper.
#![allow(dead_code)]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Service, service_fn};
use tower_sse::server::RequestBody;

/// How many bodies exist.
#[derive(Clone, Default)]
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body that yields its pieces, and then ends, breaks off, or waits for ever.
pub struct Pieces {
    left: std::vec::IntoIter<String>,
    /// Runs until the next of the pieces that come each second.
    tick: Option<Pin<Box<tokio::time::Sleep>>>,
    exact: Option<u64>,
    alive: Alive,
}

/// `/a/b` answers with two pieces. Among them, `wait` waits for ever, `later` lets the server wait once, `break` breaks
/// off, `empty` is an empty piece, `much` is a large piece, `always` yields pieces for ever, `ticks` yields one each
/// second, and `panic` panics. The query is for the head of the response: `status`, `version`, and headers. With `read` in
/// it the body of the request is read first, and with `half` a piece of it.
pub fn app(
    alive: &Alive,
) -> impl Service<Request<RequestBody>, Response = Response<Pieces>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let alive = alive.clone();
    service_fn(move |request| answer(request, alive.clone()))
}

pub async fn answer<B>(request: Request<B>, alive: Alive) -> Result<Response<Pieces>, Infallible>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Send,
{
    let (parts, body) = request.into_parts();
    let mut body = Box::pin(body);
    let mut pieces: Vec<_> = parts.uri.path().split('/').skip(1).map(ToOwned::to_owned).collect();
    assert!(!pieces.contains(&"panic".to_owned()), "as the request says");
    let mut response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    let mut exact = None;
    for (name, value) in parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "status" => response = response.status(value.parse().unwrap_or(StatusCode::IM_A_TEAPOT)),
            "version" => response = response.version(if value == "1.0" { Version::HTTP_10 } else { Version::HTTP_2 }),
            "exact" => exact = Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            "read" => pieces.push(match body.as_mut().collect().await {
                Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
                Err(_) => "a bad body".to_owned(),
            }),
            "half" => drop(body.as_mut().frame().await),
            "plain" => *response.headers_mut().unwrap() = http::HeaderMap::new(),
            _ => {
                let value = HeaderValue::from_str(&value.replace('+', " "));
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value) {
                    response.headers_mut().unwrap().append(name, value);
                }
            }
        }
    }
    alive.0.fetch_add(1, Ordering::SeqCst);
    Ok(response.body(Pieces { left: pieces.into_iter(), tick: None, exact, alive }).unwrap())
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.alive.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let Some(piece) = self.left.next() else { return Poll::Ready(None) };
        let data = match &*piece {
            "wait" => {
                self.left = vec![piece].into_iter();
                return Poll::Pending;
            }
            "later" => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            "break" => return Poll::Ready(Some(Err("as the request says"))),
            "ticks" => {
                self.left = vec![piece].into_iter();
                let second = std::time::Duration::from_secs(1);
                let tick = self.tick.get_or_insert_with(|| Box::pin(tokio::time::sleep(second)));
                std::task::ready!(tick.as_mut().poll(cx));
                self.tick = None;
                Bytes::from("tick")
            }
            "always" => {
                self.left = vec![piece].into_iter();
                Bytes::from("x".repeat(1 << 14))
            }
            "empty" => Bytes::new(),
            "much" => Bytes::from("x".repeat(1 << 20)),
            "trailers" => return Poll::Ready(Some(Ok(Frame::trailers(http::HeaderMap::new())))),
            text => Bytes::from(text.to_owned()),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}
