//! Inspecting a hub over HTTP: who gets what, that lists have their limits, and that a client is ended.

#[path = "metrics/broken.rs"]
mod broken;
mod common;

use std::time::Duration;

use common::{drain, live, send, send_to};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_sse::{
    Denied, EndReason, Event, Inspect, InspectAuthorizer, InspectGrant, InspectRequest, Publisher, RateLimited,
    SseBody, Subscription, inspect_authorizer_fn,
};

/// Every request that the service answers, and some that have to be refused.
const REQUESTS: [(&str, &str); 6] = [
    ("GET", "/"),
    ("GET", "/overview"),
    ("GET", "/channels"),
    ("GET", "/readers?channel=secret"),
    ("GET", "/events?channel=secret"),
    ("POST", "/disconnect?client=ana"),
];

fn allowing(grant: InspectGrant) -> impl InspectAuthorizer<Future: Send> + Send + Sync {
    inspect_authorizer_fn(move |_| std::future::ready(Ok::<_, Denied>(grant.clone())))
}

fn anything() -> impl InspectAuthorizer<Future: Send> + Send + Sync {
    allowing(InspectGrant::new().allow_events().allow_disconnect())
}

fn request(method: &str, uri: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(uri);
    if method == "POST" { request.header("tower-sse-inspect", "1") } else { request }
}

async fn ask<A>(publisher: &Publisher, authorizer: A, request: http::request::Builder) -> Response<SseBody>
where
    A: InspectAuthorizer<Future: Send> + Send + Sync + 'static,
{
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let Ok(response) = Inspect::new(publisher.clone(), authorizer).oneshot(request).await;
    response
}

async fn text(response: Response<SseBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// The status and the body. What is no success is a problem.
async fn answer(response: Response<SseBody>) -> (u16, Value) {
    let (status, kind) = (response.status(), response.headers()["content-type"].clone());
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(kind == "application/problem+json", !status.is_success());
    (status.as_u16(), serde_json::from_str(&text(response).await).unwrap_or_default())
}

async fn get(publisher: &Publisher, uri: &str) -> Value {
    let (status, body) = answer(ask(publisher, anything(), request("GET", uri)).await).await;
    assert_eq!(status, 200, "{uri}: {body}");
    body
}

/// The status and the reason of a refusal.
async fn refused<A>(publisher: &Publisher, authorizer: A, request: http::request::Builder) -> (u16, String)
where
    A: InspectAuthorizer<Future: Send> + Send + Sync + 'static,
{
    let (status, body) = answer(ask(publisher, authorizer, request).await).await;
    (status, body["reason"].as_str().unwrap_or_default().to_owned())
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap()).collect()
}

fn is_open(reader: &mut Subscription) -> bool {
    drain(reader);
    reader.end_reason().is_none()
}

// Who gets what

#[tokio::test]
async fn a_client_that_is_not_authorised_gets_nothing_and_ends_nobody() {
    let publisher = Publisher::new();
    let mut ana = live(&publisher, &["secret"], "ana");
    send(&publisher, "secret", "a secret event");
    let denied = inspect_authorizer_fn(|_| async {
        Err::<InspectGrant, _>(Denied::unauthorized().challenge(http::HeaderValue::from_static("Basic")))
    });
    for (method, uri) in REQUESTS {
        let response = ask(&publisher, denied, request(method, uri)).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["www-authenticate"]),
            (401, &"Basic".parse().unwrap())
        );
        let expected = json!({ "type": "about:blank", "title": "Unauthorized", "status": 401, "reason": "denied" });
        assert_eq!(answer(response).await.1, expected);
    }
    assert_eq!(publisher.stats().denied, REQUESTS.len() as u64);
    assert!(is_open(&mut ana));
}

#[tokio::test]
async fn an_authorizer_that_fails_or_says_later_shows_nothing() {
    let publisher = Publisher::new();
    let failing = inspect_authorizer_fn(|_| async { Err::<InspectGrant, _>(std::io::Error::other("no database")) });
    let panicking = inspect_authorizer_fn(|_| async { panic!("a bug") as Result<InspectGrant, Denied> });
    let later = || async { Err::<InspectGrant, _>(RateLimited::new(Duration::from_secs(9))) };
    let limiting = inspect_authorizer_fn(move |_| later());
    for (method, uri) in REQUESTS {
        assert_eq!(refused(&publisher, failing, request(method, uri)).await, is(503, "authorizer-failed"));
        assert_eq!(refused(&publisher, panicking, request(method, uri)).await, is(503, "authorizer-failed"));
        assert_eq!(refused(&publisher, limiting, request(method, uri)).await, is(429, "rate-limited"));
    }
}

#[tokio::test]
async fn an_authorizer_learns_what_the_request_is_about() {
    let publisher = Publisher::new();
    let checking = inspect_authorizer_fn(|request: InspectRequest| async move {
        let channels: Vec<_> = request.channels().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!((request.method(), &*channels), (&Method::POST, &["a b".to_owned()][..]));
        assert_eq!(request.client().unwrap(), &"ana");
        Ok::<_, Denied>(InspectGrant::new().allow_disconnect())
    });
    let (status, body) =
        answer(ask(&publisher, checking, request("POST", "/disconnect?client=ana&channel=a+b")).await).await;
    assert_eq!((status, body), (200, json!({ "ended": 0 })));
}

#[tokio::test]
async fn events_are_read_and_clients_are_ended_only_if_the_grant_allows_it() {
    let publisher = Publisher::new();
    let mut ana = live(&publisher, &["secret"], "ana");
    send(&publisher, "secret", "a secret event");
    let [list, events, end] = [REQUESTS[3], REQUESTS[4], REQUESTS[5]].map(|(method, uri)| move || request(method, uri));
    let none = || allowing(InspectGrant::new());
    assert_eq!(refused(&publisher, none(), events()).await, is(403, "events-not-granted"));
    assert_eq!(refused(&publisher, none(), end()).await, is(403, "disconnect-not-granted"));
    assert_eq!(ask(&publisher, none(), list()).await.status(), 200);
    let may_read = || allowing(InspectGrant::new().allow_events());
    assert_eq!(ask(&publisher, may_read(), events()).await.status(), 200);
    assert_eq!(refused(&publisher, may_read(), end()).await, is(403, "disconnect-not-granted"));
    assert!(is_open(&mut ana));
    let overview = text(ask(&publisher, may_read(), request("GET", "/overview")).await).await;
    assert!(overview.contains(r#""may":{"disconnect":false,"events":true}"#), "{overview}");
}

// What is shown

#[tokio::test(start_paused = true)]
async fn readers_are_shown_with_their_client_their_time_and_their_events() {
    let publisher = Publisher::new();
    let mut ana = live(&publisher, &["chat", "news"], "ana");
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut nobody = live(&publisher, &["chat"], "");
    tokio::time::advance(Duration::from_secs(5)).await;
    for n in 0..3 {
        send(&publisher, "chat", n);
    }
    send_to(&publisher, "chat", "ana", "for her");
    send(&publisher, "news", "elsewhere");
    assert_eq!((drain(&mut ana).len(), drain(&mut nobody).len()), (5, 3));

    let shown = get(&publisher, "/readers?channel=chat").await;
    let reader = |client: Option<&str>, seconds: f64, events: u64, several: bool| json!({ "client": client, "connection": null, "seconds": seconds, "events": events, "several": several });
    let readers = json!([reader(Some("ana"), 65.0, 4, true), reader(None, 5.0, 3, false)]);
    assert_eq!(shown, json!({ "scope": "process", "readers": readers, "all": 2, "next": null }));
    // A reader that is gone is no longer shown, nor one that was ended and is not gone yet.
    drop(nobody);
    publisher.disconnect("ana").await.unwrap();
    assert_eq!(get(&publisher, "/readers?channel=chat").await["readers"], json!([]));
    assert_eq!(get(&publisher, "/readers?channel=absent").await["readers"], json!([]));
}

#[tokio::test]
async fn channels_are_shown_by_name_or_by_readers_and_are_searched() {
    let publisher = Publisher::new();
    let _readers = ["b", "b", "c"].map(|channel| live(&publisher, &[channel], ""));
    for channel in ["a-1", "a-2"] {
        send(&publisher, channel, "held");
    }
    publisher.channel("a-2").finish(Event::text("the end")).await.unwrap();
    let by_name = get(&publisher, "/channels").await;
    assert_eq!(column(&by_name["channels"], "channel"), ["a-1", "a-2", "b", "c"]);
    assert_eq!((&by_name["all"], &by_name["scope"]), (&json!(4), &json!("process")));
    let finished = &by_name["channels"][1];
    assert_eq!(
        (&finished["events"], &finished["finished"], &finished["readers"]),
        (&json!(2), &json!(true), &json!(0))
    );
    assert!(finished["bytes"].as_u64().unwrap() > 0);
    let by_readers = get(&publisher, "/channels?sort=readers&limit=3").await;
    assert_eq!(column(&by_readers["channels"], "channel"), ["b", "c", "a-1"]);
    assert_eq!((&by_readers["channels"][0]["readers"], &by_readers["all"]), (&json!(2), &json!(4)));
    let found = get(&publisher, "/channels?search=a-&after=a-1").await;
    assert_eq!((column(&found["channels"], "channel"), &found["all"]), (vec!["a-2"], &json!(1)));
}

#[tokio::test]
async fn the_newest_events_are_shown_and_all_of_them_page_by_page() {
    let publisher = Publisher::new();
    let ids: Vec<String> = (0..5).map(|n| send(&publisher, "chat", n)).collect();
    send_to(&publisher, "chat", "ana", "for her");
    publisher.channel("chat").send(Event::text("last").name(tower_sse::EventName::from_static("done"))).await.unwrap();
    let newest = get(&publisher, "/events?channel=chat&limit=3").await;
    assert_eq!(column(&newest["events"], "data"), ["3", "4", "last"]);
    assert_eq!((&newest["events"][2]["event"], &newest["events"][0]["event"]), (&json!("done"), &Value::Null));
    assert_eq!(newest["events"][0]["id"], ids[3]);
    let hers = get(&publisher, "/events?channel=chat&client=ana&limit=2").await;
    assert_eq!(column(&hers["events"], "data"), ["for her", "last"]);

    let first = get(&publisher, "/events?channel=chat&after=start&limit=4").await;
    assert_eq!((column(&first["events"], "data"), &first["caught_up"]), (vec!["0", "1", "2", "3"], &json!(false)));
    let rest = format!("/events?channel=chat&client=ana&after={}", first["next"].as_str().unwrap());
    let rest = get(&publisher, &rest).await;
    assert_eq!((column(&rest["events"], "data"), &rest["caught_up"]), (vec!["4", "for her", "last"], &json!(true)));
    assert_eq!(get(&publisher, "/events?channel=chat&after=unknown").await["gap"], "unknown-id");
}

#[tokio::test(start_paused = true)]
async fn the_numbers_of_the_node_say_when_they_were_read() {
    let publisher = Publisher::new();
    let service = Inspect::new(publisher.clone(), anything());
    let look = async || {
        let request = request("GET", "/overview").body(Empty::<bytes::Bytes>::new()).unwrap();
        let Ok(response) = service.clone().oneshot(request).await;
        answer(response).await.1
    };
    let before = look().await;
    assert_eq!(
        (&before["ready"], &before["health"], &before["scope"]),
        (&json!(true), &json!("ready"), &json!("process"))
    );
    tokio::time::advance(Duration::from_secs(2)).await;
    send(&publisher, "chat", "one");
    let after = look().await;
    assert_eq!((&before["seconds"], &after["seconds"]), (&json!(0.0), &json!(2.0)));
    assert_eq!((&before["stats"]["published"], &after["stats"]["published"]), (&json!(0), &json!(1)));
    assert_eq!((&before["stats"]["channels"], &after["stats"]["channels"]), (&json!(0), &json!(1)));
}

// Bounds

#[tokio::test]
async fn lists_of_channels_have_a_limit_whatever_is_asked_for_and_page_through_all() {
    let publisher = Publisher::new();
    for n in 0..1_234 {
        send(&publisher, &format!("channel-{n}"), "held");
    }
    let default = get(&publisher, "/channels").await;
    assert_eq!(default["channels"].as_array().unwrap().len(), 100);
    let (mut after, mut pages, mut seen) = (String::new(), Vec::new(), std::collections::BTreeSet::new());
    loop {
        let page = get(&publisher, &format!("/channels?limit=100000&after={after}")).await;
        let names = column(&page["channels"], "channel");
        assert_eq!(page["all"].as_u64().unwrap() as usize, 1_234 - seen.len());
        pages.push(names.len());
        seen.extend(names.iter().map(|name| (*name).to_owned()));
        let Some(last) = names.last() else { break };
        after = (*last).to_owned();
    }
    assert_eq!((pages, seen.len()), (vec![500, 500, 234, 0], 1_234));
}

#[tokio::test]
async fn lists_of_readers_have_a_limit_and_page_through_all() {
    let publisher = Publisher::new();
    let mut readers: Vec<_> = (0..1_100).map(|n| live(&publisher, &["chat"], &format!("client-{n}"))).collect();
    let mut seen = std::collections::BTreeSet::new();
    let (mut from, mut pages) = (json!(0), Vec::new());
    while !from.is_null() {
        let page = get(&publisher, &format!("/readers?channel=chat&limit=100000&from={from}")).await;
        assert_eq!(page["all"], 1_100 - 100 * pages.len());
        pages.push(page["readers"].as_array().unwrap().len());
        seen.extend(column(&page["readers"], "client").into_iter().map(str::to_owned));
        from = page["next"].clone();
        // Readers that leave hide none that stay.
        readers.drain(..100);
    }
    assert_eq!(pages[..2], [500, 500]);
    assert!((300..1_100).all(|n| seen.contains(&format!("client-{n}"))));
    assert_eq!(get(&publisher, "/readers?channel=chat").await["readers"].as_array().unwrap().len(), 100);
    assert_eq!(get(&publisher, "/readers?channel=chat&from=4294967295").await["readers"], json!([]));
}

#[tokio::test]
async fn events_have_a_limit_and_of_large_ones_the_beginning_is_shown() {
    let publisher = Publisher::new();
    for n in 0..150 {
        send(&publisher, "chat", n);
    }
    assert_eq!(get(&publisher, "/events?channel=chat").await["events"].as_array().unwrap().len(), 20);
    for after in ["", "&after=start"] {
        let events = get(&publisher, &format!("/events?channel=chat&limit=100000{after}")).await;
        assert_eq!(events["events"].as_array().unwrap().len(), 100);
    }
    assert_eq!(get(&publisher, "/events?channel=chat&limit=0").await["events"].as_array().unwrap().len(), 1);
    // No character is cut in two.
    send(&publisher, "chat", format!("x{}", "é".repeat(10_000)));
    let event = get(&publisher, "/events?channel=chat&limit=1").await["events"][0].clone();
    assert_eq!(event["data"].as_str().unwrap(), format!("x{}", "é".repeat(2_047)));
    assert_eq!(event["bytes"], 20_001);
}

// Ending a client

#[tokio::test]
async fn ending_a_client_ends_its_streams_and_no_others() {
    let publisher = Publisher::new();
    let mut anas = ["chat", "chat", "news"].map(|channel| live(&publisher, &[channel], "ana é"));
    let mut others = ["bob", ""].map(|client| live(&publisher, &["chat"], client));
    let on_one = request("POST", "/disconnect?client=ana+%C3%A9&channel=chat");
    assert_eq!(answer(ask(&publisher, anything(), on_one).await).await, (200, json!({ "ended": 2 })));
    assert_eq!(anas.each_mut().map(is_open), [false, false, true]);
    let everywhere = request("POST", "/disconnect?client=ana+%C3%A9");
    assert_eq!(answer(ask(&publisher, anything(), everywhere).await).await, (200, json!({ "ended": 1 })));
    assert!(anas.iter_mut().all(|reader| !is_open(reader)));
    assert_eq!(anas[2].end_reason(), Some(EndReason::Disconnected));
    assert!(others.iter_mut().all(is_open));
}

#[tokio::test]
async fn a_post_that_another_site_could_send_is_refused() {
    let publisher = Publisher::new();
    let mut ana = live(&publisher, &["chat"], "ana");
    let plain = || Request::post("/disconnect?client=ana");
    let own = || plain().header("tower-sse-inspect", "1");
    for foreign in [
        plain(),
        plain().header("content-type", "application/x-www-form-urlencoded").header("cookie", "session=1"),
        plain().header("sec-fetch-site", "same-origin"),
        own().header("sec-fetch-site", "cross-site"),
        own().header("sec-fetch-site", "same-site"),
        own().header("sec-fetch-site", "none"),
    ] {
        assert_eq!(refused(&publisher, anything(), foreign).await, is(403, "cross-site"));
    }
    assert!(is_open(&mut ana));
    // A browser asks first, and gets no permission.
    let preflight = Request::options("/disconnect?client=ana")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "tower-sse-inspect");
    let answer = ask(&publisher, anything(), preflight).await;
    assert_eq!(answer.status(), 405);
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
    let here = own().header("sec-fetch-site", "same-origin");
    assert_eq!(ask(&publisher, anything(), here).await.status(), 200);
    assert!(!is_open(&mut ana));
}

#[tokio::test(start_paused = true)]
async fn a_node_says_what_it_shows_and_that_its_backend_is_away() {
    let publisher = Publisher::builder().backend(broken::Broken).build();
    let overview = get(&publisher, "/overview").await;
    assert_eq!((&overview["scope"], &overview["ready"]), (&json!("node"), &json!(false)));
    for list in ["/channels", "/readers?channel=chat", "/events?channel=chat"] {
        assert_eq!(get(&publisher, list).await["scope"], "node", "{list}");
    }
    let stored = || request("GET", "/events?channel=chat&after=start");
    for request in [stored(), request("POST", "/disconnect?client=ana")] {
        let response = ask(&publisher, anything(), request).await;
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(answer(response).await.1["reason"], "unavailable");
    }
}

// The HTTP around it

#[tokio::test]
async fn a_head_has_the_headers_of_a_get_and_no_body() {
    let publisher = Publisher::new();
    for (method, uri) in REQUESTS.iter().filter(|(method, _)| *method == "GET") {
        let got = ask(&publisher, anything(), request(method, uri)).await;
        let head = ask(&publisher, anything(), request("HEAD", uri)).await;
        assert_eq!((head.status(), head.headers().len()), (got.status(), got.headers().len()), "{uri}");
        assert_eq!(head.headers()["content-type"], got.headers()["content-type"]);
        assert_eq!(text(head).await, "");
    }
    let denied = inspect_authorizer_fn(|_| async { Err::<InspectGrant, _>(Denied::forbidden()) });
    let head = ask(&publisher, denied, request("HEAD", "/channels")).await;
    assert_eq!((head.status().as_u16(), text(head).await.as_str()), (403, ""));
}

#[tokio::test]
async fn another_method_or_path_is_refused() {
    let publisher = Publisher::new();
    for (method, uri) in REQUESTS {
        for other in ["PUT", "DELETE", "PATCH", "OPTIONS", if method == "GET" { "POST" } else { "GET" }] {
            let response = ask(&publisher, anything(), request(other, uri)).await;
            let allow = if method == "GET" { "GET,HEAD" } else { "POST" };
            assert_eq!(response.headers()["allow"], allow, "{other} {uri}");
            assert_eq!(answer(response).await.0, 405);
        }
    }
    for path in ["/channel", "/channels/", "/channels/chat", "//channels", "/inspect", "/%63hannels", "/page.html"] {
        assert_eq!(refused(&publisher, anything(), request("GET", path)).await, is(404, ""), "{path}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_none_is_refused() {
    let publisher = Publisher::new();
    for (uri, reason) in [
        ("/channels?limit=many", "malformed"),
        ("/channels?limit=1&limit=2", "malformed"),
        ("/channels?sort=size", "malformed"),
        ("/channels?sort=readers&after=a", "malformed"),
        ("/channels?search=%ff", "invalid-name"),
        ("/readers", "missing"),
        ("/readers?channel=", "invalid-name"),
        ("/readers?channel=a%00", "invalid-name"),
        ("/readers?channel=a&from=-1", "malformed"),
        ("/readers?channel=a&from=4294967296", "malformed"),
        ("/events", "missing"),
        ("/events?channel=a&after=%20", "malformed"),
        ("/events?channel=a&client=", "invalid-name"),
    ] {
        assert_eq!(refused(&publisher, anything(), request("GET", uri)).await, is(400, reason), "{uri}");
    }
    for (uri, reason) in [("/disconnect", "missing"), ("/disconnect?client=%0a", "invalid-name")] {
        assert_eq!(refused(&publisher, anything(), request("POST", uri)).await, is(400, reason), "{uri}");
    }
}

#[tokio::test]
async fn the_page_runs_its_own_script_only_and_no_answer_can_be_framed_or_sniffed() {
    let publisher = Publisher::new();
    for (method, uri) in REQUESTS.into_iter().chain([("GET", "/absent"), ("PUT", "/")]) {
        let response = ask(&publisher, anything(), request(method, uri)).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff", "DENY"));
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
    let nonce = async || {
        let response = ask(&publisher, anything(), request("GET", "/")).await;
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        let page = text(response).await;
        assert_eq!(page.matches(&format!("<script nonce=\"{nonce}\">")).count(), 1);
        assert_eq!(page.matches(&nonce).count(), 2, "the script and the style");
        // No script in an attribute, and nothing from elsewhere.
        for foreign in ["http:", "https:", " src=", " href=", " onclick", " onerror", "innerHTML", " style=", "NONCE"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.len() < 16 << 10, "{} bytes", page.len());
        nonce
    };
    assert_ne!(nonce().await, nonce().await);
}

#[tokio::test]
async fn a_router_nests_the_service_and_the_service_can_know_its_path() {
    let publisher = Publisher::new();
    let service = Inspect::new(publisher.clone(), anything());
    let nested: axum::Router = axum::Router::new().nest_service("/inspect", service.clone());
    let whole = service.under("/inspect/");
    let routed: axum::Router =
        axum::Router::new().route_service("/inspect", whole.clone()).route_service("/inspect/{*rest}", whole);
    for app in [nested, routed] {
        for (path, status) in
            [("/inspect", 200), ("/inspect/overview", 200), ("/inspect/absent", 404), ("/overview", 404)]
        {
            let request = request("GET", path).body(axum::body::Body::empty()).unwrap();
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
