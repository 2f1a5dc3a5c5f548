//! The page of the example `agent`: an answer outlives the page, its end shows in every tab, and nothing ends in silence.

use fantoccini::{Locator, key::Key};
use serde_json::json;

use crate::{driver::Browser, example::Example};

/// The state of the last answer, and its text.
const LAST: &str = "(() => {
    const answer = [...document.querySelectorAll('.answer')].at(-1);
    return answer && { state: answer.className.replace('answer ', ''), text: answer.querySelector('.text').textContent };
})()";

/// Starts the example. `pace` is the time from one token to the next, in milliseconds.
fn agent(pace: &str) -> Example {
    Example::start("agent", &[("TOKEN_MS", pace)])
}

/// Kills the server without warning, and starts another one in its place.
fn killed_and_started_again(agent: Example) -> Example {
    let port = agent.port.to_string();
    drop(agent);
    Example::start("agent", &[("TOKEN_MS", "5"), ("PORT", &port)])
}

/// Waits until the last answer has this state and at least this length, and returns its text.
async fn until(browser: &Browser, state: &str, length: usize) -> String {
    browser.until_answer(LAST, state, length).await
}

/// The text of the page's last answer as the server has it.
async fn held(browser: &Browser, agent: &Example) -> String {
    let run = browser.run("return [...document.querySelectorAll('.answer')].at(-1).dataset.run", vec![]).await;
    let body = agent.get(&format!("/runs/{}", run.as_str().unwrap())).await;
    body.split("\n\n").filter(|event| !event.starts_with("event: ")).map(data).collect()
}

/// The data of an event.
fn data(event: &str) -> String {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_whole_and_a_failure_shows_its_reason() {
    let Some(browser) = Browser::start().await else { return };
    let agent = agent("2");
    browser.open(&agent.url("/")).await;
    browser.ask("<img src=x onerror=alert(1)> & “why”?").await;
    let text = until(&browser, "done", 100).await;
    assert!(text.starts_with("You asked: “<img src=x onerror=alert(1)> & “why”?”"), "{text}");
    assert_eq!(text, held(&browser, &agent).await);
    assert_eq!(browser.texts(".asked").await, ["<img src=x onerror=alert(1)> & “why”?"]);
    assert_eq!(browser.texts(".notice").await, [""; 0]);
    // A screen reader announces the answer.
    assert_eq!(browser.texts("#status").await, [format!("Answer: {text}")]);

    browser.ask("Fail, please").await;
    let half = until(&browser, "failed", 10).await;
    assert_eq!(half, held(&browser, &agent).await);
    assert_eq!(browser.texts(".notice p").await, ["The model is overloaded. (You asked it to be.)"]);

    // Escape stops the answer.
    browser.ask("Something long").await;
    until(&browser, "streaming", 1).await;
    let prompt = browser.client.find(Locator::Id("prompt")).await.unwrap();
    prompt.send_keys(&char::from(Key::Escape).to_string()).await.unwrap();
    until(&browser, "stopped", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tab_follows_an_answer_and_stops_it_in_both() {
    let Some(browser) = Browser::start().await else { return };
    let agent = agent("5");
    browser.open(&agent.url("/")).await;
    browser.ask("A long story").await;
    until(&browser, "streaming", 50).await;

    let [first, second] = browser.second_tab().await;
    let there = until(&browser, "streaming", 100).await;
    assert!(there.starts_with("A long story, then."), "{there}");
    browser.click("#stop").await;
    let there = until(&browser, "stopped", 100).await;
    browser.go_to(&first).await;
    let here = until(&browser, "stopped", 100).await;
    assert_eq!(here, there);
    assert_eq!(here, held(&browser, &agent).await);

    // A question that one tab asks shows in both.
    browser.ask("And now?").await;
    let here = until(&browser, "done", 100).await;
    browser.go_to(&second).await;
    assert_eq!(until(&browser, "done", 100).await, here);
    assert_eq!(browser.texts(".asked").await, ["A long story", "And now?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reloads_during_an_answer_loses_nothing() {
    let Some(browser) = Browser::start().await else { return };
    let agent = agent("20");
    browser.open(&agent.url("/")).await;
    browser.ask("Are you still there?").await;
    let text = browser.until_answer_over_reloads(LAST, "done", 100).await;
    assert_eq!(text, held(&browser, &agent).await);
    assert_eq!(browser.texts(".asked").await, ["Are you still there?"]);
    assert_eq!(browser.texts(".notice").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_a_killed_server_lost_the_answer() {
    let Some(browser) = Browser::start().await else { return };
    let agent = agent("5");
    browser.open(&agent.url("/")).await;
    browser.ask("A long story").await;
    until(&browser, "streaming", 20).await;
    let agent = killed_and_started_again(agent);
    let half = until(&browser, "gone", 20).await;
    assert!(half.starts_with("A long story, then."), "what has arrived stays: {half}");
    let told = browser.texts(".notice p").await;
    assert!(told.len() == 1 && told[0].contains("the answer is lost"), "{told:?}");

    // A page that loads after that says so, too.
    browser.client.refresh().await.unwrap();
    browser.until("document.querySelector('.notice')").await;
    let told = browser.texts(".notice p").await;
    assert!(told.len() == 1 && told[0].contains("does not have this chat"), "{told:?}");

    // The chat still works.
    browser.ask("A long story").await;
    until(&browser, "streaming", 20).await;
    let _agent = killed_and_started_again(agent);
    until(&browser, "gone", 20).await;
    browser.click(".again").await;
    until(&browser, "streaming", 20).await;
    assert_eq!(browser.texts(".asked").await, ["A long story"; 2]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_a_deploy_cut_the_answer_short() {
    let Some(browser) = Browser::start().await else { return };
    let mut agent = agent("5");
    browser.open(&agent.url("/")).await;
    browser.ask("A long story").await;
    until(&browser, "streaming", 20).await;
    let pid = agent.process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    until(&browser, "drained", 20).await;
    assert_eq!(browser.texts(".notice p").await, ["The server was shut down before the answer was complete."]);
    let status = tokio::task::spawn_blocking(move || agent.process.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_server_does_not_receive_stays_in_its_field() {
    let Some(browser) = Browser::start().await else { return };
    let agent = agent("5");
    browser.open(&agent.url("/")).await;
    drop(agent);
    browser.ask("Anybody there?").await;
    browser.until("document.getElementById('report').textContent").await;
    let value = browser.run("return document.getElementById('prompt').value", vec![]).await;
    assert_eq!(value, json!("Anybody there?"));
}
