//! Headless Chromium behind chromedriver, and what the tests ask of it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, error::CmdError, key::Key};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::timeout;

/// More than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// A browser of its own for each test, with a fresh profile.
pub struct Browser {
    pub client: Client,
    _driver: Driver,
}

impl Browser {
    /// `None`, said loudly, where there is no browser; a failure where `TOWER_SSE_REQUIRE_BROWSER` is 1.
    pub async fn start() -> Option<Self> {
        let (Some(driver), Some(chromium)) = (
            program(&["chromedriver"]),
            program(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
        ) else {
            let left_out = "chromium and chromedriver are not installed";
            assert!(env::var_os("TOWER_SSE_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "{left_out}");
            // Not by `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(std::io::stderr(), "\nLEFT OUT: a browser test, since {left_out}\n");
            return None;
        };
        let driver = Driver::start(driver);
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,860",
        ];
        let profile = format!("--user-data-dir={}", driver.profile.display());
        let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "goog:chromeOptions": { "binary": chromium, "args": arguments } });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("chromedriver starts a session");
        Some(Self { client, _driver: driver })
    }

    pub async fn open(&self, url: &str) {
        bounded(url, self.client.goto(url)).await;
    }

    /// Waits in the page until the JavaScript expression is true in the sense of that language, and returns it. Looks
    /// again every 10 ms; fails after [`SOON`], with what the page shows.
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
        // The page's own limit comes first, unless it hangs.
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

    /// Types into the field of that id, in place of what is there.
    pub async fn fill(&self, id: &str, text: &str) {
        let field = bounded(id, self.client.find(Locator::Id(id))).await;
        bounded(id, field.clear()).await;
        bounded(id, field.send_keys(text)).await;
    }

    /// Sends the form that the field of that id is in, as the Enter key does.
    pub async fn enter(&self, id: &str) {
        let field = bounded(id, self.client.find(Locator::Id(id))).await;
        bounded(id, field.send_keys(&char::from(Key::Enter).to_string())).await;
    }

    /// The text of all elements that the selector finds.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)";
        serde_json::from_value(self.run(script, vec![json!(selector)]).await).unwrap()
    }
}

/// What the driver answers, or a failure: by itself it waits for minutes.
async fn bounded<T>(what: &str, asked: impl Future<Output = Result<T, CmdError>>) -> T {
    timeout(SOON, asked).await.unwrap_or_else(|_| panic!("the browser hangs at {what}")).unwrap()
}

/// The process; dropping it ends it and the browser that it started.
struct Driver {
    process: Child,
    port: u16,
    profile: PathBuf,
}

impl Driver {
    /// Now and then one ends before it says its port: then another is started, twice at most.
    fn start(program: PathBuf) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = env::temp_dir().join(format!("tower-sse-browser-{}-{count}", std::process::id()));
        fs::create_dir_all(&profile).unwrap();
        let mut ended = Vec::new();
        while ended.len() < 3 {
            match Self::listen(&program) {
                Ok((process, port)) => return Self { process, port, profile },
                Err(said) => ended.push(said),
            }
        }
        panic!("three chromedrivers ended before they said their ports: {ended:#?}");
    }

    /// A process and its port; or its status and what it said, if it ended.
    fn listen(program: &Path) -> Result<(Child, u16), String> {
        let mut process = Command::new(program).arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = String::new();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            line.rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let Some(port) = port else {
            _ = process.kill();
            return Err(format!("{}: {said}", process.wait().unwrap()));
        };
        // It goes on talking, and must not find the pipe closed.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((process, port))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Killing the driver would leave the browser behind.
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            // One that hangs is killed; the browser may be left.
            _ = stream.set_read_timeout(Some(SOON));
            _ = write!(stream, "GET /shutdown HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
            _ = stream.read_to_end(&mut Vec::new());
        }
        _ = self.process.kill();
        _ = self.process.wait();
        _ = fs::remove_dir_all(&self.profile);
    }
}

/// The first of the names that is a file on the `PATH`.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}
