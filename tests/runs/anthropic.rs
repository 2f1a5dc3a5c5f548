//! What clients of Anthropic's messages get.

use serde_json::json;
use tower_sse::{
    Event, Publisher,
    runs::{Anthropic, Outcome, Runs},
};

use crate::helpers::*;

fn message() -> Vec<Event> {
    let mut events = vec![Anthropic::start("1", "m"), Anthropic::text_start(0)];
    events.extend(TOKENS.map(|token| Anthropic::text_delta(0, token)));
    events.extend([Anthropic::block_stop(0), Anthropic::finish("end_turn", 9)]);
    events
}

#[tokio::test(start_paused = true)]
async fn a_message_arrives_whole_and_ends_with_message_stop() {
    let runs = Runs::new(Publisher::new(), Anthropic);
    let got = told(&runs, &Outcome::Done, message()).await;
    let events = got.events();
    let kinds: Vec<_> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
    assert_eq!(kinds[2..13], ["content_block_delta"; 11]);
    assert_eq!(kinds[13..], ["content_block_stop", "message_delta", "message_stop"]);
    assert!(events.iter().all(|(name, data)| data["type"] == *name), "{}", got.text);
    let text: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, TOKENS.concat());
    assert_eq!(events[0].1["message"]["usage"], json!({ "input_tokens": 0, "output_tokens": 0 }));
    assert_eq!(events[14].1["delta"]["stop_reason"], "end_turn");
}

#[tokio::test(start_paused = true)]
async fn any_other_outcome_is_an_error_event() {
    for outcome in ENDS {
        let got = told(&Runs::new(Publisher::new(), Anthropic), &outcome, message()).await;
        let events = got.events();
        let (name, data) = events.last().unwrap();
        assert_eq!(*name, "error", "{outcome:?}");
        let error = json!({ "type": "api_error", "message": outcome.message() });
        assert_eq!(*data, json!({ "type": "error", "error": error }));
        assert!(!got.text.contains("message_stop"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_the_whole_message_or_what_follows_its_last_event() {
    let runs = Runs::new(Publisher::new(), Anthropic);
    let whole = told(&runs, &Outcome::Done, message()).await;
    assert_eq!(joined(&read(runs.attach("1", &get()).await).await.data()), joined(&whole.data()));
    for (n, id) in whole.ids().iter().enumerate().take(15) {
        let rest = read(runs.attach("1", &after(id)).await).await;
        assert_eq!(joined(&rest.data()), joined(&whole.data()[n + 1..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_there_is_a_404_and_one_whose_head_is_gone_a_410() {
    let runs = without_a_head(Anthropic, Anthropic::text_delta(0, "x".repeat(100))).await;
    assert_eq!(runs.attach("none", &get()).await.status(), 404);
    assert_eq!(runs.attach("1", &get()).await.status(), 410);
}

#[tokio::test(start_paused = true)]
async fn deltas_of_one_block_are_merged() {
    let runs = Runs::new(Publisher::new(), Anthropic).roll_up(SECOND);
    let input = |json: &str| {
        let delta = json!({ "type": "input_json_delta", "partial_json": json });
        Anthropic::event(&json!({ "type": "content_block_delta", "index": 1, "delta": delta }))
    };
    let mut events = message();
    events.splice(13.., [input("{\"a\""), input(":1}"), Anthropic::block_stop(1)]);
    let got = told_singly(&runs, events).await;
    let deltas: Vec<_> = got.events().into_iter().filter(|(name, _)| *name == "content_block_delta").collect();
    let [(_, first), (_, rest), (_, input)] = &deltas[..] else { panic!("{}", got.text) };
    assert_eq!((&first["delta"]["text"], &rest["delta"]["text"]), (&json!(TOKENS[0]), &json!(TOKENS[1..].concat())));
    assert_eq!(input["delta"]["partial_json"], "{\"a\":1}");
}
