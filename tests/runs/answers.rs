//! What readers get of a run, in the dialects of their clients.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tower_sse::{
    Closed, EndReason, Ending, Event, Publisher,
    runs::{AiSdk, ChatCompletions, Completion, Dialect, New, Outcome, Plain, ProducerError, Runs, Status},
};

use crate::helpers::*;

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_without_its_reader_and_a_late_one_gets_all_of_it() {
    let runs = runs();
    let producer = async |run: tower_sse::runs::Writer| {
        for text in ["a", "b", "c"] {
            run.send(Event::text(text)).await?;
            tokio::time::sleep(SECOND).await;
        }
        Ok(())
    };
    let response = runs.start(New::run().id("1"), producer).await;
    assert_eq!(response.headers()["x-run-id"], "1");
    drop(response);
    tokio::time::sleep(SECOND / 2).await;
    let early = runs.attach("1", &get()).await;
    tokio::time::sleep(10 * SECOND).await;
    for response in [early, runs.attach("1", &get()).await] {
        assert_eq!(read(response).await.data(), ["a", "b", "c", r#"{"outcome":"done"}"#]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_after_any_of_its_events() {
    let runs = runs();
    runs.spawn(New::run().id("1"), async |run| says(run, &["a", "b", "c"]).await).await.unwrap();
    ended(&runs, "1").await;
    let whole = read(runs.attach("1", &get()).await).await;
    let ids = whole.ids();
    assert_eq!(ids.len(), 4);
    for (n, id) in ids.iter().enumerate().take(3) {
        assert_eq!(read(runs.attach("1", &after(id)).await).await.data(), whole.data()[n + 1..]);
    }
    assert_eq!(runs.attach("1", &after(ids[3])).await.status(), 204, "it has everything");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_there_is_what_the_dialect_says() {
    let runs = runs();
    let ai = runs.dialect(AiSdk);
    for id in ["none", "", "two\nlines"] {
        assert_eq!(runs.attach(id, &get()).await.status(), 404);
        assert_eq!(runs.attach_thread(id, &get()).await.status(), 404);
        assert_eq!(ai.attach_thread(id, &get()).await.status(), 204);
        assert_eq!(runs.status(id).await.unwrap(), None);
        assert_eq!(ended(&runs, id).await, None);
        runs.stop(id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_leads_to_its_active_run_until_that_ends() {
    let runs = runs();
    runs.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    let response = runs.attach_thread("chat", &get()).await;
    assert_eq!(response.headers()["x-run-id"], "1");
    let Some(Status::Running { readers, .. }) = runs.status("1").await.unwrap() else { panic!("it runs") };
    assert_eq!(readers, 1);
    runs.stop_thread("chat").await.unwrap();
    assert_eq!(read(response).await.data(), ["begun", r#"{"outcome":"stopped"}"#]);
    ended(&runs, "1").await;
    assert_eq!(runs.attach_thread("chat", &get()).await.status(), 404);
}

/// A producer that ends as it is told.
async fn ends<D: Dialect>(runs: &Runs<D>, outcome: &Outcome) -> Got {
    let fails = *outcome == Outcome::Failed(None);
    let response = runs.start(New::run().id("1"), async move |run| {
        run.send(AiSdk::text_delta("1", "a")).await?;
        match fails {
            true => Err("secret".into()),
            false => {
                run.stopped().await;
                Ok::<(), ProducerError>(())
            }
        }
    });
    let response = response.await;
    tokio::task::yield_now().await;
    match outcome {
        Outcome::Stopped => runs.stop("1").await.unwrap(),
        Outcome::Drained => assert_eq!(runs.drain(SECOND).await, 1),
        _ => {}
    }
    let got = read(response).await;
    assert!(!got.broken_off && !got.text.contains("secret"), "{}", got.text);
    got
}

#[tokio::test(start_paused = true)]
async fn the_ai_sdk_gets_parts_and_is_told_every_outcome() {
    let runs = || Runs::new(Publisher::new(), AiSdk);
    let done = runs();
    let response = done.start(New::run().id("1"), async |run| {
        run.send_all([AiSdk::start(run.id()), AiSdk::text_start("t")]).await?;
        run.send(AiSdk::text_delta("t", "two\nlines \u{2028} [DONE]")).await?;
        run.send(AiSdk::text_end("t")).await?;
        Ok(())
    });
    let response = response.await;
    assert_eq!(response.headers()["x-vercel-ai-ui-message-stream"], "v1");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let got = read(response).await;
    let (last, parts) = got.data().split_last().map(|(last, parts)| (last.to_string(), parts.to_vec())).unwrap();
    assert_eq!(last, "[DONE]");
    let parts: Vec<Value> = parts.iter().map(|part| serde_json::from_str(part).unwrap()).collect();
    let expected = json!([
        { "type": "start", "messageId": "1" },
        { "type": "text-start", "id": "t" },
        { "type": "text-delta", "id": "t", "delta": "two\nlines \u{2028} [DONE]" },
        { "type": "text-end", "id": "t" },
        { "type": "finish" },
    ]);
    assert_eq!(json!(parts), expected);

    for (outcome, kind) in [(Outcome::Stopped, "abort"), (Outcome::Failed(None), "error"), (Outcome::Drained, "error")]
    {
        let got = ends(&runs(), &outcome).await;
        let [_, part, "[DONE]"] = got.data()[..] else { panic!("{}", got.text) };
        assert_eq!(serde_json::from_str::<Value>(part).unwrap()["type"], kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_completion_ends_with_done_or_an_error() {
    let runs = || Runs::new(Publisher::new(), ChatCompletions);
    let done = runs();
    let response = done.start(New::run().id("1"), async |run| {
        let completion = Completion::new(run.id(), "m");
        run.send(completion.delta("Hi")).await?;
        run.send(completion.finish("stop")).await?;
        Ok(())
    });
    let got = read(response.await).await;
    let [first, last, "[DONE]"] = got.data()[..] else { panic!("{}", got.text) };
    let chunks = [first, last].map(|chunk| serde_json::from_str::<Value>(chunk).unwrap());
    assert_eq!(chunks[0]["choices"][0]["delta"]["content"], "Hi");
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "stop");

    for outcome in [Outcome::Stopped, Outcome::Failed(None), Outcome::Drained] {
        let got = ends(&runs(), &outcome).await;
        let [_, error] = got.data()[..] else { panic!("{}", got.text) };
        assert_eq!(serde_json::from_str::<Value>(error).unwrap()["error"]["code"], outcome.as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_answer_breaks_off_if_the_run_is_ended_by_other_means() {
    for is_closed in [true, false] {
        let publisher = Publisher::new();
        let runs = Runs::new(publisher.clone(), AiSdk);
        let response = runs.start(New::run().id("1"), hangs).await;
        tokio::task::yield_now().await;
        match is_closed {
            true => _ = publisher.channel("run/1").close().await.unwrap(),
            false => publisher.channel("run/1").end().await.unwrap(),
        }
        assert!(read(response).await.broken_off, "{is_closed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_answer_whose_beginning_is_gone_is_a_410() {
    let runs = without_a_head(Plain, Event::text("x".repeat(100))).await;
    assert_eq!(runs.dialect(AiSdk).attach("1", &get()).await.status(), 410);
    let got = read(runs.attach("1", &get()).await).await;
    assert!(got.text.contains("event: gap\n"), "{}", got.text);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_of_answers_and_not_of_what_the_crate_reads_for_itself() {
    let told: Arc<Mutex<Vec<Closed>>> = Arc::default();
    let closed = told.clone();
    let publisher = Publisher::builder().on_close(move |of| closed.lock().unwrap().push(of.clone())).build();
    let runs = Runs::new(publisher, Plain);
    runs.spawn(New::run().id("1"), async |run| says(run, &["a", "b"]).await).await.unwrap();
    ended(&runs, "1").await;
    assert_eq!(told.lock().unwrap().len(), 0, "nobody has read it but the crate");
    read(runs.attach("1", &get()).await).await;
    let told = told.lock().unwrap();
    assert_eq!((told.len(), told[0].opened.channels[0].as_str(), told[0].events), (1, "run/1", 4));
    assert_eq!(told[0].ending, Ending::Ended(EndReason::Finished));
}
