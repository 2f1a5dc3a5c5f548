//! Layers around streams that the crate's own server detaches: each does its work, and the stream is detached all the
//! same.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::CorsLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveHeadersLayer,
    set_header::SetResponseHeaderLayer,
    timeout::{ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tower_sse::{
    Event, Publisher, SseBody, SseLayer,
    server::{App, RequestBody, Server},
};

/// A client of a server, over a pipe in memory.
struct Client {
    io: DuplexStream,
    task: JoinHandle<()>,
    server: Server,
    read: String,
}

impl Client {
    fn new(app: impl App) -> Self {
        let (io, theirs) = duplex(1 << 16);
        let server = Server::new();
        Self { io, task: tokio::spawn(server.serve_connection(theirs, app)), server, read: String::new() }
    }

    async fn get(&mut self, path: &str, headers: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        self.io.write_all(request.as_bytes()).await.unwrap();
    }

    /// Everything up to and including `end`.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut buf = [0; 4096];
            let n = self.io.read(&mut buf).await.unwrap();
            assert_ne!(n, 0, "it ended, after {:?}", self.read);
            self.read += &String::from_utf8_lossy(&buf[..n]);
        }
    }

    /// Asserts what every stream has to do through a layer. Returns its head.
    async fn assert_streams(&mut self, publisher: &Publisher) -> String {
        let head = self.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert_eq!(self.until("\n\r\n").await, "E\r\nretry: 3000\n:\n\r\n");
        for text in ["one", "two"] {
            let sent = publisher.channel("chat").send(Event::text(text)).await.unwrap();
            let event = format!("data: {text}\nid: {}\n\n", sent.id);
            assert_eq!(self.until("\n\n\r\n").await, format!("{:X}\r\n{event}\r\n", event.len()));
        }
        let stats = self.server.stats();
        assert_eq!((stats.detached, stats.by_hyper), (1, 0), "it is detached");
        head
    }

    /// Leaves, which must free the subscription.
    async fn leave(self, publisher: &Publisher) {
        drop(self.io);
        self.task.await.unwrap();
        assert_eq!(publisher.connections(), 0);
    }
}

type Inner = Response<Full<Bytes>>;

/// The layer around a service that answers with a page, which is large enough to be compressed.
fn sse(
    publisher: &Publisher,
) -> impl Service<Request<RequestBody>, Response = Response<SseBody<Full<Bytes>>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let page = service_fn(|_: Request<RequestBody>| async {
        let page = Response::builder().header(header::CONTENT_TYPE, "text/html");
        Ok::<Inner, Infallible>(page.body(Full::from("page ".repeat(1000))).unwrap())
    });
    SseLayer::new(publisher.clone()).route("/sse/{channel}").unwrap().layer(page)
}

/// Reads a stream through what is around it, and returns its head.
async fn streams_through(publisher: &Publisher, app: impl App, headers: &str) -> String {
    let mut client = Client::new(app);
    client.get("/sse/chat", headers).await;
    let head = client.assert_streams(publisher).await;
    client.leave(publisher).await;
    head
}

#[tokio::test]
async fn tracing_sees_each_chunk_and_the_end() {
    let publisher = Publisher::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let chunks = seen.clone();
    let trace = TraceLayer::new_for_http().on_body_chunk(move |_: &Bytes, _: Duration, _: &tracing::Span| {
        chunks.fetch_add(1, Ordering::Relaxed);
    });
    streams_through(&publisher, ServiceBuilder::new().layer(trace).service(sse(&publisher)), "").await;
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn headers_that_layers_set_are_in_the_head() {
    let publisher = Publisher::new();
    let cors = CorsLayer::new().allow_origin(HeaderValue::from_static("https://app.example")).allow_credentials(true);
    let header =
        SetResponseHeaderLayer::overriding(HeaderName::from_static("x-served-by"), HeaderValue::from_static("a layer"));
    let app = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(cors)
        .layer(header)
        .service(sse(&publisher));
    let head = streams_through(&publisher, app, "origin: https://app.example\r\nx-request-id: 17\r\n").await;
    for line in [
        "access-control-allow-origin: https://app.example\r\n",
        "access-control-allow-credentials: true\r\n",
        "x-served-by: a layer\r\n",
        "x-request-id: 17\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn an_auth_layer_outside_decides_first() {
    let publisher = Publisher::new();
    #[expect(deprecated, reason = "still what tower-http offers for one fixed token")]
    let auth = ValidateRequestHeaderLayer::bearer("secret");
    let app = ServiceBuilder::new()
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION]))
        .layer(auth)
        .service(sse(&publisher));
    let mut client = Client::new(app);
    client.get("/sse/chat", "").await;
    assert!(client.until("content-length: 0\r\n").await.starts_with("HTTP/1.1 401 "));
    client.until("\r\n\r\n").await;
    // The same connection, with a token.
    client.get("/sse/chat", "authorization: Bearer secret\r\n").await;
    client.assert_streams(&publisher).await;
    client.leave(&publisher).await;
}

#[tokio::test]
async fn compression_leaves_streams_alone_and_compresses_the_rest() {
    let publisher = Publisher::new();
    let app = ServiceBuilder::new().layer(CompressionLayer::new()).service(sse(&publisher));
    let mut client = Client::new(app.clone());
    client.get("/", "accept-encoding: gzip\r\n").await;
    assert!(client.until("\r\n\r\n").await.contains("content-encoding: gzip\r\n"));
    let head = streams_through(&publisher, app, "accept-encoding: gzip\r\n").await;
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn a_stream_that_is_compressed_all_the_same_is_detached() {
    let publisher = Publisher::new();
    let app =
        ServiceBuilder::new().layer(CompressionLayer::new().compress_when(SizeAbove::new(0))).service(sse(&publisher));
    let mut client = Client::new(app);
    client.get("/sse/chat", "accept-encoding: gzip\r\n").await;
    assert!(client.until("\r\n\r\n").await.contains("content-encoding: gzip\r\n"));
    // What the body begins with, compressed and flushed.
    client.until("\r\n").await;
    assert_eq!((client.server.stats().detached, client.server.stats().by_hyper), (1, 0));
    client.leave(&publisher).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_response_does_not_end_the_stream() {
    let publisher = Publisher::new();
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let app = ServiceBuilder::new().layer(CatchPanicLayer::new()).layer(timeout).service(sse(&publisher));
    let mut client = Client::new(app);
    client.get("/sse/chat", "").await;
    client.assert_streams(&publisher).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(publisher.connections(), 1);
    client.leave(&publisher).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_body_breaks_off_a_stream_that_is_silent() {
    let publisher = Publisher::new();
    let app =
        ServiceBuilder::new().layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(1))).service(sse(&publisher));
    let mut client = Client::new(app);
    client.get("/sse/chat", "").await;
    client.assert_streams(&publisher).await;
    let mut rest = String::new();
    client.io.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "", "there is no last chunk");
    client.leave(&publisher).await;
}
