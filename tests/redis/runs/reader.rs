//! Reads a run, on one node after the other, and records what it gets.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{Cluster, common::Random, http::request};

/// A node that does not answer for this long is stopped.
const PATIENCE: Duration = Duration::from_secs(2);
/// A reader that gets nothing for this long, and not the outcome either, has lost its run.
const STUCK: Duration = Duration::from_secs(40);

/// What a reader got.
#[derive(Debug)]
pub struct Seen {
    pub run: String,
    /// Ids and texts.
    pub events: Vec<(String, String)>,
    pub gaps: usize,
    pub outcome: Option<Told>,
    /// The reader left before it got the outcome.
    pub has_left: bool,
    /// The reader waited too long for the end, or was told that there is nothing more.
    pub is_stuck: bool,
    pub connections: usize,
}

/// How the run ended.
#[derive(Debug, Clone)]
pub struct Told {
    pub outcome: String,
    pub id: String,
    pub at: std::time::Instant,
    /// When the connection was answered on which it came, and by which node.
    pub since: std::time::Instant,
    pub node: usize,
}

pub struct Reader<'a> {
    cluster: &'a Cluster,
    seen: Seen,
    last_id: Option<String>,
    /// When the reader got something.
    got: Instant,
}

/// Reads some of the runs, one after the other.
pub async fn read_some(cluster: Arc<Cluster>, mut random: Random) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !cluster.is_over() {
        sleep(Duration::from_millis(random.below(100))).await;
        let id = {
            let ledger = cluster.ledger();
            let started = |id: &&String| ledger.runs[*id].started > 0;
            let recent: Vec<_> = ledger.ids.iter().rev().take(12).filter(started).cloned().collect();
            match recent.len() {
                0 => continue,
                count => recent[random.below(count as u64) as usize].clone(),
            }
        };
        seen.push(Reader::new(&cluster, &id).go_on(&mut random).await);
    }
    seen
}

/// Reads all that is held of a run, if there is one.
pub async fn read_whole(cluster: &Cluster, random: &mut Random, id: &str) -> Seen {
    let mut reader = Reader::new(cluster, id);
    while reader.seen.outcome.is_none() && reader.got.elapsed() < STUCK {
        let status = reader.connect(random, false).await;
        // The run ended without an outcome, or never existed.
        if status == Some(204) || status == Some(404) && cluster.ledger().runs[id].started == 0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    reader.seen
}

impl<'a> Reader<'a> {
    pub fn new(cluster: &'a Cluster, id: &str) -> Self {
        let (run, events) = (id.to_owned(), Vec::new());
        let seen = Seen { run, events, gaps: 0, outcome: None, has_left: false, is_stuck: false, connections: 0 };
        Self { cluster, seen, last_id: None, got: Instant::now() }
    }

    /// Reads until the run has ended, or until the reader has had enough.
    pub async fn go_on(mut self, random: &mut Random) -> Seen {
        while self.seen.outcome.is_none() {
            if random.below(12) == 0 {
                self.seen.has_left = true;
                break;
            }
            if self.got.elapsed() > STUCK {
                self.seen.is_stuck = true;
                break;
            }
            // Nothing is left, and there was no outcome.
            if self.connect(random, true).await == Some(204) {
                self.seen.is_stuck = true;
                break;
            }
            sleep(Duration::from_millis(random.below(50))).await;
        }
        self.seen
    }

    /// Reads for some time, on some node. Returns the status of the answer.
    async fn connect(&mut self, random: &mut Random, moves: bool) -> Option<u16> {
        let node = self.cluster.any(random);
        let (id, uri) = (self.last_id.clone(), format!("/runs/{}", self.seen.run));
        let header = id.as_deref().map(|id| ("last-event-id", id));
        let asked = timeout(PATIENCE, request(node.port(), "GET", &uri, header, String::new())).await;
        let response = asked.ok().flatten()?;
        let status = response.status().as_u16();
        match status {
            200 if moves => self.take_all(random, node.number, response).await,
            200 => self.take_until(Instant::now() + STUCK / 4, node.number, response).await,
            204 | 404 | 503 => {}
            other => panic!("{other} for {}", self.seen.run),
        }
        Some(status)
    }

    /// Reads an answer until it is time to move on.
    pub async fn take_all(&mut self, random: &mut Random, node: usize, answer: Response<Incoming>) {
        // Some readers stay until they learn that the run is lost.
        let time = match random.below(3) {
            0 => random.below(300),
            1 => random.below(6_000),
            _ => 20_000,
        };
        self.take_until(Instant::now() + Duration::from_millis(time), node, answer).await;
    }

    async fn take_until(&mut self, leave: Instant, node: usize, answer: Response<Incoming>) {
        self.seen.connections += 1;
        let (since, mut body, mut buffer) = (std::time::Instant::now(), answer.into_body(), Vec::new());
        while self.seen.outcome.is_none() {
            let Ok(Some(Ok(frame))) = timeout_at(leave, body.frame()).await else { return };
            buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
            // Only whole events count.
            while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                self.take(std::str::from_utf8(&block).unwrap(), since, node);
            }
        }
    }

    fn take(&mut self, block: &str, since: std::time::Instant, node: usize) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (id, data) = (field("id").unwrap_or_default().to_owned(), field("data").unwrap_or_default().to_owned());
        match field("event") {
            None => self.seen.events.push((id.clone(), data)),
            Some("gap") => self.seen.gaps += 1,
            Some("run.outcome") => {
                let outcome: serde_json::Value = serde_json::from_str(&data).unwrap();
                let outcome = outcome["outcome"].as_str().unwrap().to_owned();
                let (id, at) = (id.clone(), std::time::Instant::now());
                self.seen.outcome = Some(Told { outcome, id, at, since, node });
            }
            // The server told the reader to reconnect.
            Some(_) => {}
        }
        if !id.is_empty() {
            (self.last_id, self.got) = (Some(id), Instant::now());
        }
    }
}
