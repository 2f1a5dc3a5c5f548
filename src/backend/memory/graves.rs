//! What is remembered of dropped channels: bounded, and with a share for each.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    footprint::{Footprint, Table, Tally},
    log::{Epitaph, Marks, Remains, Tombstone},
    wire::{
        cursor::Offset,
        name::{ChannelName, ClientId},
    },
};

/// The tombstones of dropped channels. When there are too many, the oldest become one watermark. What they remember of
/// clients has a bound of its own, so that a channel with many clients can't make the hub forget that another channel
/// is finished.
pub(super) struct Graves {
    by_channel: Table<ChannelName, u64>,
    /// The graves, in the order in which they were buried.
    graves: BTreeMap<u64, Grave>,
    next: u64,
    /// What all graves take, without their marks.
    bytes: usize,
    /// What the graves may take.
    max_bytes: usize,
    /// The highest offset that a forgotten tombstone said was gone.
    watermark: Offset,
    /// Where to continue the search for a grave with more than its share of marks.
    hand: u64,
    tally: Arc<Tally>,
    counted: Footprint,
    /// What the marks of all graves take.
    marks: usize,
}

struct Grave {
    channel: ChannelName,
    tombstone: Tombstone,
}

impl Grave {
    /// Returns what a grave takes from the allocator, without what its marks own. In a tree that grows at its end, six
    /// of the eleven places in a node are taken.
    fn footprint(&self) -> usize {
        let marks = self.tombstone.marks.as_ref().map_or(0, |_| size_of::<Marks>());
        size_of::<(u64, Self)>() * 11 / 6 + self.channel.heap() + marks + self.tombstone.footprint_of_rare()
    }

    fn marks(&self) -> usize {
        self.tombstone.marks.as_ref().map_or(0, |marks| marks.footprint())
    }
}

impl Graves {
    /// The number of tombstones that are remembered at most.
    const MAX: usize = 32_768;

    pub(super) fn new(tally: Arc<Tally>, max_bytes: usize) -> Self {
        Self {
            by_channel: Table::default(),
            graves: BTreeMap::new(),
            next: 0,
            bytes: 0,
            max_bytes,
            watermark: Offset::START,
            hand: 0,
            tally,
            counted: Footprint::default(),
            marks: 0,
        }
    }

    /// Buries a channel. Returns what was forgotten of others to make room for it.
    pub(super) fn bury(&mut self, channel: ChannelName, tombstone: Tombstone) -> Option<Box<Remains>> {
        let mut remains = Remains::default();
        if tombstone.is_special() || tombstone.highest() > self.watermark {
            self.insert(Grave { channel, tombstone });
        } else if let Some(marks) = tombstone.marks {
            remains.add(*marks);
        }
        while self.bytes > self.max_bytes || self.graves.len() > Self::MAX {
            let Some(oldest) = self.graves.first_entry().map(|oldest| oldest.get().channel.clone()) else { break };
            let Some(forgotten) = self.remove(&oldest) else { break };
            self.watermark = self.watermark.max(forgotten.highest());
            if let Some(marks) = forgotten.marks {
                remains.add(*marks);
            }
        }
        self.settle();
        remains.into_box()
    }

    pub(super) fn exhume(&mut self, channel: &ChannelName) -> Tombstone {
        let Some(tombstone) = self.remove(channel) else { return Tombstone::of_watermark(self.watermark) };
        self.settle();
        tombstone
    }

    /// Returns what is known of a dropped channel, for a client or for everybody. Changes nothing.
    pub(super) fn peek(&self, channel: &ChannelName, client: Option<&ClientId>) -> Epitaph {
        let grave = self.by_channel.get(channel).and_then(|number| self.graves.get(number));
        match grave {
            Some(grave) => grave.tombstone.read(client),
            None => Tombstone::of_watermark(self.watermark).read(client),
        }
    }

    /// Forgets that a channel was finished.
    pub(super) fn reopen(&mut self, channel: &ChannelName) {
        if let Some(grave) = self.by_channel.get(channel).and_then(|number| self.graves.get_mut(number)) {
            grave.tombstone.reopen();
        }
    }

    /// Forgets marks of graves that have more than their share, in at most `most` steps. Called if there are too many
    /// marks in the hub.
    pub(super) fn forget_marks(&mut self, most: usize) {
        let share = self.tally.share_of_marks();
        for _ in 0..most {
            let Some((number, grave)) = self.graves.range_mut(self.hand..).next() else {
                self.hand = 0;
                continue;
            };
            self.hand = *number;
            let before = grave.marks();
            match &mut grave.tombstone.marks {
                Some(marks) if before > share => {
                    marks.forget();
                    self.marks = self.marks - before + marks.footprint();
                }
                _ => self.hand += 1,
            }
        }
        self.settle();
    }

    fn insert(&mut self, grave: Grave) {
        // A caller that drops a channel has also made it, and received what was known of it at that time.
        self.remove(&grave.channel);
        self.bytes += grave.footprint();
        self.marks += grave.marks();
        if grave.tombstone.marks.is_some() {
            self.tally.add_holder();
        }
        self.by_channel.insert(grave.channel.clone(), self.next);
        self.graves.insert(self.next, grave);
        self.next += 1;
    }

    fn remove(&mut self, channel: &ChannelName) -> Option<Tombstone> {
        let number = self.by_channel.remove(channel)?;
        let grave = self.graves.remove(&number)?;
        self.bytes -= grave.footprint();
        self.marks -= grave.marks();
        if grave.tombstone.marks.is_some() {
            self.tally.remove_holder();
        }
        Some(grave.tombstone)
    }

    fn settle(&mut self) {
        let all = self.bytes + self.marks + self.by_channel.footprint();
        let now = Footprint { all, pinned: 0, marks: self.marks, ephemeral: 0 };
        self.tally.change(self.counted, now);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Instant};

    use super::*;
    use crate::{
        log::{Log, Retention},
        wire::name::ClientId,
    };

    fn channel(n: usize) -> ChannelName {
        ChannelName::try_from(format!("channel{n}")).unwrap()
    }

    fn tombstone(offset: usize) -> Tombstone {
        Tombstone { broadcast: Offset::new(offset as u64), ..Tombstone::default() }
    }

    /// Returns a tombstone that remembers this many clients.
    fn of_clients(count: usize) -> Tombstone {
        let client = |n| ClientId::try_from(format!("client{n}")).unwrap();
        let marks: HashMap<_, _> = (0..count).map(|n| (client(n), Offset::new(n as u64 + 1))).collect();
        Tombstone { marks: Some(Box::new(Marks::of(marks, Offset::START))), ..Tombstone::default() }
    }

    fn graves(max_bytes: usize, max_marks: usize) -> Graves {
        Graves::new(Arc::new(Tally::new(max_marks)), max_bytes)
    }

    fn broadcast(graves: &mut Graves, n: usize) -> u64 {
        graves.exhume(&channel(n)).broadcast.get()
    }

    #[test]
    fn forgotten_tombstones_become_a_watermark_that_hides_no_loss() {
        for max_bytes in [usize::MAX, 100_000] {
            let mut graves = graves(max_bytes, usize::MAX);
            let count = Graves::MAX + 100;
            for n in 1..=count {
                graves.bury(channel(n), tombstone(n));
                assert!(graves.graves.len() <= Graves::MAX && graves.bytes <= max_bytes);
                assert_eq!(graves.by_channel.len(), graves.graves.len());
            }
            let held = graves.graves.len();
            let forgotten = count - held;
            assert!(held > 600 && graves.watermark.get() == forgotten as u64);
            assert_eq!(broadcast(&mut graves, 1), forgotten as u64);
            assert_eq!(broadcast(&mut graves, forgotten + 1), forgotten as u64 + 1);
            assert_eq!(broadcast(&mut graves, count), count as u64);
            assert_eq!(broadcast(&mut graves, count + 1), forgotten as u64, "one never seen");
        }
    }

    #[test]
    fn a_channel_that_comes_and_goes_does_not_push_out_the_others() {
        let mut graves = graves(usize::MAX, usize::MAX);
        for n in 1..=10 {
            graves.bury(channel(n), tombstone(n));
        }
        for _ in 0..2 * Graves::MAX {
            let tombstone = graves.exhume(&channel(10));
            graves.bury(channel(10), tombstone);
        }
        assert_eq!((graves.watermark, graves.graves.len()), (Offset::START, 10));
        (1..=10).for_each(|n| assert_eq!(broadcast(&mut graves, n), n as u64));
        assert_eq!((graves.bytes, graves.tally.all()), (0, graves.by_channel.footprint()));
    }

    #[test]
    fn a_tombstone_counts_its_marks_and_their_box() {
        let counted = |tombstone: Tombstone| {
            let mut graves = graves(usize::MAX, usize::MAX);
            graves.bury(channel(1), tombstone);
            graves.tally.all()
        };
        let of_clients = of_clients(10);
        let marks = size_of::<Marks>() + of_clients.marks.as_ref().unwrap().footprint();
        assert_eq!(counted(of_clients) - counted(tombstone(1)), marks);
    }

    #[test]
    fn what_the_watermark_says_already_needs_no_tombstone() {
        let mut graves = Graves { watermark: Offset::new(7), ..graves(usize::MAX, usize::MAX) };
        graves.bury(channel(1), tombstone(7));
        assert!(graves.graves.is_empty());
        graves.bury(channel(1), Tombstone { finished: true, ..tombstone(7) });
        assert!(graves.exhume(&channel(1)).finished, "that it was finished it does not say");
    }

    #[test]
    fn channels_of_many_clients_push_out_no_tombstone_and_no_marks_of_others() {
        let few = of_clients(10);
        let share = few.marks.as_ref().unwrap().footprint();
        let mut graves = graves(usize::MAX, 200 * share);
        graves.bury(channel(0), Tombstone { finished: true, ..tombstone(1) });
        graves.bury(channel(1), few);
        for n in 2..100 {
            graves.bury(channel(n), of_clients(2_000));
            // A publish does this now and then.
            while graves.tally.has_too_many_marks() {
                graves.forget_marks(64);
            }
        }
        assert!(graves.exhume(&channel(0)).finished);
        let mut log = Log::new(Retention::new(), graves.exhume(&channel(1)), Instant::now());
        for n in 0..11 {
            let client = ClientId::try_from(format!("client{n}")).unwrap();
            let view = crate::log::View::of(log.lane_for(&client, 99).ok());
            assert_eq!(log.missed(view).get(), if n < 10 { n + 1 } else { 0 }, "it knows of each of its clients");
        }
        // The other channels have lost the marks of some clients. What they say about these clients hides no loss.
        for n in 2..100 {
            let marks = graves.exhume(&channel(n)).marks.unwrap();
            assert!((10..2_000).contains(&marks.len()), "{} are left", marks.len());
        }
        assert_eq!(graves.marks, 0);
    }
}
