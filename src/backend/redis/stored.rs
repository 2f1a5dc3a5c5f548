//! A door for the fuzz target of this name, which is there for nobody else: what is stored and pushed, as it is read.

use redis::Value;

use super::{keys::Keys, reading::Reading, value};
use crate::{
    backend::{Connected, Held, Message},
    wire::cursor::{Epoch, Offset},
};

/// What is held of a channel, from the reply of the script `read`.
pub fn held(epoch: Epoch, reply: &Value) -> Option<Held> {
    let mut reading = Reading::new(Offset::START);
    reading.begin(epoch, reply)?;
    Some(reading.finish())
}

/// What was pushed to a feed, named without its prefix.
pub fn messages(feed: &str, payload: &[u8]) -> Vec<Message> {
    let channel = Keys::new("hub", 0).and_then(|keys| keys.channel_of(&format!("{{hub}}:{feed}")));
    let pushed = || channel.map(|channel| value::pushed(&channel, payload)).unwrap_or_default();
    value::level(payload).map_or_else(pushed, |level| vec![level])
}

/// Who is connected, from a text of each node.
pub fn present(nodes: &[Value]) -> Connected {
    value::read_present(nodes)
}
