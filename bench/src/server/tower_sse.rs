//! This crate, on its own server, on hyper alone, and in front of axum.

use std::{convert::Infallible, io};

use axum::Router;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_sse::{Event, KeepAlive, Limits, NoBody, Publisher, Retention, Route, SseBody, SseLayer, server};

use super::{
    Settings,
    publish::{self, Hub},
};

impl Hub for Publisher {
    async fn publish(&self, channel: &str, client: Option<&str>, data: String, wants_id: bool) -> Option<String> {
        let channel = self.channel(channel);
        let sent = match client {
            None => channel.send(Event::text(data)).await,
            Some(client) => channel.send_to(client, Event::text(data)).await,
        };
        match sent {
            Ok(sent) => wants_id.then(|| sent.id.to_string()),
            Err(error) => panic!("not published: {error}"),
        }
    }
}

fn publisher(settings: Settings) -> Publisher {
    let retention = Retention::new().events(settings.history).bytes(usize::MAX);
    let limits = Limits::new().hub_bytes(1 << 30).channels(1_000_000);
    Publisher::builder().retention(retention).limits(limits).build()
}

fn layer(publisher: &Publisher, settings: Settings) -> io::Result<SseLayer> {
    let mut layer = SseLayer::new(publisher.clone());
    for pattern in ["/sse/{channel}", "/sse/{channel}/{client_id}", "/multi"] {
        let route = Route::new(pattern).keep_alive(KeepAlive::every(settings.keep_alive));
        layer = layer.route(route).map_err(io::Error::other)?;
    }
    Ok(layer)
}

pub fn run_server(settings: Settings) -> io::Result<()> {
    let publisher = publisher(settings);
    let app = layer(&publisher, settings)?.into_service();
    publish::run(settings, publisher, |listener| async { server::serve(listener, app).await })
}

pub fn run_hyper(settings: Settings) -> io::Result<()> {
    let publisher = publisher(settings);
    let layer = layer(&publisher, settings)?;
    publish::run(settings, publisher, |listener| serve(listener, layer))
}

pub fn run_axum(settings: Settings) -> io::Result<()> {
    let publisher = publisher(settings);
    let router = Router::new().layer(layer(&publisher, settings)?);
    publish::run(settings, publisher, |listener| publish::serve_axum(listener, router))
}

async fn serve(listener: TcpListener, layer: SseLayer) -> io::Result<()> {
    let not_found = service_fn(|_: Request<Incoming>| async {
        let mut response = Response::new(SseBody::<NoBody>::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    let service = TowerToHyperService::new(layer.layer(not_found));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
    }
}
