//! A browser behind its driver, with what the tests do with it.

use std::{env, io::Write as _, time::Duration};

use fantoccini::{Client, ClientBuilder, Locator, error::CmdError, key::Key};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::engine::{Driver, Engine};

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

/// A browser of its own for each test, with a fresh profile.
pub struct Browser {
    pub client: Client,
    _driver: Driver,
}

impl Browser {
    /// Starts Chromium. If it is not installed, the result is `None`, after saying so loudly, or a panic if
    /// `TOWER_SSE_REQUIRE_BROWSER` is 1.
    pub async fn start() -> Option<Self> {
        Self::of(Engine::Chromium).await
    }

    /// Starts any of the browsers, like `start`.
    pub async fn of(engine: Engine) -> Option<Self> {
        let Some((program, browser)) = engine.programs() else {
            let left_out = format!("{} are not installed", engine.packages());
            assert!(env::var_os("TOWER_SSE_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "{left_out}");
            // Not with `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(std::io::stderr(), "\nLEFT OUT: a browser test, since {left_out}\n");
            return None;
        };
        let mut driver = Driver::start(engine, &program);
        let wanted = engine.capabilities(&browser, &driver.profile);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap_or_else(|error| panic!("{engine:?} starts no session: {error}"));
        driver.session = client.session_id().await.unwrap();
        Some(Self { client, _driver: driver })
    }

    pub async fn open(&self, url: &str) {
        bounded(url, self.client.goto(url)).await;
    }

    /// Waits in the page until a JavaScript expression is truthy, and returns its value. Evaluates it every 10 ms, and
    /// fails after [`SOON`] with the page's text.
    pub async fn until(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const end = performance.now() + {};
             const look = () => {{
                 const value = ({expression});
                 if (value) done({{ value }});
                 else if (performance.now() > end) done({{ page: document.body.innerText }});
                 else setTimeout(look, 10);
             }};
             look();",
            SOON.as_millis()
        );
        // The limit within the page comes first, unless the page hangs.
        let answer = timeout(SOON + Duration::from_secs(5), self.client.execute_async(&script, Vec::new())).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("the browser hangs before {expression}")).unwrap();
        match answer.get_mut("value") {
            Some(value) => value.take(),
            None => panic!("never true: {expression}\n{}", answer["page"].as_str().unwrap_or_default()),
        }
    }

    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        bounded(script, self.client.execute(script, arguments)).await
    }

    /// Replaces the text of the field with that id by typing.
    pub async fn fill(&self, id: &str, text: &str) {
        let field = bounded(id, self.client.find(Locator::Id(id))).await;
        bounded(id, field.clear()).await;
        bounded(id, field.send_keys(text)).await;
    }

    /// Presses Enter in the field with that id, which sends its form.
    pub async fn enter(&self, id: &str) {
        let field = bounded(id, self.client.find(Locator::Id(id))).await;
        bounded(id, field.send_keys(&char::from(Key::Enter).to_string())).await;
    }

    pub async fn click(&self, selector: &str) {
        let element = bounded(selector, self.client.find(Locator::Css(selector))).await;
        bounded(selector, element.click()).await;
    }

    /// The text of each element that a selector finds.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)";
        serde_json::from_value(self.run(script, vec![json!(selector)]).await).unwrap()
    }
}

/// Waits for a driver's answer, which by itself may take minutes, and fails if there is none in time.
async fn bounded<T>(what: &str, asked: impl Future<Output = Result<T, CmdError>>) -> T {
    timeout(SOON, asked).await.unwrap_or_else(|_| panic!("the browser hangs at {what}")).unwrap()
}
