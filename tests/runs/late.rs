//! What late readers get: the whole run in few events, and after any of these exactly what follows.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower_sse::{
    EncodedEvent, Event, Output, Publisher, SseBody,
    runs::{AiSdk, ChatCompletions, Completion, Delta, Dialect, New, Outcome, Plain, Runs, Writer},
};

use crate::helpers::*;

/// An event as a client gets it: its data and its id.
type Sent = (String, String);

fn events(text: &str) -> Vec<Sent> {
    let field = |event: &str, name: &str| {
        let values: Vec<_> = event.lines().filter_map(|line| line.strip_prefix(name)).collect();
        values.join("\n")
    };
    let all = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    all.map(|event| (field(event, "data: "), field(event, "id: "))).collect()
}

/// Reads what has arrived of an answer.
async fn now(body: &mut SseBody) -> Vec<Sent> {
    let mut text = String::new();
    while let Ok(Some(frame)) = tokio::time::timeout(SECOND / 1_000, body.frame()).await {
        text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
    }
    events(&text)
}

fn body(response: Response<SseBody>) -> SseBody {
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Starts the run `1`. It goes on until the returned writer is dropped.
async fn writes<D: Dialect>(runs: &Runs<D>) -> Writer {
    let (gives, takes) = tokio::sync::oneshot::channel();
    let producer = async move |run: Writer| {
        let _ = gives.send(run.clone());
        run.stopped().await;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    takes.await.unwrap()
}

fn tokens(count: usize) -> Vec<String> {
    // They are about as long as those of a model.
    (0..count).map(|n| ["a", " the", " model", "s ", "\"x\"", "\n", " wrote", " \u{1f600}"][n % 8].to_owned()).collect()
}

/// Joins the texts of consecutive parts that belong together.
fn spoken(sent: &[Sent]) -> Vec<(String, String)> {
    let mut spoken: Vec<(String, String)> = Vec::new();
    for (data, _) in sent {
        let mut part: Value = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
        let text = part.get_mut("delta").map_or(String::new(), |text| text.take().as_str().unwrap().to_owned());
        let shape = part.to_string();
        match spoken.last_mut() {
            Some((of, whole)) if !text.is_empty() && *of == shape => *whole += &text,
            _ => spoken.push((shape, text)),
        }
    }
    spoken
}

#[tokio::test(start_paused = true)]
async fn at_5000_tokens_a_late_reader_gets_at_most_three_tenths_more_than_the_text() {
    let text: String = tokens(5_000).concat();
    let (ai, chat) = (Runs::new(Publisher::new(), AiSdk), Runs::new(Publisher::new(), ChatCompletions));
    let (of_ai, of_chat) = (writes(&ai).await, writes(&chat).await);
    let completion = Completion::new("1", "a-model-of-some-size");
    for token in tokens(5_000) {
        of_ai.send(AiSdk::text_delta("1", &token)).await.unwrap();
        of_chat.send(completion.delta(&token)).await.unwrap();
    }
    for round in 0..3 {
        let mut of_ai = body(ai.attach("1", &get()).await);
        let mut of_chat = body(chat.attach("1", &get()).await);
        for (sent, at) in [(now(&mut of_ai).await, "/delta"), (now(&mut of_chat).await, "/choices/0/delta/content")] {
            let part = |(data, _): &Sent| serde_json::from_str::<Value>(data).unwrap();
            let got: String =
                sent.iter().map(|sent| part(sent).pointer(at).unwrap().as_str().unwrap().to_owned()).collect();
            assert_eq!(got, text);
            let bytes: usize = sent.iter().map(|(data, id)| "data: \nid: \n\n".len() + data.len() + id.len()).sum();
            assert!(10 * bytes <= 13 * text.len(), "{round}: {bytes} bytes for a text of {}", text.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_cut_off_anywhere_goes_on_exactly_there() {
    for seed in 0..40 {
        cut_anywhere(seed, Runs::new(Publisher::new(), AiSdk)).await;
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

async fn cut_anywhere(seed: u64, runs: Runs<AiSdk>) {
    let mut random = Random(seed);
    let run = writes(&runs).await;
    // What each reader has, and how it reads on.
    let mut readers: Vec<(Vec<Sent>, Option<SseBody>)> = Vec::new();
    for _ in 0..random.below(40) + 10 {
        match random.below(4) {
            0 if readers.len() < 4 => readers.push((Vec::new(), Some(body(runs.attach("1", &get()).await)))),
            // The reader is cut off after any event that was sent.
            1 if !readers.is_empty() => {
                let at = random.below(readers.len());
                let (got, reading) = &mut readers[at];
                if let Some(mut body) = reading.take() {
                    let sent = now(&mut body).await;
                    got.extend(sent.into_iter().take(random.below(8)));
                }
                let parts = got.last().map_or_else(get, |(_, id)| after(id));
                *reading = Some(body(runs.attach("1", &parts).await));
            }
            _ => {
                for _ in 0..random.below(if seed.is_multiple_of(2) { 12 } else { 400 }) {
                    let token = ["a", "\n\ndata: x", " ", "\u{1f600}", "\"\\", "[DONE]", "\u{2028}"][random.below(7)];
                    let event = match random.below(30) {
                        0 => AiSdk::text_start("2"),
                        1 => AiSdk::part(&json!({ "type": "reasoning-delta", "id": "2", "delta": token })),
                        2..5 => AiSdk::text_delta("2", token),
                        _ => AiSdk::text_delta("1", token),
                    };
                    run.send(event).await.unwrap();
                }
            }
        }
    }
    let held = runs.publisher().channel("run/1").read(None, 100_000).await.unwrap();
    let held = held.events.iter().filter(|event| event.name().is_none());
    let held: Vec<Sent> = held.map(|event| (event.data(), event.id().to_string())).collect();
    let ids: Vec<_> = held.iter().map(|(_, id)| id).collect();
    for (mut got, reading) in readers {
        got.extend(now(&mut reading.unwrap()).await);
        assert_eq!(spoken(&got), spoken(&held), "seed {seed}");
        // Each stands for all of its sources up to that of its id.
        let place = |(_, id): &Sent| ids.iter().position(|held| *held == id).expect("an id of the run");
        let places: Vec<_> = got.iter().map(place).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert_eq!(places.last().copied(), ids.len().checked_sub(1), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_merged_events_of_a_run_that_has_ended_are_followed_by_its_outcome() {
    let runs = Runs::new(Publisher::new(), AiSdk);
    let producer = async |run: Writer| {
        run.send_all([AiSdk::start("m"), AiSdk::text_start("1")]).await?;
        for token in tokens(3_000) {
            run.send(AiSdk::text_delta("1", token)).await?;
        }
        run.send(AiSdk::text_end("1")).await?;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    runs.ended("1").await.unwrap();
    let whole = events(&read(runs.attach("1", &get()).await).await.text);
    assert!(whole.len() < 30, "{}", whole.len());
    for round in 0..2 {
        let got = events(&read(runs.attach("1", &get()).await).await.text);
        assert_eq!(got, whole, "{round}");
        for (n, (_, id)) in whole.iter().enumerate().filter(|(_, (_, id))| !id.is_empty()) {
            let rest = runs.attach("1", &after(id)).await;
            match n + 1 == whole.len() {
                true => assert_eq!(rest.status(), 204),
                false => assert_eq!(spoken(&events(&read(rest).await.text)), spoken(&whole[n + 1..])),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_caught_up_gets_single_events() {
    let runs = Runs::new(Publisher::new(), AiSdk);
    let run = writes(&runs).await;
    for token in ["a", "b"] {
        run.send(AiSdk::text_delta("1", token)).await.unwrap();
    }
    let mut reader = body(runs.attach("1", &get()).await);
    assert_eq!(now(&mut reader).await.len(), 1);
    for token in ["c", "d", "e"] {
        run.send(AiSdk::text_delta("1", token)).await.unwrap();
    }
    assert_eq!(now(&mut reader).await.len(), 3, "also of what was sent at once");
}

/// A dialect that counts how often it is asked for a delta.
#[derive(Clone)]
struct Counts;

static ASKED: AtomicUsize = AtomicUsize::new(0);

impl Dialect for Counts {
    fn outcome(&mut self, _: &Outcome, source: &EncodedEvent, out: &mut Output) {
        out.pass(source);
    }

    fn delta<'a>(_: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        ASKED.fetch_add(1, SeqCst);
        Some(Delta::new("", data))
    }
}

#[tokio::test(start_paused = true)]
async fn merged_events_are_reused_for_the_next_reader() {
    let runs = Runs::new(Publisher::new(), Counts);
    let run = writes(&runs).await;
    for token in tokens(5_000) {
        run.send(Event::text(token)).await.unwrap();
    }
    let mut readers: Vec<SseBody> = Vec::new();
    for _ in 0..10 {
        readers.push(body(runs.attach("1", &get()).await));
        now(readers.last_mut().unwrap()).await;
    }
    let asked = ASKED.load(SeqCst);
    assert!((5_000..5_100).contains(&asked), "{asked}");
    runs.stop("1").await.unwrap();
    runs.ended("1").await.unwrap();
    for _ in 0..10 {
        read(runs.attach("1", &get()).await).await;
    }
    assert!(ASKED.load(SeqCst) - asked < 100, "also when it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_run_longer_than_what_is_kept_merged_is_read_whole_by_every_reader() {
    let runs = Runs::new(Publisher::new(), AiSdk);
    let run = writes(&runs).await;
    let mut text = String::new();
    for round in 0..6 {
        for n in 0..1_000 {
            let token = format!("{round} {n} {}", "x".repeat(60));
            run.send(AiSdk::text_delta("1", &token)).await.unwrap();
            text += &token;
        }
        for _ in 0..2 {
            let mut body = body(runs.attach("1", &get()).await);
            let got = spoken(&now(&mut body).await);
            assert_eq!(got.len(), 1);
            assert!(got[0].1 == text, "{round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn merged_events_are_not_reused_for_another_run_with_the_same_id() {
    let runs = Runs::new(Publisher::new(), AiSdk);
    for text in ["first", "second"] {
        let producer = async move |run: Writer| {
            for token in text.split_inclusive(|_| true) {
                run.send(AiSdk::text_delta("1", token)).await?;
            }
            Ok(())
        };
        runs.spawn(New::run().id("1"), producer).await.unwrap();
        runs.ended("1").await.unwrap();
        for _ in 0..2 {
            let got = spoken(&events(&read(runs.attach("1", &get()).await).await.text));
            assert_eq!(got[0].1, text);
        }
        runs.publisher().channel("run/1").close().await.unwrap();
        assert_eq!(runs.attach("1", &get()).await.status(), 204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dialect_that_merges_nothing_passes_every_event() {
    let runs = Runs::new(Publisher::new(), Plain);
    let run = writes(&runs).await;
    for token in tokens(2_000) {
        run.send(Event::text(token)).await.unwrap();
    }
    for _ in 0..3 {
        let mut reader = body(runs.attach("1", &get()).await);
        assert_eq!(now(&mut reader).await.len(), 2_000);
    }
}

/// A dialect that only passes secrets to an admin.
#[derive(Clone)]
struct Filtered {
    is_admin: bool,
}

impl Dialect for Filtered {
    fn outcome(&mut self, _: &Outcome, source: &EncodedEvent, out: &mut Output) {
        out.pass(source);
    }

    fn body(&self, body: SseBody) -> SseBody {
        let is_admin = self.is_admin;
        body.filter(move |event| is_admin || event.name() != Some("secret"))
    }

    fn delta<'a>(name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        Some(Delta::new(name.unwrap_or_default().to_owned(), data))
    }
}

#[tokio::test(start_paused = true)]
async fn merged_events_never_reach_a_reader_that_may_not_see_them() {
    let admins = Runs::new(Publisher::new(), Filtered { is_admin: true });
    let others = admins.dialect(Filtered { is_admin: false });
    let writer = writes(&admins).await;
    for _ in 0..2 {
        writer.send_all([Event::text("a"), Event::text("hidden").name("secret".try_into().unwrap())]).await.unwrap();
    }
    for _ in 0..2 {
        let all = now(&mut body(admins.attach("1", &get()).await)).await;
        assert_eq!(all.iter().map(|(data, _)| data.as_str()).collect::<Vec<_>>(), ["a", "hidden", "a", "hidden"]);
        let some = now(&mut body(others.attach("1", &get()).await)).await;
        assert_eq!(some.iter().map(|(data, _)| data.as_str()).collect::<Vec<_>>(), ["aa"]);
    }
}

#[test]
fn a_chunk_that_adds_more_than_one_text_is_not_merged() {
    let chunk = |choices: Value| json!({ "id": "1", "choices": choices }).to_string();
    let merges = |chunk: String| ChatCompletions::delta(None, &chunk).is_some();
    let call = |call: Value| chunk(json!([{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }]));
    assert!(merges(chunk(json!([{ "index": 0, "delta": { "role": "assistant", "content": "a" } }]))));
    assert!(merges(call(json!({ "index": 0, "function": { "arguments": "{" } }))));
    assert!(!merges(chunk(json!([{ "index": 0, "delta": { "content": "", "reasoning": "ha" } }]))));
    assert!(!merges(chunk(json!([{ "index": 0, "delta": { "content": "a" } }, { "delta": { "content": "b" } }]))));
    assert!(!merges(call(json!({ "index": 0, "id": "7", "function": { "name": "f", "arguments": "" } }))));
    assert!(!merges(chunk(json!([]))));
}
