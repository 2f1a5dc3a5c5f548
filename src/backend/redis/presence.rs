//! Who is connected, on all nodes.

use std::collections::{HashMap, HashSet};

use redis::Value;

use super::{Inner, held::millis, value};
use crate::{
    backend::{Connected, Presence, Streams},
    error::BackendError,
    sync::{Mutex, lock},
    wire::name::ChannelName,
};

/// How many channels, or nodes, one command is about.
const AT_ONCE: usize = 250;

/// What a node has reported, as far as Redis has taken it: each channel with its clients, and each
/// [holder](field_of) with its streams.
#[derive(Default)]
pub(super) struct Said {
    /// The node that has reported last.
    node: u64,
    fields: HashMap<String, String>,
    /// The fields that were written apart from a report, so that it is not known what they have.
    touched: HashSet<String>,
}

/// Returns the field of a holder's streams. No channel's name begins like this.
fn field_of(holder: &str) -> String {
    format!("\0{holder}")
}

/// A field that is being written apart from a report. Even if that fails, or if nobody waits for the answer any more, it
/// may happen, before or after a report that is on its way.
struct Touched<'a> {
    said: &'a Mutex<Said>,
    field: String,
}

impl Drop for Touched<'_> {
    fn drop(&mut self) {
        lock(self.said).touched.insert(std::mem::take(&mut self.field));
    }
}

impl Inner {
    /// Reports what has changed since the last time, or everything if Redis has forgotten the last report.
    pub(super) async fn refresh(&self, present: Presence) -> Result<(), BackendError> {
        let clients = present.channels.into_iter();
        let clients = clients.map(|(channel, clients)| (channel.as_str().to_owned(), value::write_clients(clients)));
        let streams = present.streams.into_iter().map(|(holder, open)| (field_of(&holder), open.to_string()));
        let now: HashMap<_, _> = clients.chain(streams).collect();
        let Said { node, fields, touched } = std::mem::take(&mut *lock(&self.said));
        let before = if node == present.node { fields } else { HashMap::new() };
        let gone = before.keys().chain(&touched).filter(|field| !now.contains_key(*field)).map(|field| (field, ""));
        let is_new =
            |(field, value): &(&String, &String)| touched.contains(*field) || before.get(*field) != Some(*value);
        let changes: Vec<_> =
            gone.chain(now.iter().filter(is_new).map(|(field, value)| (field, value.as_str()))).collect();
        let mut known = !before.is_empty();
        if known {
            known = self.say(present.node, &changes, true).await?;
        }
        if !known {
            let all: Vec<_> = now.iter().map(|(field, value)| (field, value.as_str())).collect();
            let (first, rest) = all.split_at(all.len().min(AT_ONCE));
            self.say(present.node, first, false).await?;
            self.say(present.node, rest, true).await?;
        }
        let mut said = lock(&self.said);
        (said.node, said.fields) = (present.node, now);
        Ok(())
    }

    /// Counts a holder's streams, unless there would be too many.
    pub(super) async fn count(&self, streams: Streams) -> Result<bool, BackendError> {
        let touched = Touched { said: &self.said, field: field_of(&streams.holder) };
        let mut ask = self.scripts.count.key(self.keys.nodes());
        ask.key(self.keys.node(streams.node));
        ask.arg(streams.node).arg(millis(Presence::EVERY * 3)).arg(self.keys.of_nodes());
        ask.arg(&touched.field).arg(streams.open).arg(streams.max.map(|max| max.to_string()).unwrap_or_default());
        Ok(self.link.ask(&ask).await? != Value::Int(0))
    }

    /// Reports some of the changes, in pieces. Returns `false` if Redis has forgotten the last report.
    async fn say(&self, node: u64, changes: &[(&String, &str)], known: bool) -> Result<bool, BackendError> {
        let none: &[_] = &[];
        let pieces = if changes.is_empty() { vec![none] } else { changes.chunks(AT_ONCE).collect() };
        for piece in pieces {
            let mut ask = self.scripts.refresh.key(self.keys.nodes());
            ask.key(self.keys.node(node));
            ask.arg(node).arg(millis(Presence::EVERY * 3)).arg(u8::from(known));
            for (field, value) in piece {
                ask.arg(*field).arg(*value);
            }
            if self.link.ask(&ask).await? != Value::Int(1) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn present(&self, channel: ChannelName) -> Result<Connected, BackendError> {
        let nodes = self.link.ask(&self.scripts.nodes.key(self.keys.nodes())).await?;
        let mut present = Vec::new();
        for nodes in value::list(&nodes).chunks(AT_ONCE) {
            let mut ask = redis::pipe();
            for node in nodes.iter().filter_map(|node| value::text(node)?.parse().ok()) {
                ask.cmd("HGET").arg(self.keys.node(node)).arg(channel.as_str());
            }
            if !ask.is_empty() {
                present.extend_from_slice(value::list(&self.link.run(&ask).await?));
            }
        }
        Ok(value::read_present(&present))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::Redis;

    #[tokio::test]
    async fn a_count_that_is_given_up_is_corrected_by_the_next_report() {
        // Nobody answers there.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redis = Redis::new(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
        let streams = Streams::new(1, "ana".into(), 1, Some(1));
        assert!(redis.0.count(streams).now_or_never().is_none());
        assert!(lock(&redis.0.said).touched.contains(&field_of("ana")));
    }
}
