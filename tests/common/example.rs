//! An example as a process, and requests to it.
#![allow(dead_code)]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::time::timeout;

/// A running example; dropping it kills it.
pub struct Example {
    pub process: Child,
    pub port: u16,
    /// What it prints after the line with its port. It must not be closed while the example may still print.
    pub output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts the program that `cargo test` built. `cargo test --test ..` does not build examples: then it is the one
    /// that was built last.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let tests = env::current_exe().unwrap();
        let program = tests.parent().unwrap().with_file_name("examples").join(name);
        let mut process = Command::new(&program)
            .env_remove("AUTH_TOKEN")
            .env_remove("KEEPALIVE_SECS")
            .env("PORT", "0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` builds it", program.display()));
        let (mut output, mut line) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        output.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on http://127.0.0.1:").and_then(|port| port.parse().ok());
        Self { port: port.unwrap_or_else(|| panic!("{name} prints its port, not {line:?}")), process, output }
    }

    pub fn chat() -> Self {
        Self::start("chat", &[])
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Gets a path, which has to succeed, and returns the body's text.
    pub async fn get(&self, path: &str) -> String {
        let response = request(Request::get(self.url(path)), String::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap()
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

impl Drop for Example {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

pub async fn request(builder: http::request::Builder, body: String) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(builder.body(Full::<hyper::body::Bytes>::from(body)).unwrap());
    timeout(Duration::from_secs(20), response).await.expect("the example answers").unwrap()
}
