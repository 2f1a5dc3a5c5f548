//! What clients of MCP's Streamable HTTP get.

use std::time::Duration;

use http::{Request, Response, request::Parts};
use serde_json::{Value, json};
use tower_sse::{
    Event, EventName, Publisher, SseBody,
    runs::{Mcp, New, Outcome, ProducerError, Runs, Status, Writer},
};

use crate::helpers::*;

fn new_runs() -> Runs<Mcp> {
    Runs::new(Publisher::new(), Mcp::default())
}

fn request() -> Value {
    json!({ "jsonrpc": "2.0", "id": "a b", "method": "tools/call", "params": { "_meta": { "progressToken": 7 } } })
}

fn version(version: &str) -> Parts {
    Request::builder().header("mcp-protocol-version", version).body(()).unwrap().into_parts().0
}

/// A tool that reports its progress, and then ends in the given way.
async fn works(run: Writer, request: Value, ends: Outcome) -> Result<Value, ProducerError> {
    run.send_all(Mcp::progress(&request, 1, 2)).await?;
    tokio::time::sleep(SECOND).await;
    run.send_all(Mcp::progress(&request, 2, 2)).await?;
    match ends {
        Outcome::Done => Ok(json!({ "content": TOKENS })),
        Outcome::Failed(_) => Err("secret".into()),
        _ => std::future::pending().await,
    }
}

async fn calls(runs: &Runs<Mcp>, ends: Outcome) -> Response<SseBody> {
    let new = New::run().id("session.\"a b\"");
    runs.call(new, &version("2025-11-25"), request(), async move |run, request| works(run, request, ends).await).await
}

/// The data of the events, in order. The first event has none.
fn messages(got: &Got) -> Vec<Value> {
    let data = got.data().into_iter().filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_begins_with_an_id_and_ends_with_its_result() {
    let got = read(calls(&new_runs(), Outcome::Done).await).await;
    let first = got.text.split("\n\n").next().unwrap();
    assert!(first.contains("retry: 3000\n") && first.contains("\ndata: \nid: run.session_2e_22a_20b_22."), "{first:?}");
    let messages = messages(&got);
    let [one, two, result] = &messages[..] else { panic!("{}", got.text) };
    assert_eq!(
        *one,
        json!({
            "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": 7, "progress": 1, "total": 2 },
        })
    );
    assert_eq!(two["params"]["progress"], 2);
    assert_eq!(*result, json!({ "jsonrpc": "2.0", "id": "a b", "result": { "content": TOKENS } }));
    assert!(!got.text.contains("event: "), "a client takes no event that has a name: {}", got.text);
}

#[tokio::test(start_paused = true)]
async fn any_other_outcome_is_an_error_response() {
    for outcome in [Outcome::Failed(None), Outcome::Stopped, Outcome::Drained, Outcome::Lost] {
        let runs = new_runs().grace(Duration::ZERO);
        let response = calls(&runs, outcome.clone()).await;
        tokio::time::sleep(2 * SECOND).await;
        let run = "session.\"a b\"";
        match outcome {
            Outcome::Stopped => runs.stop(run).await.unwrap(),
            Outcome::Drained => assert_eq!(runs.drain(SECOND).await, 1),
            Outcome::Lost => {
                let lost = Event::text(r#"{"outcome":"lost"}"#).name(EventName::from_static("run.outcome"));
                runs.publisher().channel(format!("run/{run}")).fence(2).finish(lost).await.unwrap();
            }
            _ => {}
        }
        let got = read(response).await;
        let error = json!({ "code": -32603, "message": outcome.message(), "data": { "outcome": outcome.as_str() } });
        assert_eq!(messages(&got)[2], json!({ "jsonrpc": "2.0", "id": "a b", "error": error }));
        // A client does not take an error for the end, and reconnects once more.
        let ids = got.ids();
        assert_eq!(runs.resume(&after(ids.last().unwrap())).await.status(), 204, "{outcome:?}");
        // A client without the end gets it.
        let rest = read(runs.resume(&after(ids[ids.len() - 2])).await).await;
        assert_eq!(messages(&rest), messages(&got)[2..]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_with_nothing_but_an_id() {
    let runs = new_runs();
    let whole = read(calls(&runs, Outcome::Done).await).await;
    let ids = whole.ids();
    assert_eq!(Mcp::run_of(&after(ids[0])).unwrap(), "session.\"a b\"");
    for (n, id) in ids.iter().enumerate().take(3) {
        let got = read(runs.resume(&after(id)).await).await;
        assert_eq!(messages(&got), messages(&whole)[n..]);
    }
    assert_eq!(runs.resume(&get()).await.status(), 405, "there is no other stream");
    for id in ["garbage", "run.", "3fa94c01b2d7-1"] {
        assert_eq!(runs.resume(&after(id)).await.status(), 405, "{id}");
    }
    assert_eq!(runs.resume(&after("run.other.3fa94c01b2d7-1")).await.status(), 410);
}

#[tokio::test(start_paused = true)]
async fn a_client_polls_a_call_whose_answers_close_before_its_end() {
    let dialect = Mcp::default().close_after(Duration::from_millis(250)).retry(Duration::from_millis(300));
    let runs = Runs::new(Publisher::new(), dialect);
    let mut got = read(calls(&runs, Outcome::Done).await).await;
    assert!(got.text.contains("retry: 300\n"));
    let (mut all, mut polls) = (messages(&got), 0);
    while !all.iter().any(|message| message.get("result").is_some()) {
        assert!(!got.broken_off, "the client is to come back, and not to report an error");
        let last = got.ids().last().map(ToString::to_string);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let next = read(runs.resume(&after(&last.unwrap())).await).await;
        all.extend(messages(&next));
        polls += 1;
        // An answer without an event leaves the client where it was.
        if !next.ids().is_empty() {
            got = next;
        }
    }
    assert_eq!((all.len(), polls), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn from_revision_2026_07_28_on_closing_cancels_a_call_and_nothing_resumes() {
    let runs = new_runs();
    let tool = async |run, request| works(run, request, Outcome::Done).await;
    let parts = version("2026-07-28");
    let got = read(runs.call(New::run().id("1"), &parts, request(), tool).await).await;
    assert!(got.ids().is_empty() && !got.text.contains("retry"), "{}", got.text);
    assert!(!got.data().contains(&""), "{}", got.text);
    assert_eq!(messages(&got)[2]["result"]["content"], json!(TOKENS));

    let hangs = async |run, request| works(run, request, Outcome::Stopped).await;
    let response = runs.call(New::run().id("2"), &parts, request(), hangs).await;
    tokio::time::sleep(600 * SECOND).await;
    assert!(matches!(runs.status("2").await.unwrap(), Some(Status::Running { .. })), "it is read");
    drop(response);
    tokio::time::sleep(2 * SECOND).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(runs.status("2").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn before_that_revision_a_call_goes_on_when_its_client_closes() {
    let runs = new_runs();
    drop(calls(&runs, Outcome::Done).await);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(runs.status("session.\"a b\"").await.unwrap(), Some(Status::Ended(Outcome::Done)));
}

#[tokio::test(start_paused = true)]
async fn other_requests_are_answered_in_json() {
    let body = async |response: Response<SseBody>| {
        let status = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
    };
    let result = json!({ "tools": [] });
    let reply = json!({ "jsonrpc": "2.0", "id": "a b", "result": result });
    assert_eq!(body(Mcp::reply(&request(), &result)).await, (200, reply));
    let (status, error) = body(Mcp::refuse(&request(), -32601, "no")).await;
    assert_eq!((status, &error["id"], &error["error"]["code"]), (200, &json!("a b"), &json!(-32601)));
    assert_eq!(body(Mcp::accepted()).await, (202, Value::Null));
    assert!(Mcp::progress(&json!({ "id": 1 }), 1, 2).is_none(), "nobody has asked for it");
}
