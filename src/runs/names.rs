//! Which channels the runs are in, by one rule: `run/` and the run's id, `thread/` and the thread's.

use std::time::Duration;

use crate::{error::InvalidText, log::Retention, wire::name::ChannelName};

/// The channel of what the nodes tell each other.
pub(super) const NODES: ChannelName = ChannelName::from_static("runs");
/// The events of a run that are not the application's have names that begin with this.
pub(super) const RESERVED: &str = "run.";

const RUN: &str = "run/";
const THREAD: &str = "thread/";

/// The channel of a run.
pub(super) fn of_run(id: &str) -> Result<ChannelName, InvalidText> {
    of(RUN, id)
}

/// The channel in which the runs of a thread are written down.
pub(super) fn of_thread(id: &str) -> Result<ChannelName, InvalidText> {
    of(THREAD, id)
}

/// The id of the run in a channel.
pub(super) fn run_in(channel: &ChannelName) -> &str {
    channel.as_str().strip_prefix(RUN).unwrap_or(channel.as_str())
}

/// How much of a channel is held, if it is one of these: all of a run until so long after its end, and what was written down
/// last of a thread, unless nobody has started a run for a day.
pub(super) fn retention(channel: &ChannelName, set: Retention, keep: Duration) -> Option<Retention> {
    let name = channel.as_str();
    match () {
        () if name.starts_with(RUN) => Some(set.after_finish(keep)),
        () if name.starts_with(THREAD) => Some(Retention::new().events(1).age(DAY)),
        () if *channel == NODES => Some(Retention::new().age(HOUR)),
        () => None,
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn of(prefix: &str, id: &str) -> Result<ChannelName, InvalidText> {
    // An id that is empty would be a valid name with the prefix.
    let id = ChannelName::try_from(id)?;
    ChannelName::try_from(format!("{prefix}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(feature = "jwt", feature = "publish"))]
    #[test]
    fn no_wildcard_allows_to_publish_to_a_channel_of_runs() {
        for channel in [NODES, of_run("a").unwrap(), of_thread("a").unwrap()] {
            assert!(crate::authorize::is_reserved(&channel), "{channel}");
        }
    }

    #[test]
    fn an_id_makes_one_channel_and_can_be_read_back() {
        let channel = of_run("a/b").unwrap();
        assert_eq!((channel.as_str(), run_in(&channel)), ("run/a/b", "a/b"));
        assert_eq!(of_thread("a").unwrap().as_str(), "thread/a");
        for id in ["", "two\nlines", &"x".repeat(255)] {
            assert!(of_run(id).is_err() && of_thread(id).is_err(), "{id:?}");
        }
    }
}
