//! Keys that a local server has, and rotates while streams are open.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, Response, StatusCode, header::AUTHORIZATION},
    routing::get,
};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use keys_example::keys;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tower::ServiceExt as _;
use tower_sse::{Event, JwtKeys, Publisher, SseLayer, jwt};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An identity provider. It signs with secrets, which a real one would not publish.
#[derive(Clone, Default)]
struct Provider {
    state: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    ids: Vec<&'static str>,
    /// How often it was asked.
    asked: usize,
    /// What it answers with instead of the keys.
    broken: Option<(StatusCode, String)>,
}

impl Provider {
    async fn start(ids: &[&'static str]) -> (Self, JwtKeys) {
        let provider = Self::default();
        provider.rotate(ids);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let app = Router::new().route("/jwks.json", get(document)).with_state(provider.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        (provider, keys(url.parse().unwrap()).unwrap())
    }

    fn rotate(&self, ids: &[&'static str]) {
        self.state.lock().unwrap().ids = ids.to_vec();
    }

    fn breaks(&self, status: u16, body: impl Into<String>) {
        self.state.lock().unwrap().broken = Some((StatusCode::from_u16(status).unwrap(), body.into()));
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

async fn document(State(provider): State<Provider>) -> (StatusCode, String) {
    let mut keys = provider.state.lock().unwrap();
    keys.asked += 1;
    let key = |id: &&str| json!({ "kty": "oct", "alg": "HS256", "kid": id, "k": in_base64(id) });
    let document = json!({ "keys": keys.ids.iter().map(key).collect::<Vec<_>>() }).to_string();
    keys.broken.clone().unwrap_or((StatusCode::OK, document))
}

/// 32 bytes. In base64, the text `AAAA` is three zero bytes, and so on.
fn in_base64(id: &str) -> String {
    format!("{id:A<43}")
}

fn token(id: &str, claims: &Value) -> String {
    let mut header = Header { kid: Some(id.to_owned()), ..Header::default() };
    header.typ = None;
    // The same bytes, in the alphabet and with the padding that this function takes.
    encode(&header, claims, &EncodingKey::from_base64_secret(&(in_base64(id) + "=")).unwrap()).unwrap()
}

fn valid(id: &str) -> String {
    token(id, &json!({ "exp": 4_102_444_800_u64, "channels": ["team"] }))
}

fn streams(publisher: &Publisher, keys: JwtKeys) -> Router {
    Router::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}").unwrap().authorizer(jwt(keys)))
}

async fn open(streams: &Router, token: &str) -> Response<Body> {
    let request = Request::get("/events/team").header(AUTHORIZATION, format!("Bearer {token}"));
    streams.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn status(streams: &Router, token: &str) -> u16 {
    open(streams, token).await.status().as_u16()
}

/// Whether the request was told to come back later.
async fn comes_back(streams: &Router, token: &str) -> bool {
    let response = open(streams, token).await;
    let all = timeout(Duration::from_millis(1), response.into_body().collect()).await;
    all.is_ok_and(|all| all.unwrap().to_bytes().starts_with(b"retry: "))
}

async fn until(stream: &mut Response<Body>, text: &str) {
    let (mut read, text) = (String::new(), format!("data: {text}\n"));
    while !read.contains(&text) {
        let frame = timeout(STUCK, stream.body_mut().frame()).await.expect("the event comes");
        let data = frame.expect("the stream goes on").unwrap().into_data().unwrap();
        read.push_str(std::str::from_utf8(&data).unwrap());
    }
}

#[tokio::test]
async fn keys_rotate_under_live_streams_without_a_restart() {
    let (provider, keys) = Provider::start(&["one"]).await;
    let publisher = Publisher::new();
    let streams = streams(&publisher, keys.fetch_at_most_every(Duration::ZERO));
    let mut first = open(&streams, &valid("one")).await;
    assert_eq!((first.status().as_u16(), provider.asked()), (200, 1));
    provider.rotate(&["one", "two"]);
    let mut second = open(&streams, &valid("two")).await;
    assert_eq!((second.status().as_u16(), provider.asked()), (200, 2), "the new key is fetched at once");
    assert_eq!((status(&streams, &valid("one")).await, provider.asked()), (200, 2), "both are good");
    provider.rotate(&["two", "three"]);
    assert_eq!((status(&streams, &valid("three")).await, provider.asked()), (200, 3));
    assert_eq!(status(&streams, &valid("one")).await, 401, "the old key is gone");
    publisher.channel("team").send(Event::text("to both")).await.unwrap();
    until(&mut first, "to both").await;
    until(&mut second, "to both").await;
}

#[tokio::test]
async fn a_storm_of_unknown_key_ids_asks_the_provider_once() {
    let (provider, keys) = Provider::start(&["one"]).await;
    let streams = streams(&Publisher::new(), keys.fetch_at_most_every(HOUR));
    let tokens: Vec<_> = (0..1000).map(|n| valid(&format!("unknown{n}"))).collect();
    let answers = join_all(tokens.iter().map(|token| open(&streams, token))).await;
    assert!(answers.iter().all(|answer| answer.status() != 200 || answer.headers().contains_key("tower-sse")));
    for token in &tokens {
        drop(open(&streams, token).await);
    }
    assert_eq!(provider.asked(), 1);
    assert_eq!(status(&streams, &valid("one")).await, 200, "whoever has a good token is not held up");
}

#[tokio::test]
async fn a_provider_that_is_broken_denies_nobody_and_the_keys_at_hand_stay_in_use() {
    let (provider, keys) = Provider::start(&["one"]).await;
    let streams = streams(&Publisher::new(), keys.fetch_at_most_every(Duration::ZERO));
    assert_eq!(status(&streams, &valid("one")).await, 200);
    for (status_code, body) in
        [(500, "no".to_owned()), (200, "<html>".to_owned()), (200, "x".repeat(1 << 20)), (302, String::new())]
    {
        provider.breaks(status_code, body);
        let before = provider.asked();
        assert!(comes_back(&streams, &valid("two")).await, "{status_code}");
        assert!(provider.asked() > before);
        assert_eq!(status(&streams, &valid("one")).await, 200);
    }
}
