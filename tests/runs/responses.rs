//! What clients of OpenAI's Responses get.

use http::{Request, Response, request::Parts};
use serde_json::{Value, json};
use tower_sse::{
    Event, Publisher, Retention, SseBody,
    runs::{ModelResponse, New, Outcome, ProducerError, Responses, Runs, Writer},
};

use crate::helpers::*;

fn new_runs() -> Runs<Responses> {
    Runs::new(Publisher::new(), Responses::default())
}

/// The events of a response: up to its text, and the rest.
fn whole() -> (Vec<Event>, Vec<Event>) {
    let mut response = ModelResponse::new("1", "m");
    let mut events = vec![response.created()];
    events.extend(response.text_start());
    events.extend(TOKENS.map(|token| response.text_delta(token)));
    let mut rest = response.text_end().to_vec();
    response.set("usage", json!({ "total_tokens": 9 }));
    rest.push(response.completed());
    (events, rest)
}

fn complete() -> Vec<Event> {
    let (mut events, rest) = whole();
    events.extend(rest);
    events
}

fn query(query: &str) -> Parts {
    Request::get(format!("/responses/1?{query}")).body(()).unwrap().into_parts().0
}

async fn json_of(response: Response<SseBody>) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn numbers(got: &Got) -> Vec<u64> {
    got.events().iter().map(|(_, data)| data["sequence_number"].as_u64().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_response_is_numbered_and_its_end_has_the_whole_text() {
    let got = told(&new_runs(), &Outcome::Done, complete()).await;
    let events = got.events();
    assert_eq!(numbers(&got), (0..18).collect::<Vec<_>>());
    assert!(events.iter().all(|(name, data)| data["type"] == *name), "{}", got.text);
    let text: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(text, TOKENS.concat());
    let (name, last) = events.last().unwrap();
    assert_eq!((*name, &last["response"]["status"]), ("response.completed", &json!("completed")));
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], TOKENS.concat());
    assert_eq!(last["response"]["output"][0], events[16].1["item"]);
    assert_eq!((&last["response"]["id"], &last["response"]["usage"]["total_tokens"]), (&json!("1"), &json!(9)));
    // Clients check that the events of an item have its id.
    let item = &events[1].1["item"]["id"];
    assert!(events[2..16].iter().all(|(_, data)| data["item_id"] == *item));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_its_producer_leaves_incomplete_ends_with_its_complete_items() {
    let mut events = complete();
    events.pop();
    let got = told(&new_runs(), &Outcome::Done, events).await;
    let events = got.events();
    let (name, last) = events.last().unwrap();
    assert_eq!((*name, &last["sequence_number"]), ("response.completed", &json!(17)));
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], TOKENS.concat());
    assert_eq!((&last["response"]["status"], &last["response"]["model"]), (&json!("completed"), &json!("m")));
}

#[tokio::test(start_paused = true)]
async fn any_other_outcome_is_a_response_that_failed_and_an_error() {
    for outcome in ENDS {
        let got = told(&new_runs(), &outcome, whole().0).await;
        assert_eq!(numbers(&got), (0..16).collect::<Vec<_>>(), "{outcome:?}");
        let events = got.events();
        let [(first, failed), (second, error)] = &events[14..] else { panic!("{}", got.text) };
        let (kind, status) = match outcome {
            Outcome::Stopped => ("response.incomplete", "cancelled"),
            _ => ("response.failed", "failed"),
        };
        assert_eq!((*first, &failed["response"]["status"]), (kind, &json!(status)));
        assert_eq!((&failed["response"]["id"], &failed["response"]["model"]), (&json!("1"), &json!("m")));
        // The client of npm reads one of them, that of PyPI the other.
        for error in [error, &error["error"]] {
            assert_eq!((&error["message"], &error["code"]), (&json!(outcome.message()), &json!(outcome.as_str())));
        }
        assert_eq!(*second, "error");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_producer_has_sent_is_not_sent_again() {
    for outcome in ENDS {
        let got = told(&new_runs(), &outcome, complete()).await;
        assert_eq!(numbers(&got), (0..18).collect::<Vec<_>>(), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_after_any_number() {
    for (outcome, events) in [(Outcome::Done, complete()), (Outcome::Failed(None), whole().0)] {
        let runs = new_runs();
        let whole = told(&runs, &outcome, events).await;
        for n in 0..whole.data().len() {
            // Also with the id that the stream has, which this protocol does not know.
            let mut parts = query(&format!("stream=true&starting_after={n}"));
            parts.headers.insert("last-event-id", whole.ids().last().unwrap().parse().unwrap());
            let got = read(runs.retrieve("1", &parts).await).await;
            assert_eq!(joined(&got.data()), joined(&whole.data()[n + 1..]), "{outcome:?} {n}");
            assert_eq!(numbers(&got).last(), numbers(&whole)[n + 1..].last());
        }
        for odd in ["starting_after=-1", "starting_after=", "starting_after=x", "starting_after=99999999999999999999"] {
            let got = read(runs.retrieve("1", &query(&format!("stream=true&{odd}"))).await).await;
            assert_eq!(joined(&got.data()), joined(&whole.data()), "{odd}");
        }
        let got = read(runs.retrieve("1", &query("stream=true&starting_after=1000")).await).await;
        assert!(got.data().is_empty(), "{}", got.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_on_in_the_middle_of_the_run_gets_the_rest_live() {
    let runs = new_runs();
    let (first, rest) = whole();
    let response = runs.start(New::run().id("1"), async move |run| {
        run.send_all(first).await?;
        tokio::time::sleep(SECOND).await;
        run.send_all(rest).await?;
        Ok(())
    });
    drop(response.await);
    tokio::task::yield_now().await;
    let got = read(runs.retrieve("1", &query("starting_after=9&stream=true")).await).await;
    assert_eq!(numbers(&got), (13..18).collect::<Vec<_>>());
    assert_eq!(got.events()[0].1["delta"], TOKENS[7..].concat());
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_position_is_held_goes_on_although_the_head_is_gone() {
    let publisher = Publisher::builder().retention(Retention::new().bytes(4_000)).build();
    let runs = Runs::new(publisher, Responses::default());
    let producer = async |run: Writer| {
        let mut response = ModelResponse::new(run.id(), "m");
        run.send(response.created()).await?;
        for n in 0..100 {
            run.send(response.text_delta(format!("{n}: {}", "x".repeat(100)))).await?;
        }
        Err::<(), ProducerError>("secret".into())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    assert_eq!(runs.retrieve("1", &query("stream=true")).await.status(), 410);
    assert_eq!(runs.retrieve("1", &query("stream=true&starting_after=20")).await.status(), 410);
    let got = read(runs.retrieve("1", &query("stream=true&starting_after=97")).await).await;
    assert_eq!(numbers(&got), [100, 101, 102]);
    assert_eq!(got.events()[1].1["response"]["id"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_streamed_is_its_object_at_the_end_or_at_once() {
    let runs = new_runs();
    let producer = async |run: Writer| {
        tokio::time::sleep(SECOND).await;
        run.send_all(complete()).await?;
        Ok(())
    };
    let at_once = runs.create(New::run().id("1"), &json!({ "background": true }), producer).await;
    let (status, object) = json_of(at_once).await;
    assert_eq!((status, &object["id"], &object["status"]), (200, &json!("1"), &json!("queued")));
    let (_, object) = json_of(runs.create(New::run().id("2"), &json!({}), producer).await).await;
    assert_eq!(
        (&object["status"], &object["output"][0]["content"][0]["text"]),
        (&json!("completed"), &json!(TOKENS.concat()))
    );
    assert_eq!(runs.create(New::run().id("2"), &json!({ "background": true }), producer).await.status(), 409);
    let streamed = runs.create(New::run().id("3"), &json!({ "stream": true, "background": true }), producer).await;
    assert_eq!(numbers(&read(streamed).await).last(), Some(&17));
    let (status, error) = json_of(runs.retrieve("none", &query("")).await).await;
    assert_eq!((status, &error["error"]["param"]), (404, &json!("response_id")));
    assert_eq!(runs.retrieve("none", &query("stream=true&starting_after=1")).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_cancelled_and_can_be_retrieved() {
    let runs = new_runs();
    let producer = async |run: Writer| {
        run.send_all(whole().0).await?;
        run.stopped().await;
        Ok(())
    };
    drop(runs.create(New::run().id("1"), &json!({ "background": true }), producer).await);
    tokio::task::yield_now().await;
    let (_, object) = json_of(runs.retrieve("1", &query("")).await).await;
    assert_eq!((&object["status"], &object["model"]), (&json!("in_progress"), &json!("m")));
    for _ in 0..2 {
        let (status, object) = json_of(runs.cancel("1").await).await;
        assert_eq!((status, &object["status"]), (200, &json!("cancelled")));
    }
    assert_eq!(json_of(runs.retrieve("1", &query("")).await).await.1["status"], "cancelled");
    assert_eq!(json_of(runs.cancel("none").await).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn merged_deltas_have_the_number_of_the_last_one() {
    let runs = new_runs().roll_up(SECOND);
    let got = told_singly(&runs, complete()).await;
    assert_eq!(numbers(&got), [0, 1, 2, 3, 13, 14, 15, 16, 17]);
    assert_eq!(got.events()[4].1["delta"], TOKENS[1..].concat());
    let rest = read(runs.retrieve("1", &query("stream=true&starting_after=13")).await).await;
    assert_eq!(numbers(&rest), [14, 15, 16, 17]);
}
