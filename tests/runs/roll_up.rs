//! Consecutive tokens within a window are sent as one.

use std::time::Duration;

use serde_json::{Value, json};
use tower_sse::{
    Event, EventName, Publisher,
    runs::{AiSdk, ChatCompletions, Completion, New, Outcome, ProducerError, Runs, Status, Writer},
};

use crate::helpers::*;

const WINDOW: Duration = Duration::from_millis(40);

fn rolls_up() -> Runs<AiSdk> {
    Runs::new(Publisher::new(), AiSdk).roll_up(WINDOW)
}

fn delta(text: impl AsRef<str>) -> Event {
    AiSdk::text_delta("1", text)
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// The data of the application's events in the channel of the run `1`.
async fn held<D>(runs: &Runs<D>) -> Vec<String>
where
    D: tower_sse::runs::Dialect,
{
    let page = runs.publisher().channel("run/1").read(None, 10_000).await.unwrap();
    page.events.iter().filter(|event| event.name() != Some("run.started")).map(|event| event.data()).collect()
}

/// The text of each delta, and the type of each other part.
fn texts(parts: &[String]) -> Vec<String> {
    let text = |part: &String| {
        let part: Value = serde_json::from_str(part).unwrap();
        let text = part["delta"].as_str().or(part["type"].as_str()).or(part["outcome"].as_str());
        text.unwrap().to_owned()
    };
    parts.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_token_is_sent_at_once_and_later_ones_once_per_window() {
    let runs = rolls_up();
    let producer = async |run: Writer| {
        for n in 0..20 {
            let sent = run.send(delta(n.to_string())).await?;
            assert_eq!(sent.is_some(), n == 0, "{n}");
            pause(10).await;
        }
        pause(100).await;
        assert!(run.send(delta("late")).await?.is_some(), "the window is over");
        std::future::pending().await
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    pause(5).await;
    assert_eq!(texts(&held(&runs).await), ["0"]);
    pause(36).await;
    assert_eq!(texts(&held(&runs).await), ["0", "1234"]);
    pause(1_000).await;
    assert_eq!(texts(&held(&runs).await), ["0", "1234", "5678", "9101112", "13141516", "171819", "late"]);
}

#[tokio::test(start_paused = true)]
async fn no_event_overtakes_a_held_token() {
    let runs = rolls_up();
    let other = EventName::from_static("other");
    let producer = async move |run: Writer| {
        for text in ["a", "b", "c"] {
            run.send(delta(text)).await?;
        }
        assert!(run.send(AiSdk::text_end("1")).await?.is_some());
        run.send(AiSdk::text_delta("2", "d")).await?;
        run.send(AiSdk::text_delta("2", "e")).await?;
        run.send(AiSdk::text_delta("3", "f")).await?;
        let sent = run.send_all([AiSdk::text_end("3"), AiSdk::text_end("2")]).await?;
        assert_eq!(sent.len(), 2);
        run.send(delta("g")).await?;
        run.send(delta("h").name(other)).await?;
        run.send(delta("i").ephemeral()).await?;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    let expected = ["a", "bc", "text-end", "de", "f", "text-end", "text-end", "g", "h", "done"];
    assert_eq!(texts(&held(&runs).await), expected);
}

#[tokio::test(start_paused = true)]
async fn held_tokens_are_sent_before_the_outcome_however_a_run_ends() {
    for (how, outcome) in ["done", "stopped", "drained", "failed", "failed"].into_iter().enumerate() {
        let runs = rolls_up();
        let producer = async move |run: Writer| {
            for text in ["a", "b", "c"] {
                run.send(delta(text)).await?;
            }
            match how {
                0 => Ok(()),
                3 => Err("it fails".into()),
                4 => panic!("it panics"),
                _ => std::future::pending::<Result<(), ProducerError>>().await,
            }
        };
        runs.spawn(New::run().id("1"), producer).await.unwrap();
        tokio::task::yield_now().await;
        match outcome {
            "stopped" => runs.stop("1").await.unwrap(),
            "drained" => assert_eq!(runs.drain(Duration::ZERO).await, 1),
            _ => {}
        }
        runs.ended("1").await.unwrap();
        assert_eq!(texts(&held(&runs).await), ["a", "bc", outcome]);
    }
}

#[test]
fn held_tokens_are_sent_before_the_outcome_of_a_run_whose_runtime_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (runs, first) = (rolls_up(), runtime());
    first.block_on(async {
        let producer = async |run: Writer| {
            run.send(delta("a")).await?;
            run.send(delta("b")).await?;
            std::future::pending().await
        };
        runs.spawn(New::run().id("1"), producer).await.unwrap();
        tokio::task::yield_now().await;
    });
    drop(first);
    runtime().block_on(async { assert_eq!(texts(&held(&runs).await), ["a", "b", "lost"]) });
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_loses_nothing_that_was_accepted_before_it() {
    let runs = rolls_up();
    let producer = async |run: Writer| {
        run.send(delta("a")).await?;
        for n in 0..1_000 {
            run.send(delta("b")).await?;
            // Sooner or later this uses the task's budget up, so that the send waits.
            let _ = futures_util::FutureExt::now_or_never(run.send(AiSdk::text_start(&n.to_string())));
        }
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    let sent: String = texts(&held(&runs).await).concat();
    assert_eq!(sent.matches('b').count(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_sends_after_the_end_is_refused() {
    let runs = rolls_up();
    let (gives, mut takes) = tokio::sync::mpsc::unbounded_channel();
    let producer = async move |run: Writer| {
        run.send(delta("a")).await?;
        Ok(gives.send(run)?)
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    let late = takes.recv().await.unwrap();
    assert!(late.send(delta("late")).await.unwrap_err().is_ended());
    assert!(late.send_all([delta("late")]).await.unwrap_err().is_ended());
}

#[tokio::test(start_paused = true)]
async fn a_writer_notices_that_its_run_was_ended_when_the_window_ends() {
    let runs = rolls_up();
    let (tells, mut told) = tokio::sync::mpsc::unbounded_channel();
    let producer = async move |run: Writer| {
        run.send(delta("a")).await?;
        run.send(delta("b")).await?;
        run.stopped().await;
        Ok(tells.send(run.send(delta("c")).await.unwrap_err())?)
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    tokio::task::yield_now().await;
    runs.publisher().channel("run/1").end().await.unwrap();
    assert!(tokio::time::timeout(SECOND, told.recv()).await.unwrap().is_none_or(|error| error.is_ended()));
    assert_eq!(runs.status("1").await.unwrap(), Some(Status::Ended(Outcome::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_merged_event_is_no_larger_than_the_limit_of_events_allows() {
    let publisher = Publisher::builder().limits(tower_sse::Limits::new().event_bytes(2_000)).build();
    let runs = Runs::new(publisher, AiSdk).roll_up(WINDOW);
    let producer = async |run: Writer| {
        for _ in 0..1_000 {
            run.send(delta("\u{1}\u{2}\u{3}")).await?;
        }
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    assert_eq!(runs.ended("1").await.unwrap(), Some(Outcome::Done));
    let texts = texts(&held(&runs).await);
    assert_eq!(texts.concat().matches("\u{1}\u{2}\u{3}").count(), 1_000);
    assert!(texts.len() < 200, "{}", texts.len());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_long_without_its_text_is_not_held() {
    let publisher = Publisher::builder().limits(tower_sse::Limits::new().event_bytes(2_000)).build();
    let runs = Runs::new(publisher, AiSdk).roll_up(WINDOW);
    let producer = async |run: Writer| {
        let metadata = json!({ "provider": "x".repeat(1_800) });
        for _ in 0..20 {
            let part = json!({ "type": "text-delta", "id": "1", "delta": "0123456789", "providerMetadata": metadata });
            assert!(run.send(AiSdk::part(&part)).await?.is_some());
        }
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    assert_eq!(runs.ended("1").await.unwrap(), Some(Outcome::Done));
    assert_eq!(texts(&held(&runs).await).concat(), "0123456789".repeat(20) + "done");
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_sends_a_thousand_tokens_a_second_makes_26_appends_of_them() {
    let runs = Runs::new(Publisher::new(), ChatCompletions).roll_up(WINDOW);
    let producer = async |run: Writer| {
        let completion = Completion::new(run.id(), "m");
        for n in 0..1_000 {
            run.send(completion.delta(format!("{n} \"\n"))).await?;
            pause(1).await;
        }
        run.send(completion.finish("stop")).await?;
        Ok(())
    };
    let response = runs.start(New::run().id("1"), producer).await;
    let got = read(response).await;
    let (done, chunks) = got.data().split_last().map(|(done, chunks)| (done.to_string(), chunks.to_vec())).unwrap();
    assert_eq!((&*done, chunks.len()), ("[DONE]", 27));
    let content = |chunk: &&str| serde_json::from_str::<Value>(chunk).unwrap()["choices"][0]["delta"]["content"].take();
    let text: String = chunks[..26].iter().map(|chunk| content(chunk).as_str().unwrap().to_owned()).collect();
    assert_eq!(text, (0..1_000).map(|n| format!("{n} \"\n")).collect::<String>());
}

#[tokio::test(start_paused = true)]
async fn reasoning_and_the_input_of_a_tool_are_merged_and_parts_with_more_are_kept_apart() {
    let runs = rolls_up();
    let parts = [
        json!({ "type": "reasoning-delta", "id": "r", "delta": "a" }),
        json!({ "type": "reasoning-delta", "id": "r", "delta": "b" }),
        json!({ "type": "reasoning-delta", "id": "r", "delta": "c" }),
        json!({ "type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": "{\"a\":" }),
        json!({ "type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": "\"\\\"\"}" }),
        json!({ "type": "text-delta", "id": "r", "delta": "d" }),
        json!({ "type": "text-delta", "id": "r", "delta": "e", "providerMetadata": { "x": {} } }),
        json!({ "type": "data-weather", "id": "r", "delta": "f" }),
        json!({ "type": "data-weather", "id": "r", "delta": "f" }),
    ];
    let producer = async move |run: Writer| {
        for part in &parts {
            run.send(AiSdk::part(part)).await?;
        }
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    let parts: Vec<Value> = held(&runs).await.iter().map(|part| serde_json::from_str(part).unwrap()).collect();
    let expected = json!([
        { "type": "reasoning-delta", "id": "r", "delta": "a" },
        { "type": "reasoning-delta", "id": "r", "delta": "bc" },
        { "type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": "{\"a\":\"\\\"\"}" },
        { "type": "text-delta", "id": "r", "delta": "d" },
        { "type": "text-delta", "id": "r", "delta": "e", "providerMetadata": { "x": {} } },
        { "type": "data-weather", "id": "r", "delta": "f" },
        { "type": "data-weather", "id": "r", "delta": "f" },
        { "outcome": "done" },
    ]);
    assert_eq!(json!(parts), expected);
}
