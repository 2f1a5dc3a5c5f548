//! Reads some channels as one client, on one node after the other, and records what it gets.

use std::{collections::HashSet, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Cluster, common::Random, http::request};

/// Keep-alives arrive every second. If nothing arrives for this long, the node is gone.
const SILENCE: Duration = Duration::from_secs(10);

pub fn client_of(reader: usize) -> String {
    format!("client{}", reader % 20)
}

/// What a reader got.
pub struct Seen {
    pub client: String,
    pub channels: Vec<usize>,
    /// The id of where it began.
    pub start: String,
    pub got: Vec<Got>,
    pub connections: usize,
    /// How often nothing arrived for too long.
    pub silences: usize,
    /// Whether it never got the last events.
    pub is_stuck: bool,
}

pub enum Got {
    Event {
        id: String,
        text: String,
    },
    /// An ephemeral event.
    Passed {
        text: String,
    },
    /// Also how many publishes had begun when it came, and the number of the node that it came from.
    Gap {
        id: String,
        reason: String,
        begun: u64,
        node: usize,
    },
}

pub struct Reader {
    cluster: Arc<Cluster>,
    random: Random,
    seen: Seen,
    last_id: Option<String>,
    missing: HashSet<String>,
}

impl Reader {
    pub fn new(cluster: Arc<Cluster>, number: usize) -> Self {
        let mut random = cluster.settings.random(2_000_000 + number as u64);
        let mut channels: Vec<_> =
            (0..=random.below(3)).map(|_| random.below(cluster.settings.channels as u64) as usize).collect();
        channels.sort_unstable();
        channels.dedup();
        let missing = channels.iter().map(|channel| format!("last:{channel}")).collect();
        let client = client_of(number);
        let (start, got) = (String::new(), Vec::new());
        let seen = Seen { client, channels, start, got, connections: 0, silences: 0, is_stuck: false };
        Self { cluster, random, seen, last_id: None, missing }
    }

    pub async fn run(mut self) -> Seen {
        // A reader that gets nothing for minutes after the end has lost something.
        let mut patience = None;
        while !self.missing.is_empty() {
            self.connect().await;
            if self.cluster.is_over() {
                let patience = *patience.get_or_insert_with(|| Instant::now() + Duration::from_secs(90));
                if Instant::now() > patience {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.below(100))).await;
        }
        self.seen.is_stuck = !self.missing.is_empty();
        self.seen
    }

    async fn connect(&mut self) {
        let channels: Vec<_> = self.seen.channels.iter().map(|channel| format!("channel=c{channel}")).collect();
        let uri = format!("/events/{}?{}", self.seen.client, channels.join("&"));
        let node = self.random.below(self.cluster.nodes.all().len() as u64) as usize;
        let port = self.cluster.nodes.all()[node].port();
        let id = self.last_id.clone();
        let header = id.as_deref().map(|id| ("last-event-id", id));
        let Some(response) = request(port, "GET", &uri, header, String::new()).await else { return };
        // It does not use its store for now.
        if response.status() == 503 {
            return;
        }
        if response.status() != 200 {
            panic!("{}", response.status());
        }
        self.seen.connections += 1;
        let mut body = response.into_body();
        let leave = Instant::now() + Duration::from_millis(self.random.below(self.cluster.settings.hop_within));
        let mut buffer = Vec::new();
        while !self.missing.is_empty() {
            let next = timeout(SILENCE, body.frame());
            let frame = match timeout_at(leave, next).await {
                // It is time to move to another node.
                Err(_) => return,
                Ok(Err(_)) => {
                    self.seen.silences += 1;
                    return;
                }
                Ok(Ok(Some(Ok(frame)))) => frame,
                Ok(Ok(_)) => return,
            };
            buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
            // Only whole events count.
            while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                self.take(std::str::from_utf8(&block).unwrap(), node);
            }
        }
    }

    fn take(&mut self, block: &str, node: usize) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(id) = field("id").map(str::to_string) else {
            let text = field("data").expect("an ephemeral event").to_string();
            return self.seen.got.push(Got::Passed { text });
        };
        match (field("event"), field("data")) {
            (Some("cursor"), Some("")) if self.last_id.is_none() => self.seen.start = id.clone(),
            (Some("cursor"), Some("")) => {}
            (Some("gap"), Some(data)) => {
                if self.last_id.is_none() {
                    self.seen.start = id.clone();
                }
                let reason = data.split('"').nth(3).unwrap_or_default();
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                let reason = data["reason"].as_str().unwrap_or(reason).to_string();
                let begun = self.cluster.ledger.lock().unwrap().begun;
                self.seen.got.push(Got::Gap { id: id.clone(), reason, begun, node });
            }
            (None, Some(text)) => {
                self.missing.remove(text);
                self.seen.got.push(Got::Event { id: id.clone(), text: text.to_string() });
            }
            other => panic!("{other:?}"),
        }
        self.last_id = Some(id);
    }
}
