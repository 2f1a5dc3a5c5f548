//! What clients of AG-UI get.

use serde_json::{Value, json};
use tower_sse::{
    Event, Publisher,
    runs::{AgUi, Outcome, Runs},
};

use crate::helpers::*;

fn new_runs() -> Runs<AgUi> {
    Runs::new(Publisher::new(), AgUi::default())
}

fn message() -> Vec<Event> {
    let mut events = vec![AgUi::run_started("chat", "1"), AgUi::text_start("m")];
    events.extend(TOKENS.map(|token| AgUi::text_content("m", token)));
    events.push(AgUi::text_end("m"));
    events
}

fn kinds(got: &Got) -> Vec<String> {
    got.events().iter().map(|(_, data)| data["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_arrives_whole_and_ends_with_run_finished() {
    let got = told(&new_runs(), &Outcome::Done, message()).await;
    let events = got.events();
    assert!(!got.text.contains("event: "), "AG-UI has no names: {}", got.text);
    assert_eq!(kinds(&got)[..2], ["RUN_STARTED", "TEXT_MESSAGE_START"]);
    assert_eq!(kinds(&got)[13..], ["TEXT_MESSAGE_END", "RUN_FINISHED"]);
    let text: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(text, TOKENS.concat());
    assert_eq!(events[14].1, json!({ "type": "RUN_FINISHED", "threadId": "chat", "runId": "1" }));
}

#[tokio::test(start_paused = true)]
async fn any_other_outcome_is_run_error() {
    for outcome in ENDS {
        let got = told(&new_runs(), &outcome, message()).await;
        let error = json!({ "type": "RUN_ERROR", "message": outcome.message(), "code": outcome.as_str() });
        assert_eq!(got.events().last().unwrap().1, error);
        assert!(!got.text.contains("RUN_FINISHED"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_producer_has_sent_is_not_sent_again() {
    let outcome = json!({ "type": "interrupt", "interrupts": [{ "id": "7", "reason": "input_required" }] });
    let finished = json!({ "type": "RUN_FINISHED", "threadId": "chat", "runId": "1", "outcome": outcome });
    for outcome in ENDS.iter().chain([&Outcome::Done]) {
        let mut events = message();
        events.push(AgUi::event(&finished));
        let got = told(&new_runs(), outcome, events).await;
        assert_eq!((got.events().len(), &got.events()[14].1), (15, &finished), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_on_after_any_event_gets_the_same_end() {
    let runs = new_runs();
    let whole = told(&runs, &Outcome::Done, message()).await;
    for (n, id) in whole.ids().iter().enumerate().take(14) {
        let rest = read(runs.attach("1", &after(id)).await).await;
        assert_eq!(joined(&rest.data()), joined(&whole.data()[n + 1..]), "{n}");
    }
    assert_eq!(runs.attach("1", &after(whole.ids()[14])).await.status(), 204);
    // With a position of another log, it gets everything.
    let again = read(runs.attach("1", &after("ffffffffffff-1")).await).await;
    assert_eq!(joined(&again.data()), joined(&whole.data()));
    assert_eq!(runs.attach("1", &after("garbage")).await.status(), 410);
    assert_eq!(runs.attach("none", &after("garbage")).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn contents_of_one_message_are_merged() {
    let runs = new_runs().roll_up(SECOND);
    let timed = |text: &str, at: u64| {
        let data = json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": text, "timestamp": at });
        AgUi::event(&data)
    };
    let events = vec![timed("a", 1), timed("b", 2), timed("\n", 3), AgUi::text_content("n", "c")];
    let got = told_singly(&runs, events).await;
    let deltas: Vec<Value> = got.events().iter().map(|(_, data)| data["delta"].clone()).collect();
    assert_eq!(deltas[..3], ["a", "b\n", "c"]);
    assert_eq!(got.events()[1].1["timestamp"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_head_is_gone_is_a_410() {
    let runs = without_a_head(AgUi::default(), AgUi::text_content("m", "x".repeat(100))).await;
    assert_eq!(runs.attach("1", &get()).await.status(), 410);
}
