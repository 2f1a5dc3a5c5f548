//! Open streams without any data: what a connection costs without this crate.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body as AxumBody, routing::get};
use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::service_fn;

use super::{
    Settings,
    publish::{self, Hub},
};

struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

struct Nobody;

impl Hub for Nobody {
    async fn publish(&self, _: &str, _: Option<&str>, _: String, _: bool) -> Option<String> {
        None
    }
}

fn stream<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/event-stream"));
    response
}

pub fn run_hyper(settings: Settings) -> io::Result<()> {
    publish::run(settings, Nobody, serve)
}

pub fn run_axum(settings: Settings) -> io::Result<()> {
    let router = Router::new()
        .route("/sse/{channel}", get(|| async { stream(AxumBody::new(Never)) }))
        .route("/sse/{channel}/{client}", get(|| async { stream(AxumBody::new(Never)) }));
    publish::run(settings, Nobody, |listener| publish::serve_axum(listener, router))
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    let service =
        TowerToHyperService::new(service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(stream(Never)) }));
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}
