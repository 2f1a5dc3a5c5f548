//! The requests to a feed that are not done yet: which channels to watch, and which to unwatch.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{backend::Request, wire::name::ChannelName};

/// The number of channels in one command, at most.
const AT_ONCE: usize = 250;

/// Requests that wait. Only the last request for a channel counts.
#[derive(Default)]
pub(super) struct Changes {
    /// The last request for each channel: to watch it, or to unwatch it.
    last: HashMap<ChannelName, Kind>,
    /// The channels in the order of the requests. A channel is passed over if its last request is of the other kind, or
    /// was taken.
    watch: VecDeque<ChannelName>,
    unwatch: VecDeque<ChannelName>,
    /// Whether a level was requested.
    pub(super) sync: bool,
    /// The channels that are about to be watched. Nothing else is done to them until that is reported.
    entering: HashSet<ChannelName>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Watch,
    Unwatch,
}

impl Changes {
    pub(super) fn add(&mut self, request: Request) {
        match request {
            Request::Watch(channel) => {
                self.last.insert(channel.clone(), Kind::Watch);
                self.watch.push_back(channel);
            }
            Request::Unwatch(channel) => {
                self.last.insert(channel.clone(), Kind::Unwatch);
                self.unwatch.push_back(channel);
            }
            Request::Sync => self.sync = true,
        }
    }

    /// Takes the channels to watch next, all in one command. Takes none until the previous ones are
    /// [watched](Self::watched).
    pub(super) fn take_watch(&mut self) -> Vec<ChannelName> {
        if !self.entering.is_empty() {
            return Vec::new();
        }
        let batch = take(&mut self.watch, &mut self.last, Kind::Watch, |_| true);
        self.entering.extend(batch.iter().cloned());
        batch
    }

    /// Records that the channels that were taken last are watched, and that this was reported.
    pub(super) fn watched(&mut self) {
        self.entering.clear();
    }

    /// Takes the channels to unwatch, all in one command.
    pub(super) fn take_unwatch(&mut self) -> Vec<ChannelName> {
        let entering = &self.entering;
        take(&mut self.unwatch, &mut self.last, Kind::Unwatch, |channel| !entering.contains(channel))
    }
}

fn take(
    queue: &mut VecDeque<ChannelName>,
    last: &mut HashMap<ChannelName, Kind>,
    kind: Kind,
    may_go: impl Fn(&ChannelName) -> bool,
) -> Vec<ChannelName> {
    let mut batch = Vec::new();
    for _ in 0..queue.len() {
        if batch.len() == AT_ONCE {
            break;
        }
        let Some(channel) = queue.pop_front() else { break };
        if last.get(&channel) != Some(&kind) {
            continue;
        }
        if may_go(&channel) {
            last.remove(&channel);
            batch.push(channel);
        } else {
            queue.push_back(channel);
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> ChannelName {
        ChannelName::try_from(format!("c{n}")).unwrap()
    }

    fn changes(requests: impl IntoIterator<Item = Request>) -> Changes {
        let mut changes = Changes::default();
        requests.into_iter().for_each(|request| changes.add(request));
        changes
    }

    #[test]
    fn many_channels_go_in_one_command_in_the_order_of_their_requests() {
        let mut changes = changes((0..2 * AT_ONCE + 3).map(|n| Request::Watch(name(n))));
        assert_eq!(changes.take_watch(), (0..AT_ONCE).map(name).collect::<Vec<_>>());
        assert!(changes.take_watch().is_empty(), "one at a time");
        changes.watched();
        assert_eq!(changes.take_watch().len(), AT_ONCE);
        changes.watched();
        assert_eq!(changes.take_watch(), (2 * AT_ONCE..2 * AT_ONCE + 3).map(name).collect::<Vec<_>>());
    }

    #[test]
    fn a_channel_is_watched_though_many_others_wait_to_be_watched_no_more() {
        let mut changes = changes((0..1_000).map(|n| Request::Unwatch(name(n))));
        changes.add(Request::Watch(name(1_000)));
        assert_eq!(changes.take_unwatch().len(), AT_ONCE);
        assert_eq!(changes.take_watch(), [name(1_000)]);
    }

    #[test]
    fn only_the_last_request_of_a_channel_counts() {
        let (watch, unwatch) = (|| Request::Watch(name(1)), || Request::Unwatch(name(1)));
        let mut back = changes([watch(), unwatch(), watch()]);
        assert_eq!((back.take_unwatch(), back.take_watch()), (vec![], vec![name(1)]));
        back.watched();
        assert!(back.take_watch().is_empty() && back.take_unwatch().is_empty());
        let mut gone = changes([unwatch(), watch(), unwatch()]);
        assert_eq!((gone.take_watch(), gone.take_unwatch()), (vec![], vec![name(1)]));
        assert!(gone.take_unwatch().is_empty());
    }

    #[test]
    fn a_channel_that_is_about_to_be_watched_is_left_only_when_that_was_said() {
        let mut changes = changes([Request::Watch(name(1)), Request::Watch(name(2))]);
        assert_eq!(changes.take_watch().len(), 2);
        changes.add(Request::Unwatch(name(1)));
        changes.add(Request::Unwatch(name(3)));
        assert_eq!(changes.take_unwatch(), [name(3)]);
        changes.watched();
        assert_eq!(changes.take_unwatch(), [name(1)]);
    }
}
