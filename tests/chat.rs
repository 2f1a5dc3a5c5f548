//! The example `chat` as a program: what it answers over HTTP/1.1 and HTTP/2, and how it ends.

#[path = "common/example.rs"]
mod example;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use example::{Example, request};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// A stream, read up to the text that a test waits for.
struct Stream {
    body: Incoming,
    seen: String,
}

impl Stream {
    async fn open(chat: &Example, path: &str) -> Self {
        Self::of(request(Request::get(chat.url(path)), String::new()).await)
    }

    fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), seen: String::new() }
    }

    /// Reads until `wanted` has arrived, and returns everything up to its end.
    async fn read_to(&mut self, wanted: &str) -> String {
        // The bytes before that have been searched.
        let mut from = 0;
        loop {
            if let Some(at) = self.seen[from..].find(wanted) {
                return self.seen.drain(..from + at + wanted.len()).collect();
            }
            let most = self.seen.len().saturating_sub(wanted.len());
            from = (0..=most).rev().find(|at| self.seen.is_char_boundary(*at)).unwrap_or(0);
            let frame =
                timeout(SOON, self.body.frame()).await.unwrap_or_else(|_| panic!("{wanted:?}: {:?}", self.seen));
            let frame = frame.unwrap_or_else(|| panic!("{wanted:?}: {:?}, and the end", self.seen)).unwrap();
            self.seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

async fn status(chat: &Example, path: &str, authorization: Option<&str>) -> u16 {
    let mut builder = Request::get(chat.url(path));
    if let Some(value) = authorization {
        builder = builder.header("authorization", value);
    }
    request(builder, String::new()).await.status().as_u16()
}

#[tokio::test]
async fn the_chat_serves_its_page() {
    let response = request(Request::get(Example::chat().url("/")), String::new()).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = response.into_body().collect().await.unwrap().to_bytes();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(!page.contains("innerHTML"), "data never becomes markup");
    assert!(!page.contains("//cdn") && !page.contains("src=\"http"), "nothing comes from elsewhere");
}

#[tokio::test]
async fn an_event_arrives_with_its_name_at_its_target() {
    let chat = Example::chat();
    let mut ana = Stream::open(&chat, "/sse/lobby/ana").await;
    let mut bo = Stream::open(&chat, "/sse/lobby/bo").await;
    let first = chat.publish("/send/lobby", json!({ "n": 1 })).await;
    let second = chat.publish("/send/lobby?event=alarm&to=bo", json!("psst")).await;
    let third = chat.publish("/send/lobby?event=alarm", json!([3])).await;
    let seen = ana.read_to(&format!("id: {third}\n\n")).await;
    assert!(seen.starts_with("retry: 1000\n:\n"), "{seen}");
    assert!(seen.contains(&format!("event: message\ndata: {{\"n\":1}}\nid: {first}\n\n")), "{seen}");
    assert!(!seen.contains("psst"), "{seen}");
    let seen = bo.read_to(&format!("id: {third}\n\n")).await;
    assert!(seen.contains(&format!("event: alarm\ndata: \"psst\"\nid: {second}\n\n")), "{seen}");
}

#[tokio::test]
async fn what_a_page_sends_does_not_come_back_to_it_and_typing_is_no_history() {
    let chat = Example::chat();
    let mut own = Stream::open(&chat, "/sse/lobby/ana?connection=tab1").await;
    let mut other = Stream::open(&chat, "/sse/lobby/ana?connection=tab2").await;
    let first = chat.publish("/send/lobby", json!(1)).await;
    chat.publish("/send/lobby?event=typing&ephemeral=true&connection=tab1", json!({ "from": "ana" })).await;
    let sent = chat.publish("/send/lobby?connection=tab1", json!("mine")).await;
    let last = chat.publish("/send/lobby", json!(2)).await;
    let seen = other.read_to(&format!("id: {last}\n\n")).await;
    let typing = "event: typing\ndata: {\"from\":\"ana\"}\n\n";
    assert!(seen.contains(&format!("{typing}event: message\ndata: \"mine\"\nid: {sent}\n\n")), "{seen}");
    let seen = own.read_to(&format!("id: {last}\n\n")).await;
    assert!(!seen.contains("typing") && !seen.contains("mine"), "{seen}");
    // Neither when it comes back.
    let again = |tab| format!("/sse/lobby/ana?connection={tab}&last_event_id={first}");
    let seen = Stream::open(&chat, &again("tab1")).await.read_to(&format!("id: {last}\n\n")).await;
    assert!(!seen.contains("mine") && !seen.contains("gap"), "{seen}");
    let seen = Stream::open(&chat, &again("tab2")).await.read_to(&format!("id: {last}\n\n")).await;
    assert!(seen.contains("mine") && !seen.contains("typing"), "{seen}");
}

#[tokio::test]
async fn errors_are_json() {
    let chat = Example::chat();
    let wrong = [
        ("/send/lobby", "{\"a\":", 400),
        ("/send/lobby", "", 400),
        ("/send/lobby?event=gap", "1", 400),
        ("/send/lobby?event=a%0Ab", "1", 400),
        ("/send/lobby?to=", "1", 400),
        ("/send/lobby?connection=", "1", 400),
        ("/send/a%00b", "1", 400),
        ("/agent/send/c1", "{}", 400),
        ("/agent/send/c1", "[", 400),
    ];
    for (path, body, status) in wrong {
        let (got, answer) = chat.post(path, body).await;
        assert_eq!((got, &answer["status"]), (status, &json!("error")), "{path} {body} {answer}");
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{path} {body} {answer}");
    }
    let (status, answer) = chat.post("/send/lobby", format!("\"{}\"", "x".repeat(1 << 20))).await;
    assert_eq!((status, &answer["status"]), (413, &json!("error")), "{answer}");
}

#[tokio::test]
async fn a_400_says_that_json_was_expected_and_where_it_broke_off() {
    let chat = Example::chat();
    for (path, body, error) in [
        ("/send/lobby", "hello", "the body is not JSON: expected value at line 1 column 1"),
        ("/send/lobby", "", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ("/send/lobby", "{\"a\":\n 1", "the body is not JSON: EOF while parsing an object at line 2 column 2"),
        ("/agent/send/c1", "a prompt", "expected JSON such as {\"prompt\":\"..\"}: expected value at line 1 column 1"),
        (
            "/agent/send/c1",
            "{}",
            "expected JSON such as {\"prompt\":\"..\"}: missing field `prompt` at line 1 column 2",
        ),
    ] {
        let (status, answer) = chat.post(path, body).await;
        assert_eq!((status, &answer["error"]), (400, &json!(error)), "{path} {body}");
    }
}

#[tokio::test]
async fn an_agent_runs_on_its_channel_and_is_answered_at_once() {
    let chat = Example::chat();
    let mut stream = Stream::open(&chat, "/sse/agent/ana").await;
    let (status, answer) = chat.post("/agent/send/c%2F7", json!({ "prompt": "a b\nc" }).to_string()).await;
    assert_eq!((status, &answer["cid"]), (200, &json!("c/7")), "{answer}");
    let seen = stream.read_to("event: agent.done\n").await + &stream.read_to("\n\n").await;
    let events: Vec<(&str, Value)> = seen
        .split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            Some((field("event: ")?, serde_json::from_str(field("data: ")?).unwrap()))
        })
        .collect();
    assert!(events.iter().all(|(_, data)| data["cid"] == "c/7"), "{events:?}");
    assert_eq!((events[0].0, &events[0].1["status"]), ("agent.start", &json!("started")));
    assert_eq!(events.last().unwrap().1["status"], "done");
    let tokens = &events[1..events.len() - 1];
    assert!(tokens.len() > 4 && tokens.iter().all(|(name, _)| *name == "agent.token"), "{events:?}");
    let text: String = tokens.iter().map(|(_, data)| data["token"].as_str().unwrap()).collect();
    assert!(text.contains("a b\nc"), "{text}");
}

#[tokio::test]
async fn the_chat_speaks_http_2_with_prior_knowledge() {
    let chat = Example::chat();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let get = Request::get(chat.url("/sse/lobby/ana")).body(Full::default()).unwrap();
    let mut stream = Stream::of(client.request(get).await.unwrap());
    let post = Request::post(chat.url("/send/lobby")).body(Full::from("2")).unwrap();
    assert_eq!(client.request(post).await.unwrap().status(), 200);
    stream.read_to("data: 2\n").await;
}

#[tokio::test]
async fn any_origin_may_read_and_send() {
    let chat = Example::chat();
    let stream =
        request(Request::get(chat.url("/sse/lobby/ana")).header("origin", "http://elsewhere"), String::new()).await;
    assert_eq!(stream.headers()["access-control-allow-origin"], "*");
    let preflight = Request::options(chat.url("/send/lobby"))
        .header("origin", "http://elsewhere")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let preflight = request(preflight, String::new()).await;
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn with_a_token_every_stream_needs_it() {
    let chat = Example::start("chat", &[("AUTH_TOKEN", "s3cret")]);
    assert_eq!(status(&chat, "/sse/lobby/ana", None).await, 401);
    assert_eq!(status(&chat, "/sse/lobby/ana", Some("Bearer guess")).await, 401);
    assert_eq!(status(&chat, "/sse/lobby/ana?access_token=guess", None).await, 401);
    assert_eq!(status(&chat, "/sse/lobby/ana", Some("Bearer s3cret")).await, 200);
    let mut stream = Stream::open(&chat, "/sse/lobby/ana?access_token=s3cret").await;
    let post = Request::post(chat.url("/send/lobby?to=ana")).header("authorization", "Bearer s3cret");
    assert_eq!(request(post, "\"for ana\"".into()).await.status(), 200);
    stream.read_to("data: \"for ana\"\n").await;
    assert_eq!(status(&chat, "/", None).await, 200, "the page asks for the token itself");
}

#[tokio::test]
async fn with_a_token_publishing_needs_it_too() {
    let chat = Example::start("chat", &[("AUTH_TOKEN", "s3cret")]);
    for (path, body) in [("/send/lobby", "1"), ("/agent/send/c1", r#"{"prompt":"a"}"#)] {
        // A token in a URL ends up in logs: only `EventSource`, which can't set headers, has that excuse.
        let refused = [(path.to_owned(), None), (format!("{path}?access_token=s3cret"), None)]
            .into_iter()
            .chain(["Bearer guess", "Bearer", "s3cret", "Basic s3cret"].map(|value| (path.to_owned(), Some(value))));
        for (path, value) in refused {
            let mut post = Request::post(chat.url(&path));
            if let Some(value) = value {
                post = post.header("authorization", value);
            }
            let response = request(post, body.into()).await;
            assert_eq!(response.status(), 401, "{path} {value:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let answer = response.into_body().collect().await.unwrap().to_bytes();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["status"], "error", "{path} {value:?} {answer}");
        }
        for value in ["Bearer s3cret", "bearer s3cret"] {
            let post = Request::post(chat.url(path)).header("authorization", value);
            assert_eq!(request(post, body.into()).await.status(), 200, "{path} {value}");
        }
    }
}

#[tokio::test]
async fn without_the_token_a_publish_is_refused_before_its_body_comes() {
    let chat = Example::start("chat", &[("AUTH_TOKEN", "s3cret")]);
    for path in ["/send/lobby", "/agent/send/c1"] {
        let mut tcp = TcpStream::connect(("127.0.0.1", chat.port)).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: chat\r\ncontent-length: 1000000\r\n\r\n");
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(SOON, tcp.read_exact(&mut answer)).await.expect("an answer without the body").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{path}");
    }
}

/// A page of another origin may send the token: `*` would not allow the header `authorization`.
#[tokio::test]
async fn with_a_token_another_origin_may_still_publish() {
    let chat = Example::start("chat", &[("AUTH_TOKEN", "s3cret")]);
    let preflight = Request::options(chat.url("/send/lobby"))
        .header("origin", "http://elsewhere")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let preflight = request(preflight, String::new()).await;
    assert_eq!(preflight.status(), 200);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(allowed.split(',').any(|name| name.trim() == "authorization"), "{allowed}");
}

#[tokio::test]
async fn a_keep_alive_comes_when_idle() {
    let chat = Example::start("chat", &[("KEEPALIVE_SECS", "1")]);
    let mut stream = Stream::open(&chat, "/sse/lobby/ana").await;
    stream.read_to("retry: 1000\n:\n").await;
    stream.read_to(":\n").await;
}

/// Streams of both kinds are open, one client has stopped reading, and one is in the middle of a request.
#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_chat_within_five_seconds_whatever_clients_do() {
    for signal in ["TERM", "INT"] {
        let mut chat = Example::chat();
        let mut stream = Stream::open(&chat, "/sse/lobby/ana").await;
        let mut stalled = TcpStream::connect(("127.0.0.1", chat.port)).await.unwrap();
        stalled.write_all(b"GET /sse/lobby/bo HTTP/1.1\r\nhost: chat\r\n\r\n").await.unwrap();
        stalled.readable().await.unwrap();
        let mut slow = TcpStream::connect(("127.0.0.1", chat.port)).await.unwrap();
        slow.write_all(b"POST /send/lobby HTTP/1.1\r\nhost: chat\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
        // More than the sockets buffer, so that the client that does not read keeps the rest waiting.
        let large = json!("x".repeat(900_000));
        for _ in 0..12 {
            chat.publish("/send/lobby", large.clone()).await;
        }
        let last = chat.publish("/send/lobby", json!("last")).await;

        let began = Instant::now();
        let pid = chat.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        // A reader that reads gets everything, the time after which to reconnect, and the end.
        stream.read_to(&format!("id: {last}\n\n")).await;
        stream.read_to("retry: ").await;
        let end = timeout(SOON, stream.body.collect()).await.unwrap();
        assert!(end.is_ok(), "{signal}: a clean end of the stream");
        let status = tokio::task::spawn_blocking(move || chat.process.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(began.elapsed() < Duration::from_secs(5), "{signal}: {:?}", began.elapsed());
    }
}
