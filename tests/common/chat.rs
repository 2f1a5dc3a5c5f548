//! The example `chat` as a process, and requests to it.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::time::timeout;

/// A running `chat`; dropping it kills it.
pub struct Chat {
    pub process: Child,
    pub port: u16,
}

impl Chat {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Cargo builds the examples for `cargo test`, but not for `cargo test --test ..`: then it is the one of last time.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let tests = env::current_exe().unwrap();
        let program = tests.parent().unwrap().with_file_name("examples").join("chat");
        let mut process = Command::new(&program)
            .env_remove("AUTH_TOKEN")
            .env_remove("KEEPALIVE_SECS")
            .env("PORT", "0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` builds it", program.display()));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on http://127.0.0.1:").and_then(|port| port.parse().ok());
        Self { port: port.unwrap_or_else(|| panic!("chat says its port, not {line:?}")), process }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn post(&self, path: &str, body: impl Into<String>) -> (u16, Value) {
        let response = request(Request::post(self.url(path)), body.into()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
    }

    /// Publishes, and returns the id.
    pub async fn publish(&self, path: &str, data: Value) -> String {
        let (status, answer) = self.post(path, data.to_string()).await;
        assert_eq!((status, &answer["status"]), (200, &Value::from("ok")), "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

pub async fn request(builder: http::request::Builder, body: String) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(builder.body(Full::<hyper::body::Bytes>::from(body)).unwrap());
    timeout(Duration::from_secs(20), response).await.expect("chat answers").unwrap()
}
