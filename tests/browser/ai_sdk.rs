//! The page of the example `ai_sdk`: `useChat({ resume: true })` from npm.

use std::{env, fs, io::Write as _, path::Path};

use serde_json::Value;

use crate::{driver::Browser, example::Example};

/// The hook's status, and the text of the last message if it is an answer.
const LAST: &str = "(() => {
    const state = document.querySelector('main')?.dataset.status;
    const message = [...document.querySelectorAll('article')].at(-1);
    const parts = message?.className === 'assistant' ? [...message.querySelectorAll('p')] : [];
    return { state, text: parts.map((p) => p.textContent).join('') };
})()";

/// Starts the browser and the example, if both are there. `pace` is the time from one token to the next, in milliseconds.
async fn start(pace: &str) -> Option<(Browser, Example)> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    if !target.join("ai_sdk/page.js").exists() {
        let required = env::var_os("TOWER_SSE_REQUIRE_BROWSER").is_some_and(|value| value == "1");
        assert!(!required, "the page is not bundled");
        // Not with `eprintln`, which the test harness hides when a test passes.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test of useChat, whose page examples/ai_sdk/bundle makes\n");
        return None;
    }
    let browser = Browser::start().await?;
    let example = Example::start("ai_sdk", &[("TOKEN_MS", pace)]);
    browser.open(&example.url("/")).await;
    browser.until("document.getElementById('prompt')").await;
    Some((browser, example))
}

/// Waits until the hook has this status and an answer of at least this length, and returns the answer.
async fn until(browser: &Browser, status: &str, length: usize) -> String {
    browser.until_answer(LAST, status, length).await
}

/// The text of the chat's last answer as the server has it.
async fn held(browser: &Browser, example: &Example) -> String {
    let url = browser.client.current_url().await.unwrap();
    let (_, chat) = url.query_pairs().find(|(name, _)| name == "chat").unwrap();
    let body = example.get(&format!("/api/chat/{chat}/stream")).await;
    let parts = body.lines().filter_map(|line| line.strip_prefix("data: {"));
    let deltas = parts.map(|part| serde_json::from_str::<Value>(&format!("{{{part}")).unwrap()["delta"].take());
    deltas.filter_map(|delta| delta.as_str().map(str::to_owned)).collect()
}

async fn messages(browser: &Browser) -> usize {
    browser.texts("article").await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn use_chat_gets_the_exact_text_and_shows_the_models_error() {
    let Some((browser, example)) = start("2").await else { return };
    browser.ask("“<b>” & why?").await;
    let text = until(&browser, "ready", 100).await;
    assert!(text.starts_with("You asked: ““<b>” & why?”"), "{text}");
    assert_eq!(text, held(&browser, &example).await);

    browser.ask("Fail, please").await;
    let half = until(&browser, "error", 20).await;
    assert_eq!(half, held(&browser, &example).await);
    assert_eq!(browser.texts(".error span").await, ["The model is overloaded. (You asked it to be.)"]);
    // Retrying starts another run of the chat.
    browser.click(".error button").await;
    browser.until(&format!("{LAST}.state !== 'error'")).await;
    assert_eq!(until(&browser, "error", 20).await, half);
    assert_eq!(messages(&browser).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn use_chat_resumes_the_answer_of_its_chat_when_the_page_is_reloaded() {
    let Some((browser, example)) = start("20").await else { return };
    browser.ask("Are you still there?").await;
    let text = browser.until_answer_over_reloads(LAST, "ready", 500).await;
    assert_eq!(text, held(&browser, &example).await);
    assert_eq!(messages(&browser).await, 2);

    // A page that loads after the end shows the answer exactly once.
    browser.client.refresh().await.unwrap();
    assert_eq!(until(&browser, "ready", 500).await, text);
    assert_eq!(messages(&browser).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn use_chat_in_a_second_tab_follows_an_answer_and_a_stop_ends_it_in_both() {
    let Some((browser, example)) = start("5").await else { return };
    browser.ask("A long story").await;
    until(&browser, "streaming", 100).await;

    let [first, _] = browser.second_tab().await;
    until(&browser, "streaming", 200).await;
    browser.click("#stop").await;
    let there = until(&browser, "ready", 200).await;
    browser.go_to(&first).await;
    let here = until(&browser, "ready", 200).await;
    assert_eq!(here, there);
    assert_eq!(here, held(&browser, &example).await);
    assert_eq!(browser.texts(".error").await, [""; 0]);

    browser.ask("And now?").await;
    let text = until(&browser, "ready", 500).await;
    assert!(text.starts_with("You asked: “And now?”"), "{text}");
    assert_eq!(messages(&browser).await, 4);
}

#[test]
fn the_ai_sdk_backend_takes_at_most_25_lines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ai_sdk/main.rs");
    let example = fs::read_to_string(path).unwrap();
    let (_, protocol) = example.split_once("// --- the protocol").unwrap();
    let (protocol, _) = protocol.split_once("\n// ---").unwrap();
    let lines = protocol.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 25, "{lines} lines");
}
