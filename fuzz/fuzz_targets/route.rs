//! Any request gets one of the documented answers.
#![no_main]

use std::{
    cell::RefCell,
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::Empty;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_sse::{ChannelName, Event, OpenOptions, Publisher, Route, SseBody, SseLayer, Start};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    method: u8,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    last_event_id: Option<&'a [u8]>,
    accept: Option<&'a [u8]>,
}

/// The status that the inner service answers with.
const TEAPOT: u16 = 418;

thread_local! {
    /// The keep-alive's timer needs a runtime.
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

fuzz_target!(|input: Input| {
    // Servers parse the target, so that one that is invalid never gets here.
    let mut target = vec![b'/'];
    target.extend_from_slice(input.path);
    if let Some(query) = input.query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let Ok(uri) = Uri::try_from(target) else { return };
    let methods = [Method::GET, Method::HEAD, Method::GET, Method::POST, Method::OPTIONS];
    let method = methods[usize::from(input.method) % methods.len()].clone();
    let mut request = Request::builder().method(&method).uri(uri).body(()).unwrap();
    for (name, value) in [("last-event-id", input.last_event_id), ("accept", input.accept)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
            request.headers_mut().insert(name, value);
        }
    }

    RUNTIME.with_borrow(|runtime| {
        let _context = runtime.enter();
        let publisher = hub();
        let inner = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::builder().status(TEAPOT).body(Empty::<Bytes>::new()).unwrap())
        });
        let service = layer(&publisher).layer(inner);
        let answer = service.oneshot(request).now_or_never().expect("nothing here waits").unwrap();
        let status = answer.status().as_u16();
        let content = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let (connections, first) = (publisher.connections(), first_frame(answer.into_body()));
        match (status, method) {
            (TEAPOT, _) => assert_eq!(connections, 0),
            (_, method) if method != Method::GET && method != Method::HEAD => panic!("{status} to {method}"),
            (200, method) => {
                assert_eq!(content.as_deref(), Some("text/event-stream"));
                assert_eq!(connections, usize::from(method == Method::GET));
                assert_eq!(first.is_some_and(|first| first.starts_with(b"retry: ")), method == Method::GET);
            }
            (204, _) => assert_eq!((connections, content), (0, None)),
            (400 | 406, _) => {
                assert_eq!(connections, 0);
                assert_eq!(content.as_deref(), Some("application/problem+json"));
            }
            _ => panic!("{status}"),
        }
        assert_eq!(publisher.connections(), 0, "a dropped body is a subscription that is gone");
    });
});

/// Some channels with events, a targeted one, and one that is finished.
fn hub() -> Publisher {
    let publisher = Publisher::new();
    for name in ["a", "b"] {
        publisher.channel(name).send(Event::text(name)).now_or_never().unwrap().unwrap();
    }
    publisher.channel("a").send_to("c", Event::text("c")).now_or_never().unwrap().unwrap();
    publisher.channel("end").finish(Event::text("end")).now_or_never().unwrap().unwrap();
    publisher
}

fn layer(publisher: &Publisher) -> SseLayer {
    let earliest = OpenOptions::new().start(Start::Earliest);
    let routes = [
        Route::new("/s/{channel}"),
        Route::new("/s/{channel}/{client_id}"),
        Route::new("/q").options(earliest),
        Route::new("/r/{*channel}").announce_cursor(true),
        Route::new("/f/{client_id}").channel(ChannelName::from_static("a")),
    ];
    routes.into_iter().try_fold(SseLayer::new(publisher.clone()), SseLayer::route).expect("they are valid")
}

fn first_frame(body: SseBody<Empty<Bytes>>) -> Option<Vec<u8>> {
    let mut body = Box::pin(body);
    match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(|data| data.to_vec()),
        _ => None,
    }
}
