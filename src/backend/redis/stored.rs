//! An entry point for the fuzz target of this name only: reads what is stored and pushed.

use redis::Value;

use super::{keys::Keys, reading::Reading, value};
use crate::{
    backend::{Connected, Held, Message},
    wire::cursor::{Epoch, Offset},
};

/// Reads what is held of a channel from the reply of the script `read`.
pub fn held(epoch: Epoch, reply: &Value) -> Option<Held> {
    let mut reading = Reading::new(Offset::START);
    reading.begin(epoch, reply)?;
    Some(reading.finish())
}

/// Reads what was pushed to a feed, which is named without its prefix.
pub fn messages(feed: &str, payload: &[u8]) -> Vec<Message> {
    let channel = Keys::new("hub", 0).and_then(|keys| keys.channel_of(&format!("{{hub}}:{feed}")));
    let pushed = || channel.map(|channel| value::pushed(&channel, payload)).unwrap_or_default();
    value::level(payload).map_or_else(pushed, |level| vec![level])
}

/// Reads who is connected, from the text of each node.
pub fn present(nodes: &[Value]) -> Connected {
    value::read_present(nodes)
}
