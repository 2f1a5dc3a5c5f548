//! Who is connected, on all nodes.

use std::collections::HashMap;

use redis::Value;

use super::{Inner, held::millis, value};
use crate::{
    backend::{Connected, Presence},
    error::BackendError,
    sync::lock,
    wire::name::ChannelName,
};

/// How many channels, or nodes, one command is about.
const AT_ONCE: usize = 250;

impl Inner {
    /// Reports what has changed since the last time, or everything if Redis has forgotten the last report.
    pub(super) async fn refresh(&self, present: Presence) -> Result<(), BackendError> {
        let now: HashMap<_, _> =
            present.channels.into_iter().map(|(channel, clients)| (channel, value::write_clients(clients))).collect();
        let (node, before) = std::mem::take(&mut *lock(&self.said));
        let before = if node == present.node { before } else { HashMap::new() };
        let gone = before.keys().filter(|channel| !now.contains_key(*channel)).map(|channel| (channel, ""));
        let new = now.iter().filter(|(channel, clients)| before.get(*channel) != Some(clients));
        let changes: Vec<_> = gone.chain(new.map(|(channel, clients)| (channel, clients.as_str()))).collect();
        let mut known = !before.is_empty();
        if known {
            known = self.say(present.node, &changes, true).await?;
        }
        if !known {
            let all: Vec<_> = now.iter().map(|(channel, clients)| (channel, clients.as_str())).collect();
            let (first, rest) = all.split_at(all.len().min(AT_ONCE));
            self.say(present.node, first, false).await?;
            self.say(present.node, rest, true).await?;
        }
        *lock(&self.said) = (present.node, now);
        Ok(())
    }

    /// Reports some of the changes, in pieces. Returns `false` if Redis has forgotten the last report.
    async fn say(&self, node: u64, changes: &[(&ChannelName, &str)], known: bool) -> Result<bool, BackendError> {
        let none: &[_] = &[];
        let pieces = if changes.is_empty() { vec![none] } else { changes.chunks(AT_ONCE).collect() };
        for piece in pieces {
            let mut ask = self.scripts.refresh.key(self.keys.nodes());
            ask.key(self.keys.node(node));
            ask.arg(node).arg(millis(Presence::EVERY * 3)).arg(u8::from(known));
            for (channel, clients) in piece {
                ask.arg(channel.as_str()).arg(*clients);
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
