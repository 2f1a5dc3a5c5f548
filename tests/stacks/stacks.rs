//! One suite over every stack and protocol: axum, raw hyper, warp, and the crate's own server, over HTTP/1.1 and HTTP/2 on real sockets.

mod client;
mod server;

use std::time::Duration;

use client::{Client, Protocol};
use http::{Method, StatusCode};
use server::{Server, Stack};
use tower_sse::{Event, EventName, Publisher};

/// Makes a test for each stack and protocol.
macro_rules! on_every_stack {
    ($($(#[$attr:meta])* async fn $name:ident($server:ident: Server, $client:ident: Client) $body:block)*) => {
        $(mod $name {
            use super::*;

            async fn test(stack: Stack, protocol: Protocol) {
                let $server = Server::start(stack, publisher()).await;
                let own = $server.server.clone();
                let $client = Client::new($server.addr, protocol);
                $body
                let stats = own.stats();
                assert_eq!(stats.by_hyper, 0, "all streams were detached");
                assert!(stack == Stack::Own || stack == Stack::OwnAxum || stats.accepted == 0);
            }

            on_every_stack!(@one axum_http1 Axum Http1);
            on_every_stack!(@one axum_http2 Axum Http2);
            on_every_stack!(@one hyper_http1 Hyper Http1);
            on_every_stack!(@one hyper_http2 Hyper Http2);
            on_every_stack!(@one warp_http1 Warp Http1);
            on_every_stack!(@one warp_http2 Warp Http2);
            on_every_stack!(@one own_axum_http1 OwnAxum Http1);
            on_every_stack!(@one own_axum_http2 OwnAxum Http2);
            on_every_stack!(@one own_http1 Own Http1);
            on_every_stack!(@one own_http2 Own Http2);
        })*
    };
    (@one $name:ident $stack:ident $protocol:ident) => {
        #[tokio::test]
        async fn $name() {
            test(Stack::$stack, Protocol::$protocol).await;
        }
    };
}

fn publisher() -> Publisher {
    Publisher::builder().reconnect(Duration::from_millis(100), Duration::from_millis(200)).build()
}

async fn say(server: &Server, channel: &str, text: &str) -> String {
    server.publisher.channel(channel).send(Event::text(text)).await.unwrap().id.to_string()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came true");
}

on_every_stack! {
    async fn a_stream_begins_at_once_and_has_the_headers_of_a_stream(server: Server, client: Client) {
        let mut reply = client.get("/sse/chat").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        assert_eq!(reply.header("content-length"), None);
        assert_eq!(reply.header("connection"), None);
        assert_eq!(reply.line().await.unwrap(), "retry: 3000");
        assert_eq!(reply.line().await.unwrap(), ":");
        assert_eq!(server.publisher.connections(), 1);
    }

    async fn broadcast_and_targeted_events_arrive_in_publish_order(server: Server, client: Client) {
        let mut ana = client.get("/sse/chat/ana").await;
        let mut bob = client.get("/sse/chat/bob").await;
        let chat = server.publisher.channel("chat");
        assert_eq!(chat.send(Event::text("1").name(EventName::from_static("hello"))).await.unwrap().reached, 2);
        assert_eq!(chat.send_to("ana", Event::text("2")).await.unwrap().reached, 1);
        let sent = chat.send(Event::text("3\r\n")).await.unwrap();
        let first = ana.event().await.unwrap();
        assert_eq!((first.name.as_str(), first.data.as_str()), ("hello", "1"));
        assert_eq!(ana.data(1).await, ["2"]);
        let third = ana.event().await.unwrap();
        assert_eq!((third.data, third.id), ("3\n".to_owned(), sent.id.to_string()));
        assert_eq!(bob.data(2).await, ["1", "3\n"]);
    }

    async fn a_reader_that_comes_back_gets_every_event_once(server: Server, client: Client) {
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(say(&server, "chat", &n.to_string()).await);
        }
        for (n, id) in ids.iter().enumerate() {
            let expected: Vec<_> = (n + 1..100).map(|n| n.to_string()).collect();
            let mut reply = if n % 2 == 0 {
                client.get_after("/sse/chat", id).await
            } else {
                client.get(&format!("/sse/chat?last_event_id={id}")).await
            };
            assert_eq!(reply.data(expected.len()).await, expected);
        }
        let mut reply = client.get_after("/sse/chat", &ids[99]).await;
        say(&server, "chat", "live").await;
        assert_eq!(reply.data(1).await, ["live"]);
    }

    async fn the_header_wins_over_the_query(server: Server, client: Client) {
        let (one, two) = (say(&server, "chat", "1").await, say(&server, "chat", "2").await);
        say(&server, "chat", "3").await;
        let mut reply = client.get_after(&format!("/sse/chat?last_event_id={one}"), &two).await;
        assert_eq!(reply.data(1).await, ["3"]);
    }

    async fn an_id_that_means_nothing_here_gives_a_gap_and_what_is_held(server: Server, client: Client) {
        say(&server, "chat", "held").await;
        for id in ["garbage", "0123456789ab-1", "%00%ff", "a b c"] {
            let mut reply = if id.starts_with('%') {
                client.get(&format!("/sse/chat?last_event_id={id}")).await
            } else {
                client.get_after("/sse/chat", id).await
            };
            assert_eq!(reply.status, StatusCode::OK);
            let gap = reply.event().await.unwrap();
            assert_eq!(gap.name, "gap");
            assert!(gap.data.contains(r#""first":1"#), "{}", gap.data);
            assert_eq!(reply.data(1).await, ["held"]);
        }
    }

    async fn a_fresh_reader_starts_where_its_route_says(server: Server, client: Client) {
        for n in 1..=3 {
            say(&server, "chat", &n.to_string()).await;
        }
        let mut live = client.get("/sse/chat").await;
        let mut last = client.get("/last/chat").await;
        let mut all = client.get("/all/chat").await;
        say(&server, "chat", "4").await;
        assert_eq!(live.data(1).await, ["4"]);
        assert_eq!(last.data(3).await, ["2", "3", "4"]);
        assert_eq!(all.data(4).await, ["1", "2", "3", "4"]);
    }

    async fn one_connection_reads_several_channels(server: Server, client: Client) {
        let mut reply = client.get("/events?channel=a&channel=b%20c&channel=a").await;
        say(&server, "b c", "1").await;
        say(&server, "elsewhere", "-").await;
        let id = say(&server, "a", "2").await;
        say(&server, "b c", "3").await;
        assert_eq!(reply.data(3).await, ["1", "2", "3"]);
        drop(reply);
        let mut reply = client.get_after("/events?channel=b%20c&channel=a&channel=new", &id).await;
        say(&server, "new", "4").await;
        assert_eq!(reply.data(2).await, ["3", "4"]);
    }

    async fn the_announced_cursor_resumes_before_any_event_came(server: Server, client: Client) {
        say(&server, "chat", "before").await;
        let mut reply = client.get("/id/chat").await;
        let announced = reply.event().await.unwrap();
        assert_eq!((announced.name.as_str(), announced.data.as_str()), ("cursor", ""));
        drop(reply);
        say(&server, "chat", "missed").await;
        let mut reply = client.get_after("/id/chat", &announced.id).await;
        assert_eq!(reply.data(1).await, ["missed"]);
    }

    async fn an_idle_stream_is_kept_alive_with_a_comment_and_no_blank_line(server: Server, client: Client) {
        let mut reply = client.get("/idle/chat").await;
        assert_eq!(reply.line().await.unwrap(), "retry: 3000");
        assert_eq!(reply.line().await.unwrap(), ":");
        for _ in 0..3 {
            assert_eq!(reply.line().await.unwrap(), ": idle");
        }
        say(&server, "chat", "hello").await;
        assert_eq!(reply.data(1).await, ["hello"]);
        assert_eq!(reply.line().await.unwrap(), ": idle");
    }

    async fn head_has_the_headers_and_no_subscription(server: Server, client: Client) {
        let reply = client.send(Method::HEAD, "/sse/chat", &[], "").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.header("content-length"), None);
        assert_eq!(reply.rest().await, "");
        let stats = server.publisher.stats();
        assert_eq!((stats.opened, stats.subscriptions, stats.channels), (0, 0, 0));
        let reply = client.send(Method::HEAD, "/sse/secret", &[], "").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }

    async fn a_request_with_a_body_is_no_request_for_a_stream(server: Server, client: Client) {
        let reply = client.send(Method::GET, "/sse/chat", &[], "hello").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let reply = client.send(Method::GET, "/sse/chat", &[("content-length", "0")], "").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(server.publisher.stats().opened, 1);
    }

    async fn what_is_not_for_the_layer_reaches_the_inner_service_untouched(server: Server, client: Client) {
        let reply = client.send(Method::POST, "/echo", &[], "hello").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("cache-control"), None);
        assert_eq!(reply.rest().await, "POST hello\n");
        let reply = client.send(Method::POST, "/sse/chat", &[], "hello").await;
        assert!(reply.status.is_client_error());
        assert_ne!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(client.get("/elsewhere").await.status, StatusCode::NOT_FOUND);
        assert_eq!(server.publisher.stats().opened, 0);
    }

    async fn what_cannot_be_a_stream_is_a_problem_that_says_why(server: Server, client: Client) {
        let html = [("accept", "text/html")];
        for (path, headers, status) in [
            ("/sse/%zz", &[][..], 400),
            ("/sse/%ff", &[], 400),
            ("/sse/a%0ab", &[], 400),
            ("/sse/chat/%00", &[], 400),
            ("/events", &[], 400),
            ("/events?channel=", &[], 400),
            ("/sse/chat", &html, 406),
            ("/sse/secret", &[], 401),
            ("/events?channel=chat&channel=secret", &[], 401),
        ] {
            let reply = client.send(Method::GET, path, headers, "").await;
            assert_eq!(reply.status.as_u16(), status, "{path}");
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
            assert_eq!(reply.header("www-authenticate").is_some(), status == 401, "{path}");
            let problem: serde_json::Value = serde_json::from_str(&reply.rest().await).unwrap();
            assert_eq!(problem["status"], status, "{path}");
        }
        assert_eq!(server.publisher.stats().opened, 0);
    }

    async fn over_a_limit_a_reader_is_told_to_come_back(server: Server, client: Client) {
        let _first = client.get("/full/chat").await;
        let reply = client.get("/full/chat").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        let rest = reply.rest().await;
        let millis: u64 = rest.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
        assert!((100..=200).contains(&millis), "{millis}");
        assert_eq!(server.publisher.stats().limited, 1);
    }

    async fn a_replaced_connection_says_goodbye_and_is_not_let_back(server: Server, client: Client) {
        let mut older = client.get("/one/chat/ana").await;
        let mut newer = client.get("/one/chat/ana").await;
        let goodbye = older.event().await.unwrap();
        assert_eq!(goodbye.name, "goodbye");
        assert!(goodbye.data.ends_with(r#""reason":"replaced"}"#), "{}", goodbye.data);
        assert_eq!(older.event().await, None);
        let back = client.get_after("/one/chat/ana", &goodbye.id).await;
        assert_eq!(back.status, StatusCode::NO_CONTENT);
        say(&server, "chat", "for the newer").await;
        assert_eq!(newer.data(1).await, ["for the newer"]);
    }

    async fn a_finished_channel_gives_the_rest_and_the_end_and_then_204(server: Server, client: Client) {
        let mut reader = client.get("/sse/run").await;
        say(&server, "run", "1").await;
        let last = server.publisher.channel("run").finish(Event::text("2")).await.unwrap();
        assert_eq!(reader.data(2).await, ["1", "2"]);
        assert_eq!(reader.event().await, None);
        let mut latecomer = client.get("/sse/run").await;
        assert_eq!(latecomer.data(2).await, ["1", "2"]);
        assert_eq!(latecomer.event().await, None);
        let back = client.get_after("/sse/run", &last.id.to_string()).await;
        assert_eq!(back.status, StatusCode::NO_CONTENT);
        assert_eq!(back.rest().await, "");
    }

    async fn a_strict_stream_ends_if_it_is_complete_and_breaks_off_otherwise(server: Server, client: Client) {
        let run = server.publisher.channel("run");
        let mut whole = client.get("/strict/run").await;
        say(&server, "run", "1").await;
        run.finish(Event::text("2")).await.unwrap();
        assert_eq!(whole.data(2).await, ["1", "2"]);
        assert_eq!(whole.event().await, None);

        let mut cut = client.get("/strict/chat").await;
        say(&server, "chat", "1").await;
        assert_eq!(cut.data(1).await, ["1"]);
        server.publisher.channel("chat").close().await.unwrap();
        assert_eq!(cut.broken_off().await, "");
        assert_eq!(server.publisher.connections(), 0);

        // The connection of a client of HTTP/2 is as good as before, and one of HTTP/1.1 opens another.
        let mut last = client.get("/strict/other").await;
        say(&server, "other", "1").await;
        assert_eq!(last.data(1).await, ["1"]);
        say(&server, "other", "2").await;
        assert!(server.publisher.shutdown(Duration::from_secs(20)).await);
        assert!(last.broken_off().await.starts_with("data: 2\n"), "what came before was sent");
    }

    async fn a_strict_refusal_is_a_status(server: Server, client: Client) {
        let first = client.get("/strict/chat").await;
        let full = client.get("/strict/chat").await;
        assert_eq!((full.status, full.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
        assert!(full.rest().await.contains("limit"));
        drop(first);
        let gap = client.get_after("/strict/other", "unknown").await;
        assert_eq!((gap.status, gap.header("retry-after")), (StatusCode::GONE, None));
        let problem: serde_json::Value = serde_json::from_str(&gap.rest().await).unwrap();
        assert_eq!(problem["reason"], "unknown-id");
        assert_eq!(server.publisher.stats().limited, 1);
    }

    async fn an_answer_that_is_closed_is_polled_on_without_a_loss(server: Server, client: Client) {
        let mut first = client.get("/poll/chat").await;
        let cursor = first.event().await.unwrap();
        assert_eq!(first.event().await, None);
        let mut id = cursor.id;
        for n in 0..3 {
            id = {
                say(&server, "chat", &n.to_string()).await;
                let mut next = client.get_after("/poll/chat", &id).await;
                let event = next.event().await.unwrap();
                assert_eq!(event.data, n.to_string());
                assert_eq!(next.event().await, None);
                event.id
            };
        }
    }

    async fn the_names_of_events_say_their_channels(server: Server, client: Client) {
        let mut reply = client.get("/shown?channel=a&channel=b").await;
        say(&server, "a", "1").await;
        server.publisher.channel("b").send(Event::text("2").name(EventName::from_static("update"))).await.unwrap();
        let names = [reply.event().await.unwrap().name, reply.event().await.unwrap().name];
        assert_eq!(names, ["a:message", "b:update"]);
    }

    async fn a_dropped_connection_frees_its_subscription(server: Server, client: Client) {
        let reply = client.get("/sse/chat/ana").await;
        assert_eq!(server.publisher.channel("chat").clients().len(), 1);
        drop(reply);
        until(|| server.publisher.connections() == 0).await;
        assert!(server.publisher.channels().is_empty());
    }

    async fn shutdown_ends_streams_and_lets_the_server_finish(server: Server, client: Client) {
        let mut readers = Vec::new();
        for n in 0..10 {
            readers.push(client.get(&format!("/sse/{}", n % 3)).await);
        }
        say(&server, "0", "last words").await;
        let publisher = server.publisher.clone();
        let ended = tokio::spawn(async move { publisher.shutdown(Duration::from_secs(20)).await });
        for (n, reader) in readers.into_iter().enumerate() {
            let rest = reader.rest().await;
            assert_eq!(rest.contains("last words"), n % 3 == 0);
            let retry = rest.trim_end().rsplit('\n').next().unwrap().strip_prefix("retry: ").unwrap();
            assert!((100..=200).contains(&retry.parse::<u64>().unwrap()), "{rest}");
        }
        assert!(ended.await.unwrap());
        let refused = client.get("/sse/0").await;
        assert!(refused.rest().await.starts_with("retry: "));
        assert!(server.publisher.channel("0").send(Event::text("late")).await.unwrap_err().is_shutting_down());
        server.stop().await;
    }
}
