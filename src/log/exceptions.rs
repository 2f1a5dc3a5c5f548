//! The events of a log that some readers don't get, and those of them that were evicted last.

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
    /// By offset, ascending.
    all: VecDeque<Exception>,
    /// So many of the first are of events that were evicted.
    gone: usize,
    /// What the texts take from the allocator.
    texts: usize,
}

struct Exception {
    offset: Offset,
    /// The event before it in its lane, whoever that was for.
    previous: Offset,
    except: Box<Except>,
}

/// Who a reader is, to whom an event may not be for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Who<'a> {
    pub(super) client: Option<&'a ClientId>,
    pub(super) connection: Option<&'a ConnectionId>,
}

impl Exceptions {
    /// So many of evicted events are remembered. Of what was evicted before them, a reader that they would have excluded may
    /// get a gap.
    const REMEMBERED: usize = 256;
    /// And so many of a channel that was dropped.
    const OF_DROPPED: usize = 32;
    /// So many are looked at for the end of a read. It ends there if none is for its reader.
    const LOOKED_AT: usize = 256;

    pub(super) fn insert(&mut self, offset: Offset, previous: Offset, except: Box<Except>) {
        self.texts += Self::heap(&except);
        self.all.make_room();
        self.all.push_back(Exception { offset, previous, except });
    }

    /// All events up to here are evicted.
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

    /// All events are evicted with their log. Gives what is remembered of it, and leaves the rest to be freed.
    pub(super) fn bury(&mut self) -> Option<Box<Self>> {
        let mut last = self.all.split_off(self.all.len().saturating_sub(Self::OF_DROPPED));
        last.shrink_to_fit();
        let texts = last.iter().map(|exception| Self::heap(&exception.except)).sum();
        self.texts -= texts;
        (!last.is_empty()).then(|| Box::new(Self { gone: last.len(), all: last, texts }))
    }

    /// If the event with this offset is not for this reader: the offset of the one before it in its lane.
    pub(super) fn before(&self, offset: Offset, who: Who<'_>) -> Option<Offset> {
        let found = &self.all[self.all.binary_search_by_key(&offset, |exception| exception.offset).ok()?];
        found.excludes(who).then_some(found.previous)
    }

    /// An offset after `after` before which there is no event that is not for this reader.
    pub(super) fn end_after(&self, after: Offset, who: Who<'_>) -> Offset {
        let from = self.all.partition_point(|exception| exception.offset <= after);
        let mut next = self.all.range(from..).take(Self::LOOKED_AT + 1).enumerate();
        let end = next.find(|(looked_at, exception)| *looked_at == Self::LOOKED_AT || exception.excludes(who));
        end.map_or(Offset::new(u64::MAX), |(_, exception)| exception.offset)
    }

    /// Frees at most so many of them, and counts them down. Says whether that was all. Then it is of no use any more.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && self.all.pop_front().is_some() {
            *most -= 1;
        }
        self.all.is_empty()
    }

    /// How many bytes it takes from the allocator.
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
