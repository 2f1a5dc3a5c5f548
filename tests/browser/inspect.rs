//! The page of `Inspect`.

use axum::Router;
use serde_json::json;
use tokio::net::TcpListener;
use tower_sse::{
    ChannelName, ClientId, Denied, EndReason, Event, EventName, Grant, Inspect, InspectGrant, InspectRequest,
    Publisher, Subscription, inspect_authorizer_fn,
};

use crate::driver::Browser;

/// Names and data that would run a script if they were markup, in an element, in an attribute, in a script or in a URL.
const HOSTILE: [&str; 4] = [
    "<img src=x onerror=\"window.hacked=1\">",
    "\"'><script>window.hacked=1</script>",
    "</script><svg onload=window.hacked=1>",
    "javascript:window.hacked=1//&lt;b&gt;${window.hacked=1}",
];

/// A hub, and a browser on its page, whose user has the password `pass:word`.
struct World {
    browser: Browser,
    publisher: Publisher,
}

impl World {
    async fn start(grant: InspectGrant, path: &str) -> Option<Self> {
        let browser = Browser::start().await?;
        let publisher = Publisher::new();
        let authorizer = inspect_authorizer_fn(move |request: InspectRequest| {
            // `admin:secret`
            let known = request.headers().get("authorization").is_some_and(|value| value == "Basic YWRtaW46c2VjcmV0");
            let challenge = http::HeaderValue::from_static("Basic realm=\"inspect\"");
            let answer = if known { Ok(grant.clone()) } else { Err(Denied::unauthorized().challenge(challenge)) };
            std::future::ready(answer)
        });
        let app = Router::new().nest_service("/admin/inspect", Inspect::new(publisher.clone(), authorizer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async { axum::serve(listener, app).await });
        browser.open(&format!("http://admin:secret@127.0.0.1:{port}{path}")).await;
        Some(Self { browser, publisher })
    }

    async fn read(&self, channel: &str, client: &str) -> Subscription {
        let grant = Grant::new([ChannelName::try_from(channel).unwrap()]).client(ClientId::try_from(client).unwrap());
        Subscription::open(&self.publisher, grant).await.unwrap()
    }

    /// Lists the channels again.
    async fn list(&self) {
        self.browser.click("#search-form button").await;
    }

    /// Waits for a row of a table whose cells contain the texts, and presses the button in it.
    async fn press(&self, table: &str, texts: &[&str]) {
        let row = format!(
            "[...document.querySelectorAll('#{table} tbody tr')].find((row) =>
                {}.every((text) => [...row.cells].some((cell) => cell.textContent === text)))",
            json!(texts)
        );
        self.browser.until(&row).await;
        self.browser.run(&format!("setTimeout(() => {row}.querySelector('button').click())"), vec![]).await;
    }

    async fn until_text(&self, id: &str, text: &str) {
        self.browser.until(&format!("document.getElementById('{id}').textContent === {}", json!(text))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_who_reads_a_channel_and_ends_a_client() {
    let all = InspectGrant::new().allow_events().allow_disconnect();
    // Without a slash at the end, and with one.
    for path in ["/admin/inspect", "/admin/inspect/"] {
        let Some(world) = World::start(all.clone(), path).await else { return };
        world.until_text("state", "The node is ready.").await;
        let mut ana = [world.read("chat/é 1", "ana").await, world.read("news", "ana").await];
        let bob = world.read("chat/é 1", "bob").await;
        let done = Event::text("two\nlines").name(EventName::from_static("done"));
        world.publisher.channel("chat/é 1").send(done).await.unwrap();
        world.list().await;
        world.press("channels", &["chat/é 1", "2", "open"]).await;
        world.until_text("channel-title", "Channel chat/é 1").await;
        world.browser.click("#events-form button[value=newest]").await;
        world.browser.until("document.querySelector('#events tbody tr')").await;
        assert_eq!(
            world.browser.texts("#events td:nth-child(2), #events td:nth-child(3)").await,
            ["done", "two\nlines"]
        );
        // The rate of what was published shows, once there is a second look.
        world
            .browser
            .until("[...document.querySelectorAll('#numbers tr')].some((row) => row.cells[2].textContent > '0')")
            .await;

        world.press("readers", &["ana"]).await;
        let mut asked = world.browser.client.get_alert_text().await;
        while asked.is_err() {
            asked = world.browser.client.get_alert_text().await;
        }
        assert_eq!(asked.unwrap(), "End all connections of client ana, on all channels?");
        world.browser.client.accept_alert().await.unwrap();
        world.until_text("report", "Ended 2 connections of client ana on this node.").await;
        assert_eq!(world.publisher.connections(), 1);
        for reader in &mut ana {
            while futures_util::StreamExt::next(reader).await.is_some() {}
            assert_eq!(reader.end_reason(), Some(EndReason::Disconnected));
        }
        world.browser.until("document.querySelectorAll('#readers tbody tr').length === 1").await;
        // A reload shows the same channel again.
        world.browser.client.refresh().await.unwrap();
        world.until_text("channel-title", "Channel chat/é 1").await;
        drop(bob);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_data_are_text_on_the_page() {
    let all = InspectGrant::new().allow_events().allow_disconnect();
    let Some(world) = World::start(all, "/admin/inspect/").await else { return };
    world.until_text("state", "The node is ready.").await;
    let watch = "window.violations = [];
        document.addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));";
    world.browser.run(watch, vec![]).await;
    let mut readers = Vec::new();
    for text in HOSTILE {
        readers.push(world.read(text, text).await);
        let event = Event::text(text).name(EventName::try_from(text).unwrap());
        world.publisher.channel(text).send(event).await.unwrap();
    }
    for text in HOSTILE {
        world.list().await;
        world.press("channels", &[text, "1"]).await;
        world.until_text("channel-title", &format!("Channel {text}")).await;
        world.browser.click("#events-form button[value=start]").await;
        world
            .browser
            .until(&format!("document.querySelector('#events td:nth-child(3)')?.textContent === {}", json!(text)))
            .await;
        assert_eq!(world.browser.texts("#events td:nth-child(2)").await, [text]);
        assert_eq!(world.browser.texts("#readers td:first-child").await, [text]);
        // Its address is no way in either.
        world.browser.client.refresh().await.unwrap();
        world.until_text("channel-title", &format!("Channel {text}")).await;
        world.press("readers", &[text]).await;
        while world.browser.client.dismiss_alert().await.is_err() {}
    }
    world.browser.run(watch, vec![]).await;
    assert_eq!(world.browser.texts("img, svg, main script, main b").await, [""; 0]);
    assert_eq!(world.browser.run("return window.hacked ?? null", vec![]).await, json!(null));
    assert_eq!(world.publisher.connections(), HOSTILE.len(), "nobody was ended");

    // If something got in as markup nevertheless, the browser would not run it.
    let run = "try {
            document.getElementById('report').insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">');
        } catch (error) { window.refused = error.name; }
        const script = document.createElement('script');
        try { script.textContent = 'window.hacked = 1'; document.body.append(script); } catch (error) {}
        fetch('http://localhost:1/').catch(() => { window.refusedToSend = true; });";
    world.browser.run(run, vec![]).await;
    world.browser.until("window.refused === 'TypeError' && window.refusedToSend").await;
    world.browser.until("violations.some((directive) => directive.startsWith('connect-src'))").await;
    assert_eq!(world.browser.run("return window.hacked ?? null", vec![]).await, json!(null));
    drop(readers);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_only_what_the_grant_allows() {
    let Some(world) = World::start(InspectGrant::new(), "/admin/inspect").await else { return };
    let reader = world.read("chat", "ana").await;
    world.until_text("state", "The node is ready.").await;
    world.list().await;
    world.press("channels", &["chat", "1"]).await;
    world.browser.until("document.querySelector('#readers tbody tr')").await;
    assert_eq!(world.browser.texts("#readers td:last-child").await, [""]);
    let hidden = "['events-part', 'end-part'].every((id) => document.getElementById(id).offsetParent === null)";
    assert_eq!(world.browser.run(&format!("return {hidden}"), vec![]).await, json!(true));
    drop(reader);
}

/// What every reader of a screen needs: names for all controls and tables' headers, and a focus that follows.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_used_without_a_mouse_or_eyes() {
    let all = InspectGrant::new().allow_events().allow_disconnect();
    let Some(world) = World::start(all, "/admin/inspect").await else { return };
    let reader = world.read("chat", "ana").await;
    world.until_text("state", "The node is ready.").await;
    world.browser.fill("search", "hat").await;
    world.browser.enter("search").await;
    world.press("channels", &["chat"]).await;
    world.browser.until("document.activeElement.id === 'channel-title'").await;
    world.browser.until("document.querySelector('#readers tbody tr')").await;
    let nameless = "return [...document.querySelectorAll('button, input, select')].filter((control) =>
        !control.labels?.length && !control.getAttribute('aria-label') && !control.textContent.trim())
        .map((control) => control.id)";
    assert_eq!(world.browser.run(nameless, vec![]).await, json!([]));
    let headless = "return [...document.querySelectorAll('table')].filter((table) =>
        [...table.tHead.rows[0].cells].some((cell) => cell.scope !== 'col' || !cell.textContent.trim())).length";
    assert_eq!(world.browser.run(headless, vec![]).await, json!(0));
    assert_eq!(world.browser.run("return document.documentElement.lang", vec![]).await, json!("en"));
    drop(reader);
}
