//! What a publisher and a subscriber of Mercure rely on.

use std::time::{Duration, SystemTime};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header::AUTHORIZATION},
};
use http_body_util::BodyExt as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use mercure_example::Hub;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;
use tower_sse::{JwtKeys, Publisher, Retention};

const KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";
/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);

fn hub() -> Router {
    Hub::new(Publisher::new(), KEY, KEY).unwrap().router()
}

fn token(claims: &Value) -> String {
    // Brings the cryptography, which `jsonwebtoken` does not have by itself here.
    drop(JwtKeys::secret(KEY));
    encode(&Header::default(), claims, &EncodingKey::from_secret(KEY.as_bytes()).unwrap()).unwrap()
}

fn with(publish: &[&str], subscribe: &[&str]) -> String {
    token(&json!({ "mercure": { "publish": publish, "subscribe": subscribe } }))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

async fn answer(hub: &Router, request: Request<Body>) -> Response<Body> {
    hub.clone().oneshot(request).await.unwrap()
}

async fn post(hub: &Router, token: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let request = Request::post("/.well-known/mercure").header("content-type", "application/x-www-form-urlencoded");
    let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(form(fields).into()).unwrap();
    let response = answer(hub, request).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// Publishes with every right, and returns the id.
async fn publish(hub: &Router, fields: &[(&str, &str)]) -> String {
    let (status, id) = post(hub, &with(&["*"], &[]), fields).await;
    assert_eq!(status, 200, "{id}");
    id
}

async fn subscribe(hub: &Router, selectors: &[&str], headers: &[(&str, &str)]) -> Response<Body> {
    let topics: Vec<_> = selectors.iter().map(|selector| ("topic", *selector)).collect();
    get(hub, &form(&topics), headers).await
}

async fn get(hub: &Router, query: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(format!("/.well-known/mercure?{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(hub, request.body(Body::empty()).unwrap()).await
}

/// Reads a stream up to an event with this id, and returns what it had before.
async fn until(response: &mut Response<Body>, id: &str) -> String {
    let (mut read, end) = (String::new(), format!("id: {id}\n\n"));
    while !read.contains(&end) {
        let frame = timeout(STUCK, response.body_mut().frame()).await.expect("the event comes");
        let data = frame.expect("the stream goes on").unwrap().into_data().unwrap();
        read.push_str(std::str::from_utf8(&data).unwrap());
    }
    read
}

/// What a subscriber of these selectors gets of one update, without the first line.
async fn gets(selectors: &[&str], token: Option<&str>, update: &[(&str, &str)]) -> bool {
    let hub = hub();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", &**bearer)).collect();
    let mut stream = subscribe(&hub, &[selectors, &["end"]].concat(), &headers).await;
    assert_eq!(
        (stream.status(), &stream.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().unwrap())
    );
    publish(&hub, update).await;
    publish(&hub, &[("topic", "end"), ("id", "end")]).await;
    until(&mut stream, "end").await.contains("data: seen\n")
}

/// The cases of the conformance suite of Mercure 0.24, and some more.
#[tokio::test]
async fn an_update_reaches_the_subscribers_of_its_topics_and_nobody_else() {
    let uri = "https://example.net/foo/7";
    let template = "https://example.net/foo/{random}";
    for (selectors, topics, is_private, reaches) in [
        (&["a"][..], &["a"][..], false, true),
        (&["b"], &["a", "b"], false, true),
        (&["foo", "a"], &["a"], false, true),
        (&[uri], &[uri], false, true),
        (&[template], &[uri], false, true),
        (&["*"], &[uri], false, true),
        (&["another"], &["a"], false, false),
        (&["https://example.net/foo/another"], &[uri], false, false),
        (&["https://example.net/bar/{var}"], &[uri], false, false),
        (&["a"], &["a"], true, false),
        (&[uri], &[uri], true, false),
        (&[template], &[uri], true, false),
        (&["*"], &["a"], true, false),
    ] {
        let mut update: Vec<_> = topics.iter().map(|topic| ("topic", *topic)).collect();
        update.push(("data", "seen"));
        if is_private {
            update.push(("private", "on"));
        }
        assert_eq!(gets(selectors, None, &update).await, reaches, "{selectors:?} {topics:?} {is_private}");
        assert!(!is_private || gets(selectors, Some(&with(&[], &["*"])), &update).await, "who may read it, does");
    }
}

#[tokio::test]
async fn a_private_update_reaches_those_who_may_read_one_of_its_topics() {
    let canonical = ("topic", "https://example.com/books/1");
    let alternate = ("topic", "https://example.com/users/foo/?topic=https%3A%2F%2Fexample.com%2Fbooks%2F1");
    let (data, private) = (("data", "seen"), ("private", ""));
    let token = with(&[], &["https://example.com/users/foo/{?topic}"]);
    let books = ["https://example.com/books/{id}"];
    assert!(gets(&books, Some(&token), &[canonical, alternate, data, private]).await);
    assert!(!gets(&books, Some(&token), &[canonical, data, private]).await);
    let others = with(&[], &["https://example.com/users/bar/{?topic}"]);
    assert!(!gets(&books, Some(&others), &[canonical, alternate, data, private]).await);
}

#[tokio::test]
async fn an_update_arrives_with_its_fields_and_its_answer_is_its_id() {
    let hub = hub();
    let mut stream = subscribe(&hub, &["a"], &[]).await;
    let id = "id-[\"é\"]/_5F:1";
    let fields =
        [("topic", "a"), ("topic", "b"), ("data", "two\r\n lines"), ("id", id), ("type", "moved"), ("retry", "7")];
    assert_eq!(publish(&hub, &fields).await, id);
    let read = until(&mut stream, id).await;
    assert!(read.ends_with(&format!("retry: 7\nevent: moved\ndata: two\ndata:  lines\nid: {id}\n\n")), "{read}");
    let own = publish(&hub, &[("topic", "a")]).await;
    assert!(own.starts_with('#'), "{own}");
    assert_eq!(until(&mut stream, &own).await, format!("data: \nid: {own}\n\n"));
    let again = publish(&hub, &fields).await;
    assert!(again.starts_with('#'), "an id that is taken is replaced: {again}");
}

#[tokio::test]
async fn a_subscriber_resumes_after_its_last_event_id_in_any_of_its_places() {
    let hub = hub();
    let mut ids = Vec::new();
    for id in ["urn:1", "", "urn:3", ""] {
        ids.push(publish(&hub, &[("topic", "a"), ("id", id), ("data", "x")]).await);
        publish(&hub, &[("topic", "other")]).await;
    }
    for (at, id) in ids.iter().enumerate().take(3) {
        let by_header = subscribe(&hub, &["a"], &[("last-event-id", id)]).await;
        let by_query = get(&hub, &format!("topic=a&lastEventID={}", encoded(id)), &[]).await;
        let older = format!("topic=a&lastEventID={}", encoded(&ids[0]));
        let by_both = get(&hub, &older, &[("last-event-id", id)]).await;
        for mut stream in [by_header, by_query, by_both] {
            assert_eq!(stream.headers()["last-event-id"], *id);
            let rest: String = ids[at + 1..].iter().map(|id| format!("data: x\nid: {id}\n\n")).collect();
            let read = until(&mut stream, &ids[3]).await;
            assert!(read.ends_with(&rest) && read.matches("id: ").count() == 3 - at, "{read}");
        }
    }
    let mut earliest = get(&hub, "topic=a&lastEventID=earliest", &[]).await;
    assert_eq!(earliest.headers()["last-event-id"], "earliest");
    assert_eq!(until(&mut earliest, &ids[3]).await.matches("data: x\n").count(), 4);
    let fresh = subscribe(&hub, &["a"], &[]).await;
    assert!(!fresh.headers().contains_key("last-event-id"));
}

#[tokio::test]
async fn a_subscriber_whose_last_update_is_gone_is_told_and_gets_what_is_held() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let hub = Hub::new(publisher, KEY, KEY).unwrap().router();
    let mut ids = Vec::new();
    for id in ["urn:1", "urn:2", "urn:3", "urn:4"] {
        ids.push(publish(&hub, &[("topic", "a"), ("id", id), ("data", "x")]).await);
    }
    for id in ["urn:1", "never"] {
        let mut stream = subscribe(&hub, &["a"], &[("last-event-id", id)]).await;
        assert_eq!(stream.headers()["last-event-id"], "earliest");
        let read = until(&mut stream, "urn:4").await;
        assert!(read.contains("event: gap\n") && read.matches("data: x\n").count() == 2, "{read}");
    }
}

#[tokio::test]
async fn a_token_comes_in_a_header_a_query_parameter_or_a_cookie_in_this_order() {
    let (good, bad) = (with(&["*"], &["*"]), "a.b.c");
    let (header, cookie) = (|token| format!("Bearer {token}"), |token| format!("mercureAuthorization={token}"));
    let hub = hub();
    for (in_header, in_query, in_cookie, status) in [
        (None, None, None, 200),
        (Some(&*good), None, None, 200),
        (None, Some(&*good), None, 200),
        (None, None, Some(&*good), 200),
        (Some(bad), Some(&*good), Some(&*good), 401),
        (Some(&*good), Some(bad), Some(bad), 200),
        (None, Some(bad), Some(&*good), 401),
        (None, None, Some(bad), 401),
    ] {
        let query = in_query.map_or("topic=a".to_owned(), |token| format!("topic=a&authorization={token}"));
        let (header, cookie) = (in_header.map(header), in_cookie.map(cookie));
        let headers = [("authorization", &header), ("cookie", &cookie)];
        let headers: Vec<_> = headers.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let response = get(&hub, &query, &headers).await;
        assert_eq!(response.status(), status, "{headers:?} {query}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test]
async fn only_a_token_that_allows_every_topic_of_an_update_allows_to_publish_it() {
    let hub = hub();
    let update = [("topic", "books/1"), ("topic", "books/2"), ("data", "x")];
    for (allowed, status) in
        [(&["*"][..], 200), (&["books/{id}"], 200), (&["books/1", "books/2"], 200), (&["books/1"], 403), (&[], 403)]
    {
        assert_eq!(post(&hub, &with(allowed, &["*"]), &update).await.0, status, "{allowed:?}");
    }
    assert_eq!(post(&hub, &token(&json!({})), &update).await.0, 403);
    assert_eq!(post(&hub, &format!("{}x", with(&["*"], &[])), &update).await.0, 401);
    let anonymous = Request::post("/.well-known/mercure").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(answer(&hub, anonymous.body(form(&update).into()).unwrap()).await.status(), 401);
    let by_other_site =
        Request::post("/.well-known/mercure").header("content-type", "application/x-www-form-urlencoded");
    let cookie = format!("mercureAuthorization={}", with(&["*"], &[]));
    let by_other_site = by_other_site.header("cookie", cookie).header("host", "a").header("origin", "https://evil");
    assert_eq!(answer(&hub, by_other_site.body(form(&update).into()).unwrap()).await.status(), 401);
}

#[tokio::test]
async fn a_malformed_request_is_a_400() {
    let hub = hub();
    let topic = ("topic", "a");
    for fields in [
        &[("data", "no topic")][..],
        &[topic, ("id", "#1")],
        &[topic, ("id", "earliest")],
        &[("topic", "*")],
        &[topic, ("id", "1\nevent: forged")],
        &[topic, ("type", "a\nid: forged")],
        &[topic, ("type", "gap")],
        &[topic, ("retry", "soon")],
        &[topic; 101],
    ] {
        assert_eq!(post(&hub, &with(&["*"], &[]), fields).await.0, 400, "{fields:?}");
    }
    for query in ["", "match_uritemplate=a", "Match=a", "match_urlpattern=https%3A%2F%2Fexample.com%2F%28"] {
        assert_eq!(get(&hub, query, &[]).await.status(), 400, "{query}");
    }
    assert_eq!(get(&hub, &"topic=a&".repeat(101), &[]).await.status(), 400);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let hub = hub();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let expiring = |seconds: f64| token(&json!({ "exp": now + seconds, "mercure": { "subscribe": ["*"] } }));
    let query = format!("topic=a&authorization={}", expiring(2.0));
    let stream = get(&hub, &query, &[]).await;
    assert_eq!(stream.status(), 200);
    let read = timeout(STUCK, stream.into_body().collect()).await.expect("the stream ends").unwrap().to_bytes();
    assert!(std::str::from_utf8(&read).unwrap().contains("retry: "), "the client learns when to come back");
    assert_eq!(get(&hub, &query, &[]).await.status(), 401);
}

#[tokio::test]
async fn a_token_of_version_1_grants_what_its_details_say() {
    let (issuer, own) = ("https://login.example", "https://hub.example/.well-known/mercure");
    let hub = Hub::version_1(Publisher::new(), KEY, KEY, issuer, own).unwrap().router();
    let detail = |actions: &[&str], topics: Value| json!({ "type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": topics });
    let with = |details: Value| {
        let claims = json!({ "iss": issuer, "aud": own, "exp": 4_102_444_800_u64, "authorization_details": details });
        token(&claims)
    };
    let books = json!([{ "match": "https://example.com/books/:id", "match_type": "urlpattern" }]);
    let writer = with(json!([{ "type": "of somebody else" }, detail(&["publish", "unknown"], books.clone())]));
    let book = [("topic", "https://example.com/books/1"), ("data", "seen"), ("id", "urn:1"), ("private", "on")];
    let reader = format!("Bearer {}", with(json!([detail(&["subscribe"], json!([{ "match": book[0].1 }]))])));
    let query = "match_urlpattern=https%3A%2F%2Fexample.com%2F*&match=end";
    let mut mine = get(&hub, query, &[("authorization", &reader)]).await;
    let mut public = get(&hub, query, &[]).await;
    assert_eq!(post(&hub, &writer, &book).await.0, 200);
    assert_eq!(post(&hub, &writer, &[("topic", "https://example.com/films/1")]).await.0, 403);
    let anything = with(json!([detail(&["publish"], json!([{ "match": "*" }]))]));
    assert_eq!(post(&hub, &anything, &[("topic", "end"), ("id", "end")]).await.0, 200);
    assert!(until(&mut mine, "end").await.contains("data: seen\n"));
    assert!(!until(&mut public, "end").await.contains("data: seen\n"));
    let resumed = get(&hub, &format!("{query}&last_event_id=urn%3A1"), &[]).await;
    assert_eq!(resumed.headers()["mercure-last-event-id"], "urn:1");

    let unknown = json!([{ "match": "a", "match_type": "regexp" }]);
    let malformed = json!([{ "match": "https://example.com/(", "match_type": "urlpattern" }]);
    for topics in [unknown, malformed, json!(["a"])] {
        let token =
            with(json!([detail(&["publish"], json!([{ "match": "*" }])), detail(&["subscribe"], topics.clone())]));
        assert_eq!(post(&hub, &token, &book).await.0, 401, "one detail that is not valid spoils the token: {topics}");
    }
    for claims in
        [json!({ "iss": issuer, "aud": own }), json!({ "iss": "other", "aud": own, "exp": 4_102_444_800_u64 })]
    {
        assert_eq!(post(&hub, &token(&claims), &book).await.0, 401);
    }
}
