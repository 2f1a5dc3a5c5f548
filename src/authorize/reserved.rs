//! Channels in which the crate itself writes, whose events nodes act upon.

use crate::wire::name::ChannelName;

/// The channels of runs. The module of the runs makes these names, and a test there holds this list against it.
const NAMES: [&str; 1] = ["runs"];
const PREFIXES: [&str; 2] = ["run/", "thread/"];

/// Whether only a grant that names the channel exactly allows to publish to it.
pub(crate) fn is_reserved(channel: &ChannelName) -> bool {
    let name = channel.as_str();
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
