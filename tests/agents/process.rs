//! A node's process, from outside.

use std::{net::Ipv4Addr, process::Stdio, sync::Mutex, time::Duration};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    node::Settings,
    node_process::NodeProcess,
    protocols::{Script, TOKENS},
    selected,
};

/// The pause between two looks at whether something has happened. The limit of the cell bounds the wait.
const POLL: Duration = Duration::from_millis(2);

/// A node that runs until this is dropped.
pub struct Process {
    pub port: u16,
    node: Mutex<NodeProcess>,
}

impl Process {
    pub fn start(settings: &Settings) -> Self {
        let variables = [("TOWER_SSE_AGENTS_NODE", serde_json::to_string(settings).unwrap())];
        // Producers that fail on purpose panic or log, which is noise unless you look at one column.
        let stderr = if selected().is_some() { Stdio::inherit() } else { Stdio::null() };
        let node = NodeProcess::start("node::serve", &variables, stderr, drop);
        Self { port: node.port, node: Mutex::new(node) }
    }

    /// Kills the node, like `kill -9`.
    pub fn kill(&self) {
        self.node.lock().unwrap().kill();
    }

    /// The address of a protocol.
    pub fn url(&self, protocol: &str) -> String {
        format!("http://127.0.0.1:{}/{protocol}", self.port)
    }

    pub async fn start_run(&self, protocol: &str, script: &Script) {
        let answer = self.request("POST", &format!("/control/start/{protocol}"), &script, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// Waits until the producer of a run has reached its gate.
    pub async fn until_reached(&self, run: &str) {
        self.control("GET", &format!("reached/{run}")).await;
    }

    /// Opens the gate of a run, now or in advance.
    pub async fn open(&self, run: &str) {
        self.control("POST", &format!("open/{run}")).await;
    }

    pub async fn stop(&self, run: &str) {
        self.control("POST", &format!("stop/{run}")).await;
    }

    /// Shuts the node down, and waits until its process has exited.
    pub async fn deploy(&self) {
        self.control("POST", "deploy").await;
        while !self.node.lock().unwrap().has_exited() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until this many connections read a run on this node.
    pub async fn until_read_by(&self, run: &str, readers: usize) {
        while self.control("GET", &format!("readers/{run}")).await.parse() != Ok(readers) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the node has refused this many readers because it had too many.
    pub async fn until_refused(&self, readers: u64) {
        while self.control("GET", "refusals").await.parse::<u64>().unwrap() < readers {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks for a run as a client does, and returns how many bytes there are until the last token.
    pub async fn measure(&self, protocol: &str, path: &str) -> usize {
        let last = TOKENS[TOKENS.len() - 1];
        self.request("GET", &format!("/{protocol}{path}"), &(), last).await.len()
    }

    /// Reads a run until this is dropped.
    pub async fn reader(&self, protocol: &str, path: &str) -> TcpStream {
        let last = TOKENS[TOKENS.len() - 1];
        self.exchange("GET", &format!("/{protocol}{path}"), &(), last).await.1
    }

    async fn control(&self, method: &str, what: &str) -> String {
        let answer = self.request(method, &format!("/control/{what}"), &(), "").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        body.to_owned()
    }

    async fn request(&self, method: &str, path: &str, body: &impl Serialize, until: &str) -> String {
        self.exchange(method, path, body, until).await.0
    }

    /// Reads the answer up to a text, or to its end if the text is empty.
    async fn exchange(&self, method: &str, path: &str, body: &impl Serialize, until: &str) -> (String, TcpStream) {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let body = serde_json::to_string(body).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        server.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while server.read_buf(&mut got).await.is_ok_and(|bytes| bytes > 0) {
            if !until.is_empty() && String::from_utf8_lossy(&got).contains(until) {
                break;
            }
        }
        (String::from_utf8(got).unwrap(), server)
    }
}
