//! The example as a process, and traffic on it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

/// A test that waits this long has failed. It does not measure anything.
pub const STUCK: Duration = Duration::from_secs(60);

/// The running example; dropping it kills it.
pub struct Example {
    pub process: Child,
    /// Its output must not be closed while it may still print.
    _output: BufReader<ChildStdout>,
    url: String,
    admin: String,
}

impl Example {
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_observed-example"))
            .env_remove("REDIS_URL")
            .env_remove("INSPECT_TOKEN")
            .envs([("PORT", "0"), ("ADMIN_PORT", "0")])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut url = |before: &str, after: &str| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            let url = line.trim().strip_prefix(before).and_then(|line| line.strip_suffix(after));
            url.unwrap_or_else(|| panic!("not {line:?}")).to_owned()
        };
        let (url, admin) = (url("listening on ", ""), url("metrics on ", "/metrics"));
        Self { process, _output: output, url, admin }
    }

    /// Where Prometheus finds the page of metrics.
    pub fn target(&self) -> &str {
        self.admin.strip_prefix("http://").unwrap()
    }

    pub async fn metrics(&self) -> String {
        let (status, page) = get(&format!("{}/metrics", self.admin)).await;
        assert_eq!(status, 200);
        page
    }

    /// The answer to a probe.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.admin)).await
    }

    /// The status of the page for operators, or of what the page reads, and the answer.
    pub async fn inspect(&self, path: &str, authorization: Option<&str>) -> (u16, String) {
        let request = Request::get(format!("{}/inspect{path}", self.admin));
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        let response = send(request, "").await;
        (response.status().as_u16(), body(response).await)
    }

    /// Opens a stream.
    pub async fn read(&self, channel: &str, last_event_id: Option<&str>) -> Reader {
        let mut request = Request::get(format!("{}/sse/{channel}", self.url));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Reader { response: send(request, "").await, text: String::new() }
    }

    /// Publishes, and returns the id.
    pub async fn say(&self, channel: &str, text: &str) -> String {
        body(send(Request::post(format!("{}/say/{channel}", self.url)), text).await).await
    }

    /// Starts a run, and reads it to its end.
    pub async fn ask(&self, run: &str) -> String {
        body(send(Request::post(format!("{}/ask/{run}", self.url)), "").await).await
    }

    /// Something of everything: readers that come, come back, and have missed events; publishes; a run.
    pub async fn be_busy(&self, round: usize) {
        let mut reader = self.read("news", None).await;
        let id = self.say("news", "1").await;
        reader.until("data: 1").await;
        for n in 0..32 {
            let text = format!("{round}-{n}");
            self.say("news", &text).await;
            reader.until(&text).await;
        }
        self.read("news", Some(&id)).await.until("data: ").await;
        self.read("news", Some("nonsense")).await.until("event: gap").await;
        self.say("news", &"x".repeat(2 << 20)).await;
        assert!(self.ask(&format!("run-{round}")).await.contains("run.outcome"));
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The open stream of a reader.
pub struct Reader {
    response: Response<Incoming>,
    text: String,
}

impl Reader {
    /// Reads on until this text has come.
    pub async fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let frame = timeout(STUCK, self.response.frame()).await.expect("it comes").expect("it goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    pub async fn until_the_end(mut self) {
        while timeout(STUCK, self.response.frame()).await.expect("it ends").is_some() {}
    }
}

pub async fn get(url: &str) -> (u16, String) {
    let response = send(Request::get(url), "").await;
    (response.status().as_u16(), body(response).await)
}

async fn send(request: hyper::http::request::Builder, body: &str) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = request.body(Bytes::copy_from_slice(body.as_bytes()).into()).unwrap();
    timeout(STUCK, client.request(request)).await.expect("it answers").unwrap()
}

async fn body(response: Response<Incoming>) -> String {
    let body = timeout(STUCK, response.into_body().collect()).await.expect("it ends").unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
}
