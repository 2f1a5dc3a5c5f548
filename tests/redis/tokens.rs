//! Tokens, links and permits to publish on two nodes that share one Redis: a client that reconnects to the other node finds
//! what it found on the first.

#[allow(dead_code)]
mod server;

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use http_body_util::BodyExt as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use server::{Server, is_installed};
use tokio::time::timeout;
use tower::ServiceExt as _;
use tower_sse::{
    ChannelName, ClientId, EncodedEvent, Event, EventId, Grant, Jwt, JwtKeys, Links, PublishRequest, PublishService,
    Publisher, Redis, SseLayer, jwt,
};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another secret of enough length!";

struct Node {
    publisher: Publisher,
    app: Router,
}

impl Node {
    fn new(server: &Server, tokens: Jwt, links: &Links) -> Self {
        let publisher = Publisher::builder().backend(Redis::new(&server.url()).unwrap()).build();
        let publish = PublishService::new(publisher.clone(), "/channels/{channel}", tokens.clone()).unwrap();
        let by_token = SseLayer::new(publisher.clone()).route("/events").unwrap().authorizer(tokens);
        let by_link =
            SseLayer::new(publisher.clone()).route("/links/{channel}").unwrap().authorizer(links.authorizer());
        let app = Router::new().route_service("/channels/{channel}", publish).layer(by_token).layer(by_link);
        Self { publisher, app }
    }

    async fn send(&self, text: &str) {
        self.publisher.channel("team").send(Event::text(text)).await.unwrap();
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    /// Reads the channel `team`.
    async fn open(&self, token: &str, last: Option<&str>) -> Reader {
        let request = Request::get("/events?channel=team").header("authorization", format!("Bearer {token}"));
        self.read(request, last).await
    }

    async fn open_link(&self, token: &str, last: Option<&str>) -> Reader {
        self.read(Request::get(format!("/links/team?token={token}")), last).await
    }

    async fn read(&self, request: axum::http::request::Builder, last: Option<&str>) -> Reader {
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = self.answer(request.body(Body::empty()).unwrap()).await;
        Reader { status: response.status().as_u16(), body: response.into_body(), read: String::new() }
    }

    async fn publish(&self, token: &str, query: &str, key: &str, lines: &str) -> (u16, Value) {
        let request = Request::post(format!("/channels/team{query}")).header("content-type", "application/x-ndjson");
        let request = request.header("authorization", format!("Bearer {token}")).header("idempotency-key", key);
        let response = self.answer(request.body(lines.to_owned().into()).unwrap()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

struct Reader {
    status: u16,
    body: Body,
    read: String,
}

impl Reader {
    /// Reads up to an event with this data.
    async fn until(&mut self, text: &str) {
        assert!(self.reads(text).await, "the stream has ended: {}", self.read);
    }

    /// Reads up to an event with this data, and returns `false` if the stream ends before.
    async fn reads(&mut self, text: &str) -> bool {
        let end = format!("data: {text}\n");
        while !self.read.contains(&end) || !self.read.ends_with("\n\n") {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// Reads up to the end of the stream.
    async fn until_the_end(&mut self) {
        while self.more().await {}
    }

    async fn more(&mut self) -> bool {
        let frame = timeout(STUCK, self.body.frame()).await.expect("something comes");
        let Some(frame) = frame else { return false };
        self.read.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        true
    }

    fn last_id(&self) -> String {
        self.read.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned()
    }

    fn data(&self) -> Vec<&str> {
        assert!(!self.read.contains("event: gap"), "{}", self.read);
        self.read.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    /// The client was told when to come back, after everything that it was sent.
    #[track_caller]
    fn assert_comes_back(&self) {
        let (_, end) = self.read.rsplit_once("\n\n").unwrap_or(("", &self.read));
        assert!(end.contains("retry: "), "{}", self.read);
    }
}

fn signed(secret: &str, header: Header, claims: &Value) -> String {
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes()).unwrap()).unwrap()
}

/// A token for `team` that is valid for this many seconds.
fn token(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "exp": now + seconds, "channels": ["team"], "publish": ["team"], "client": "ana" });
    signed(SECRET, Header::default(), &claims)
}

fn by_secret() -> Jwt {
    jwt(JwtKeys::secret(SECRET).unwrap()).leeway(Duration::ZERO)
}

/// Two nodes whose tokens are checked as `tokens` says, or `None` if there is no Redis.
fn nodes(mut tokens: impl FnMut() -> Jwt) -> Option<(Server, [Node; 2])> {
    let server = is_installed().then(Server::start)?;
    let links = Links::new(SECRET).unwrap();
    let nodes = [(); 2].map(|()| Node::new(&server, tokens(), &links));
    Some((server, nodes))
}

/// Opens a stream that ends soon, and reads up to an event with this data, which `sender` sends if it was not sent before. A
/// busy machine may take so long that the stream has ended by then: then another one is opened.
async fn read_one(open: impl AsyncFn() -> Reader, text: &str, sender: Option<&Node>) -> Reader {
    loop {
        let mut reader = open().await;
        if let Some(sender) = sender {
            sender.send(text).await;
        }
        if reader.reads(text).await {
            return reader;
        }
    }
}

#[tokio::test]
async fn an_expired_token_ends_the_stream_and_a_fresh_one_resumes_on_the_other_node() {
    let Some((_server, [one, two])) = nodes(by_secret) else { return };
    let mut reader = read_one(async || one.open(&token(3), None).await, "1", Some(&two)).await;
    reader.until_the_end().await;
    reader.assert_comes_back();
    one.send("2").await;
    two.send("3").await;
    for node in [&one, &two] {
        assert_eq!(node.open(&token(0), Some(&reader.last_id())).await.status, 401);
    }
    let mut back = two.open(&token(60), Some(&reader.last_id())).await;
    back.until("3").await;
    assert_eq!(back.data(), ["2", "3"]);
}

#[tokio::test]
async fn a_key_that_is_rotated_out_ends_live_streams_on_both_nodes() {
    let document = Arc::new(Mutex::new(key_set(&["one"])));
    let issuer = document.clone();
    let tokens = || {
        let document = issuer.clone();
        let keys = JwtKeys::fetched(move || {
            let document = document.lock().unwrap().clone();
            async { Ok::<_, io::Error>(document) }
        });
        // Each request finds the keys as they are, so a stream outlives its key by no more than the last of these times.
        let keys = keys.refresh_after(Duration::ZERO).fetch_at_most_every(Duration::ZERO);
        jwt(keys).longest_stream(Duration::from_secs(3))
    };
    let Some((_server, [one, two])) = nodes(tokens) else { return };
    let by = |id: &str| {
        let header = Header { kid: Some(id.to_owned()), ..Header::default() };
        signed(&secret(id), header, &json!({ "exp": 4_102_444_800_u64, "channels": ["team"] }))
    };
    let mut readers = Vec::new();
    for (node, other) in [(&one, &two), (&two, &one)] {
        readers.push(read_one(async || node.open(&by("one"), None).await, "1", Some(other)).await);
    }
    *document.lock().unwrap() = key_set(&["two"]);
    for reader in &mut readers {
        reader.until_the_end().await;
        reader.assert_comes_back();
    }
    two.send("2").await;
    for (reader, other) in readers.iter().zip([&two, &one]) {
        let last = reader.last_id();
        assert_eq!(other.open(&by("one"), Some(&last)).await.status, 401);
        let back = read_one(async || other.open(&by("two"), Some(&last)).await, "2", None).await;
        let missed = other.publisher.channel("team").read(EventId::parse(last.as_bytes()), 100).await.unwrap();
        let missed: Vec<_> = missed.events.iter().map(EncodedEvent::data).collect();
        assert_eq!(back.data(), missed);
    }
}

fn secret(id: &str) -> String {
    format!("{id:-<32}")
}

fn key_set(ids: &[&str]) -> Vec<u8> {
    let key = |id: &&str| json!({ "kty": "oct", "alg": "HS256", "kid": id, "k": base64(&secret(id)) });
    json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() }).to_string().into()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = text.as_bytes().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]))
    });
    digits.collect()
}

#[tokio::test]
async fn a_link_opens_the_stream_on_every_node_until_it_expires() {
    let Some((server, [one, two])) = nodes(by_secret) else { return };
    let links = Links::new(SECRET).unwrap();
    let ana = || Grant::new([ChannelName::from_static("team")]).client(ClientId::from_static("ana"));
    let short = || links.sign(&ana(), Duration::from_secs(3)).unwrap();
    let mut reader = read_one(async || one.open_link(&short(), None).await, "1", Some(&two)).await;
    reader.until_the_end().await;
    reader.assert_comes_back();
    one.send("2").await;
    two.publisher.channel("team").send_to("bo", Event::text("for bo")).await.unwrap();
    two.publisher.channel("team").send_to("ana", Event::text("for ana")).await.unwrap();
    let over = links.sign(&ana(), Duration::ZERO).unwrap();
    assert_eq!(two.open_link(&over, Some(&reader.last_id())).await.status, 401);
    // A node that has the next secret already accepts the links of the others.
    let next = Node::new(&server, by_secret(), &Links::new(OTHER).unwrap().also_accept(SECRET).unwrap());
    let fresh = links.sign(&ana(), Duration::from_secs(60)).unwrap();
    for node in [&two, &next] {
        let mut back = node.open_link(&fresh, Some(&reader.last_id())).await;
        back.until("for ana").await;
        assert_eq!(back.data(), ["2", "for ana"]);
    }
}

#[tokio::test]
async fn a_publish_that_is_repeated_on_the_other_node_is_one_event() {
    let Some((_server, [one, two])) = nodes(by_secret) else { return };
    let (token, lines) = (token(60), "{\"data\":\"1\"}\n{\"data\":\"2\",\"to\":\"ana\"}\n");
    let mut reader = one.open(&token, None).await;
    for (key, query) in [("a", ""), ("b", "")] {
        let (status, first) = one.publish(&token, query, key, lines).await;
        let (again_status, again) = two.publish(&token, query, key, lines).await;
        assert_eq!((status, again_status), (200, 200), "{first} {again}");
        for at in 0..2 {
            let (first, again) = (&first["events"][at], &again["events"][at]);
            assert_eq!((&first["id"], &first["repeated"]), (&again["id"], &json!(false)));
            assert_eq!(again["repeated"], true);
        }
    }
    two.send("last").await;
    reader.until("last").await;
    assert_eq!(reader.data(), ["1", "2", "1", "2", "last"]);
}

#[tokio::test]
async fn a_request_that_has_finished_the_channel_can_be_repeated_on_the_other_node() {
    let finishes = |_: Value, request: &PublishRequest| Ok(request.grant().allow_finish());
    let Some((_server, [one, two])) = nodes(|| by_secret().publish_claims(finishes)) else { return };
    let token = token(60);
    let mut reader = one.open(&token, None).await;
    let (status, first) = one.publish(&token, "?finish=true", "a", "{\"data\":\"last\"}").await;
    let (again_status, again) = two.publish(&token, "?finish=true", "a", "{\"data\":\"last\"}").await;
    assert_eq!((status, again_status), (200, 200), "{first} {again}");
    assert_eq!((&first["events"][0]["id"], &again["events"][0]["repeated"]), (&again["events"][0]["id"], &json!(true)));
    let (status, other) = two.publish(&token, "", "b", "{\"data\":\"late\"}").await;
    assert_eq!((status, &other["reason"]), (409, &json!("finished")));
    reader.until_the_end().await;
    assert_eq!(reader.data(), ["last"]);
    assert_eq!(two.open(&token, Some(&reader.last_id())).await.status, 204);
}

#[tokio::test]
async fn no_node_lets_a_token_publish_what_it_may_not() {
    let Some((_server, nodes)) = nodes(by_secret) else { return };
    let reads_only = signed(SECRET, Header::default(), &json!({ "exp": 4_102_444_800_u64, "channels": ["team"] }));
    let forged = signed(OTHER, Header::default(), &json!({ "exp": 4_102_444_800_u64, "publish": ["*"] }));
    for node in &nodes {
        let finishes = node.publish(&token(60), "?finish=true", "f", "{\"data\":\"1\"}").await;
        assert_eq!((finishes.0, &finishes.1["reason"]), (403, &json!("finish-not-granted")));
        let (status, problem) = node.publish(&reads_only, "", "r", "{\"data\":\"1\"}").await;
        assert_eq!((status, &problem["reason"]), (403, &json!("channel-not-granted")));
        assert_eq!(node.publish(&forged, "", "x", "{\"data\":\"1\"}").await.0, 401);
    }
    assert!(nodes[0].publisher.channel("team").read(None, 10).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn taking_access_back_on_one_node_sends_the_reader_of_the_other_through_the_authorizer() {
    let Some((_server, [one, two])) = nodes(by_secret) else { return };
    let token = token(60);
    let mut reader = one.open(&token, None).await;
    two.send("1").await;
    reader.until("1").await;
    two.publisher.reauthorize("ana").await.unwrap();
    reader.until_the_end().await;
    reader.assert_comes_back();
    one.send("2").await;
    let mut back = two.open(&token, Some(&reader.last_id())).await;
    back.until("2").await;
    assert_eq!(back.data(), ["2"]);
}
