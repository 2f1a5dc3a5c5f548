//! The events of a log that some readers don't get, including the last of those that were evicted.

use std::collections::VecDeque;

use crate::{
    footprint::Elastic as _,
    wire::{
        cursor::Offset,
        except::Except,
        name::{ClientId, ConnectionId},
    },
};

/// Which readers don't get which events.
#[derive(Default)]
pub(crate) struct Exceptions {
    /// In ascending order of offset.
    all: VecDeque<Exception>,
    /// How many of the first entries belong to evicted events.
    gone: usize,
    /// The bytes that the texts take from the allocator.
    texts: usize,
}

struct Exception {
    offset: Offset,
    /// The offset of the previous event in its lane, whoever that was for.
    previous: Offset,
    except: Box<Except>,
}

/// The identity of a reader, which decides whether an event excludes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Who<'a> {
    pub(super) client: Option<&'a ClientId>,
    pub(super) connection: Option<&'a ConnectionId>,
}

impl Exceptions {
    /// How many exceptions of evicted events are remembered. A reader may get a gap for an event that excluded it if
    /// that event was evicted earlier.
    const REMEMBERED: usize = 256;
    /// How many exceptions are remembered of a dropped channel.
    const OF_DROPPED: usize = 32;
    /// How many exceptions a read looks at to find its end. The read ends there if none of them concerns its reader.
    const LOOKED_AT: usize = 256;

    pub(super) fn insert(&mut self, offset: Offset, previous: Offset, except: Box<Except>) {
        self.texts += Self::heap(&except);
        self.all.make_room();
        self.all.push_back(Exception { offset, previous, except });
    }

    /// Notes that all events up to `upto` were evicted.
    pub(super) fn evict(&mut self, upto: Offset) {
        while self.all.get(self.gone).is_some_and(|next| next.offset <= upto) {
            self.gone += 1;
        }
        while self.gone > Self::REMEMBERED
            && let Some(oldest) = self.all.pop_front()
        {
            self.gone -= 1;
            self.texts -= Self::heap(&oldest.except);
        }
        self.all.give_back();
    }

    /// Notes that all events were evicted with their log. Returns what to remember, and leaves the rest to be freed.
    pub(super) fn bury(&mut self) -> Option<Box<Self>> {
        let mut last = self.all.split_off(self.all.len().saturating_sub(Self::OF_DROPPED));
        last.shrink_to_fit();
        let texts = last.iter().map(|exception| Self::heap(&exception.except)).sum();
        self.texts -= texts;
        (!last.is_empty()).then(|| Box::new(Self { gone: last.len(), all: last, texts }))
    }

    /// If the event with this offset excludes the reader, returns the offset of the event before it in its lane.
    pub(super) fn before(&self, offset: Offset, who: Who<'_>) -> Option<Offset> {
        let found = &self.all[self.all.binary_search_by_key(&offset, |exception| exception.offset).ok()?];
        found.excludes(who).then_some(found.previous)
    }

    /// Returns the offset of the last event of a lane, up to the one at `last`, that does not exclude the reader. An event
    /// that is not above `others` may be one of another lane, so the search ends there.
    pub(super) fn last_shown(&self, mut last: Offset, others: Offset, who: Who<'_>) -> Offset {
        while last > others
            && let Some(previous) = self.before(last, who)
        {
            last = previous;
        }
        last
    }

    /// Returns an offset after `after` such that no event between the two excludes the reader.
    pub(super) fn end_after(&self, after: Offset, who: Who<'_>) -> Offset {
        let from = self.all.partition_point(|exception| exception.offset <= after);
        let mut next = self.all.range(from..).take(Self::LOOKED_AT + 1).enumerate();
        let end = next.find(|(looked_at, exception)| *looked_at == Self::LOOKED_AT || exception.excludes(who));
        end.map_or(Offset::new(u64::MAX), |(_, exception)| exception.offset)
    }

    /// Frees at most `most` exceptions, and counts `most` down. Returns whether none are left. Don't use it after this.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && self.all.pop_front().is_some() {
            *most -= 1;
        }
        self.all.is_empty()
    }

    /// Returns how many bytes the exceptions take from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.all.footprint() + self.texts
    }

    fn heap(except: &Except) -> usize {
        size_of::<Except>() + except.heap()
    }
}

impl Exception {
    fn excludes(&self, who: Who<'_>) -> bool {
        self.except.excludes(who.client, who.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: ClientId = ClientId::from_static("ana");
    const BOB: ClientId = ClientId::from_static("bob");

    /// Every even event is not for Ana, and every odd one not for Bob.
    fn exceptions(upto: u64) -> Exceptions {
        let mut exceptions = Exceptions::default();
        for offset in 1..=upto {
            let client = Some(if offset % 2 == 0 { ANA } else { BOB });
            exceptions.insert(
                Offset::new(offset),
                Offset::new(offset - 1),
                Except { client, ..Except::default() }.into(),
            );
        }
        exceptions
    }

    fn is(client: &ClientId) -> Who<'_> {
        Who { client: Some(client), ..Who::default() }
    }

    #[test]
    fn an_event_is_excluded_for_the_reader_that_it_names_alone() {
        let exceptions = exceptions(9);
        let before = |offset, who| exceptions.before(Offset::new(offset), who).map(Offset::get);
        assert_eq!([before(4, is(&ANA)), before(4, is(&BOB)), before(4, Who::default())], [Some(3), None, None]);
        let end = |after, who| exceptions.end_after(Offset::new(after), who).get();
        assert_eq!([end(0, is(&ANA)), end(2, is(&ANA)), end(8, is(&ANA)), end(0, is(&BOB))], [2, 4, u64::MAX, 1]);
    }

    #[test]
    fn a_read_looks_at_a_bounded_number_of_exceptions_of_others() {
        let exceptions = exceptions(1_000);
        assert_eq!(exceptions.end_after(Offset::new(2), Who::default()).get(), 3 + 256);
    }

    #[test]
    fn the_last_evicted_ones_are_remembered_and_the_others_leave_no_memory() {
        let mut exceptions = exceptions(10_000);
        let full = exceptions.footprint();
        exceptions.evict(Offset::new(10_000));
        assert_eq!((exceptions.all.len(), exceptions.before(Offset::new(9_744), is(&ANA))), (256, None));
        assert_eq!(exceptions.before(Offset::new(9_746), is(&ANA)), Some(Offset::new(9_745)));
        assert!(exceptions.footprint() < full / 20);
    }
}
