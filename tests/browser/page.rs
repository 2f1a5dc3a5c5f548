//! The page of the example `chat`.

use std::fs;

use serde_json::{Value, json};

use crate::{driver::Browser, example::Example, proxy::Proxy};

const OPEN: &str = "document.getElementById('state').dataset.state === 'open'";
const AGENT_OPEN: &str = "document.getElementById('agent-state').dataset.state === 'open'";

#[tokio::test(flavor = "multi_thread")]
async fn the_form_joins_a_channel_and_events_arrive() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    browser.open(&chat.url("/")).await;
    browser.fill("channel", "lobby/1 é").await;
    browser.fill("client", "ana").await;
    browser.enter("client").await;
    browser.until(OPEN).await;

    let id = chat.publish("/send/lobby%2F1%20%C3%A9", json!({ "n": 1 })).await;
    browser.until("document.getElementById('count').textContent === '1'").await;
    assert_eq!(browser.texts("#events .data").await, [r#"{"n":1}"#]);
    assert_eq!(browser.texts("#events .name").await, ["message"]);
    assert_eq!(browser.texts("#last-id, #events .id").await, [&*id, &*id]);

    // The page does not hear a name that it was not told of; then it does.
    chat.publish("/send/lobby%2F1%20%C3%A9?event=unheard", json!(2)).await;
    browser.run("document.getElementById('listening').open = true", vec![]).await;
    browser.fill("name", "alarm").await;
    browser.enter("name").await;
    chat.publish("/send/lobby%2F1%20%C3%A9?event=alarm", json!(3)).await;
    browser.until("document.getElementById('count').textContent === '2'").await;
    assert_eq!(browser.texts("#events .name").await, ["message", "alarm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reconnects_has_every_event_once_and_in_order() {
    const EVENTS: usize = 240;
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    let network = Proxy::to(chat.port).await;
    browser.open(&format!("http://127.0.0.1:{}/?channel=lobby&client=ana", network.port)).await;
    browser.until(OPEN).await;

    let mut ids = Vec::new();
    for n in 0..EVENTS {
        ids.push(chat.publish("/send/lobby", json!(n)).await);
        match n % 80 {
            // A reader that is cut off before its first event has no id to resume with.
            0 => _ = browser.until("document.getElementById('count').textContent !== '0'").await,
            // In the middle of a burst, so that the cut is between any two bytes.
            30 => network.cut(),
            50 => {
                browser.until("document.getElementById('state').dataset.state === 'reconnecting'").await;
                network.mend(chat.port);
            }
            60 => _ = browser.until(OPEN).await,
            // Everything so far has arrived, and nothing else.
            79 => {
                browser.until(&format!("document.getElementById('count').textContent >= {}", n + 1)).await;
                let numbers: Vec<String> = (0..=n).map(|n| n.to_string()).collect();
                assert_eq!(browser.texts("#events .data").await, numbers);
                assert_eq!(browser.texts("#events .id").await, ids);
            }
            _ => {}
        }
    }
    assert_eq!(browser.texts("#gaps").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_targeted_event_arrives_at_its_client_only() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    let ana = browser.client.window().await.unwrap();
    browser.open(&chat.url("/?channel=lobby&client=ana")).await;
    browser.until(OPEN).await;
    let bo = browser.client.new_window(false).await.unwrap().handle;
    browser.client.switch_to_window(bo.clone()).await.unwrap();
    browser.open(&chat.url("/?channel=lobby&client=bo")).await;
    browser.until(OPEN).await;

    browser.client.switch_to_window(ana.clone()).await.unwrap();
    browser.fill("text", "<img src=x onerror=alert(1)> for bo").await;
    browser.fill("to", "bo").await;
    browser.enter("text").await;
    browser.until("document.getElementById('report').textContent.startsWith('sent as')").await;
    browser.fill("to", "").await;
    browser.fill("text", "for all").await;
    browser.enter("text").await;
    // The page shows what it sends by itself, and none of that comes back to it.
    browser.until("document.querySelectorAll('#events .mine').length === 2").await;
    assert_eq!(browser.texts("#events .data").await, ["<img src=x onerror=alert(1)> for bo", "for all"]);

    browser.client.switch_to_window(bo.clone()).await.unwrap();
    browser.until("document.getElementById('count').textContent === '2'").await;
    assert_eq!(browser.texts("#events .data").await, ["<img src=x onerror=alert(1)> for bo", "for all"]);
    assert_eq!(browser.texts("#events .who").await, ["ana to bo", "ana"]);
    assert_eq!(browser.texts("#events img").await, [""; 0]);

    // Ana learns that Bo types, and Bo does not.
    browser.fill("text", "h").await;
    browser.client.switch_to_window(ana.clone()).await.unwrap();
    browser.until("document.getElementById('typing').textContent === 'bo typing…'").await;
    assert_eq!(browser.texts("#events .data").await.len(), 2, "it is no event of the list");
    browser.client.switch_to_window(bo).await.unwrap();
    assert_eq!(browser.texts("#typing").await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_tokens_assemble_into_its_answer() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    browser.open(&chat.url("/?channel=lobby&client=ana")).await;
    browser.until(AGENT_OPEN).await;
    browser.fill("prompt", "two  spaces, a \"quote\" and 🦀").await;
    browser.enter("prompt").await;
    browser.until("document.querySelector('#runs article:not(.running) .data')").await;
    let answer = "You said: “two  spaces, a \"quote\" and 🦀”. \
        I am only an example, but each of these words came as its own event.";
    assert_eq!(browser.texts("#runs .data").await, [answer]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_shows_as_a_gap() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    let network = Proxy::to(chat.port).await;
    browser.open(&format!("http://127.0.0.1:{}/?channel=lobby&client=ana", network.port)).await;
    browser.until(OPEN).await;
    let id = chat.publish("/send/lobby", json!("before")).await;
    browser.until("document.getElementById('count').textContent === '1'").await;

    drop(chat);
    let chat = Example::chat();
    chat.publish("/send/lobby", json!("held")).await;
    network.mend(chat.port);
    browser.until("document.getElementById('gaps').textContent === '1'").await;
    chat.publish("/send/lobby", json!("after")).await;
    browser.until("document.getElementById('count').textContent === '3'").await;
    let shown = browser.texts("#events .data").await;
    assert_eq!([&*shown[0], &*shown[2], &*shown[3]], [r#""before""#, r#""held""#, r#""after""#]);
    assert!(shown[1].starts_with("Gap (other-epoch)") && shown[1].contains(&id), "{}", shown[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_that_the_token_is_wrong() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::start("chat", &[("AUTH_TOKEN", "s3cret&more=")]);
    browser.open(&chat.url("/?channel=lobby&client=ana&token=guess")).await;
    browser.until("document.getElementById('state').dataset.state === 'refused'").await;
    browser.fill("token", "s3cret&more=").await;
    browser.enter("token").await;
    browser.until(OPEN).await;
    let url: Value = browser.run("return location.search", vec![]).await;
    assert_eq!(url, "?channel=lobby&client=ana", "a token does not stay in the address");
    // The page's forms send the token too.
    browser.fill("text", "hello").await;
    browser.enter("text").await;
    browser.until("document.querySelectorAll('#events .mine').length === 1").await;
    browser.until(AGENT_OPEN).await;
    browser.fill("prompt", "hello").await;
    browser.enter("prompt").await;
    browser.until("document.querySelector('#runs article:not(.running)')").await;
}

/// With `UPDATE_SCREENSHOT` set, it writes `docs/chat.png`.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_photographed_for_the_readme() {
    let Some(browser) = Browser::start().await else { return };
    let chat = Example::chat();
    browser.client.set_window_size(1100, 760).await.unwrap();
    browser.open(&chat.url("/?channel=lobby&client=ana")).await;
    browser.until(OPEN).await;
    browser.until(AGENT_OPEN).await;
    let talk = [
        ("bo", None, "Morning! Did the deploy go out?"),
        ("ana", None, "Ten minutes ago. No reader lost an event: they all resumed."),
        ("bo", Some("ana"), "Nice. (Only you can see this one.)"),
    ];
    for (from, to, text) in talk {
        let query = to.map(|to| format!("?to={to}")).unwrap_or_default();
        let mut message = json!({ "from": from, "text": text });
        if let Some(to) = to {
            message["to"] = to.into();
        }
        chat.publish(&format!("/send/lobby{query}"), message).await;
    }
    browser.run("document.getElementById('listening').open = true", vec![]).await;
    browser.fill("name", "deploy.done").await;
    browser.enter("name").await;
    browser.run("document.getElementById('listening').open = false", vec![]).await;
    chat.publish("/send/lobby?event=deploy.done", json!({ "version": "1.4.2", "took": "38 s" })).await;
    browser.fill("prompt", "What is an event stream?").await;
    browser.enter("prompt").await;
    browser.until("document.querySelector('#runs article:not(.running)')").await;
    browser.until("document.getElementById('count').textContent === '4'").await;
    browser.fill("prompt", "And who keeps the order?").await;
    browser.enter("prompt").await;
    browser.until("document.querySelector('#runs .running .data')?.textContent.length > 60").await;
    let picture = browser.client.screenshot().await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    if std::env::var_os("UPDATE_SCREENSHOT").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/chat.png"), picture).unwrap();
    }
}
