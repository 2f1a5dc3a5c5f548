//! Readers that come late: they get what is held in few events, merged by the rule of the dialect, until they have caught up.
//! What was merged for one reader is there for the next.

use std::{any::TypeId, collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    dialect::Dialect,
    merge::{Belongs, Merged, Rule},
    names::RESERVED,
};
use crate::{
    sync::{Mutex, lock},
    wire::{
        cursor::{Cursor, Offset},
        encoded::EncodedEvent,
        name::ChannelName,
        parts::Parts,
    },
};

/// How long a merged text becomes. What is not merged to its end, because the run goes on, is merged anew for each reader.
const TEXT: usize = 2 << 10;

/// About how many bytes a reader gets in one go.
const CHUNK: usize = 32 << 10;

/// About what a piece takes besides its bytes.
const PIECE: usize = size_of::<EncodedEvent>() + 64;

/// How many bytes are kept of a run, and of how many runs.
const KEPT: usize = 256 << 10;
const RUNS: usize = 32;

/// After how many events it has to have proved its worth.
const TRIAL: usize = 256;

/// The merged form of a part of a run.
pub(super) struct Digest {
    rule: Rule,
    pieces: Vec<EncodedEvent>,
    /// The piece that may become longer, and the last event in it.
    open: Option<(Merged, EncodedEvent)>,
    /// The last event in it.
    seen: Option<Cursor>,
    /// How many bytes and pieces there are, and of how many events.
    bytes: usize,
    made: usize,
    events: usize,
}

impl Digest {
    fn new(rule: Rule) -> Self {
        Self { rule, pieces: Vec::new(), open: None, seen: None, bytes: 0, made: 0, events: 0 }
    }

    fn seen(&self) -> Offset {
        self.seen.map_or(Offset::START, |seen| seen.offset)
    }

    /// Adds the event that follows. It is not in if the dialect panics.
    fn push(&mut self, event: &EncodedEvent) {
        let is_reserved = event.name().is_some_and(|name| name.starts_with(RESERVED));
        let parts = Parts::of_encoded(event).filter(|_| !is_reserved);
        let belongs = match (&mut self.open, &parts) {
            (Some((merged, _)), Some(parts)) => merged.add(parts, TEXT),
            (None, Some(parts)) => Merged::begin(self.rule, parts).map_or(Belongs::Never, Belongs::Anew),
            (_, None) => Belongs::Never,
        };
        match (belongs, &mut self.open) {
            (Belongs::Yes, Some((_, last))) => *last = event.clone(),
            (Belongs::Anew(next), _) => {
                self.close();
                self.open = Some((next, event.clone()));
            }
            (Belongs::Never | Belongs::Yes, _) => {
                self.close();
                // A copy, because the event's bytes may be a part of a large chunk.
                self.add(event.with_bytes(Bytes::copy_from_slice(event.as_bytes())));
            }
        }
        (self.seen, self.events) = (Some(event.cursor()), self.events + 1);
    }

    fn close(&mut self) {
        if let Some(piece) = self.unfinished() {
            self.open = None;
            self.add(piece);
        }
    }

    /// The open piece as it is now.
    fn unfinished(&self) -> Option<EncodedEvent> {
        let (merged, last) = self.open.as_ref()?;
        let parts = Parts::of_encoded(last).filter(|_| merged.count > 1);
        Some(parts.map_or_else(|| last.clone(), |parts| last.replaced_by(&merged.event(&parts))))
    }

    fn add(&mut self, piece: EncodedEvent) {
        self.bytes += piece.as_bytes().len() + PIECE;
        self.made += 1;
        self.pieces.push(piece);
    }

    /// Whether the dialect merges too little for this to be worth its while.
    fn is_useless(&self) -> bool {
        self.events > TRIAL && 2 * self.made > self.events
    }
}

/// The digests of the runs that were read last.
#[derive(Default)]
pub(super) struct Digests(Mutex<VecDeque<Kept>>);

struct Kept {
    run: ChannelName,
    /// The run's first event, so that another run of that id is not taken for it.
    first: Cursor,
    dialect: TypeId,
    digest: Arc<Mutex<Digest>>,
}

impl Digests {
    /// Returns what is merged of a run, which may be nothing.
    pub(super) fn of<D: Dialect>(&self, run: &ChannelName, first: Cursor) -> Arc<Mutex<Digest>> {
        let mut kept = lock(&self.0);
        let dialect = TypeId::of::<D>();
        let found = kept.iter().position(|kept| kept.run == *run && kept.dialect == dialect);
        let found = found.and_then(|found| kept.remove(found)).filter(|kept| kept.first == first);
        let found = found.unwrap_or_else(|| {
            let digest = Arc::new(Mutex::new(Digest::new(Rule::of::<D>())));
            Kept { run: run.clone(), first, dialect, digest }
        });
        let digest = found.digest.clone();
        kept.push_back(found);
        if kept.len() > RUNS {
            kept.pop_front();
        }
        digest
    }

    /// Forgets a run that is not what it was.
    pub(super) fn forget(&self, run: &ChannelName) {
        lock(&self.0).retain(|kept| kept.run != *run);
    }
}

/// A reader that has not caught up.
pub(super) struct Late {
    digest: Arc<Mutex<Digest>>,
    /// Others use the digest, too.
    is_shared: bool,
    /// Which piece comes next.
    next: usize,
    /// Up to where the reader has read.
    read: Offset,
    /// The run's last event, which comes last.
    last: Option<EncodedEvent>,
}

impl Late {
    /// A reader that merges for itself.
    pub(super) fn alone(rule: Rule) -> Self {
        let digest = Arc::new(Mutex::new(Digest::new(rule)));
        Self { digest, is_shared: false, next: 0, read: Offset::START, last: None }
    }

    /// A reader that begins with what is merged already. It goes on at the returned position, if that is not the beginning.
    /// There is none if it has a last event id that is not the end of a piece, or if hardly anything can be merged.
    pub(super) fn with(digest: Arc<Mutex<Digest>>, last_event_id: Option<&[u8]>) -> Option<(Self, Option<Cursor>)> {
        let held = Some(lock(&digest)).filter(|held| !held.is_useless())?;
        let has = |piece: &EncodedEvent, id| piece.id_text().is_some_and(|text| text.as_bytes() == id);
        let next = match last_event_id {
            None => 0,
            Some(id) => 1 + held.pieces.iter().position(|piece| has(piece, id))?,
        };
        let (seen, read) = (held.seen, held.seen());
        drop(held);
        Some((Self { digest, is_shared: true, next, read, last: None }, seen))
    }

    /// Takes what the reader has read.
    pub(super) fn read(&mut self, events: &[EncodedEvent], is_last: impl Fn(&EncodedEvent) -> bool) {
        if self.is_shared && lock(&self.digest).bytes > KEPT {
            self.part();
        }
        let mut digest = lock(&self.digest);
        let seen = digest.seen();
        for event in events.iter().filter(|event| !event.is_ephemeral()) {
            if is_last(event) {
                self.last = Some(event.clone());
                break;
            }
            self.read = event.offset();
            if event.offset() > seen {
                digest.push(event);
            }
        }
    }

    /// Returns what the reader gets next, and whether it has caught up with that. A reader that `is_level` has read everything
    /// that is there.
    pub(super) fn next(&mut self, is_level: bool) -> (Vec<EncodedEvent>, bool) {
        let mut digest = lock(&self.digest);
        let (mut bytes, mut next) = (0, Vec::new());
        while bytes < CHUNK
            && let Some(piece) = digest.pieces.get(self.next).filter(|piece| piece.offset() <= self.read)
        {
            bytes += piece.as_bytes().len();
            next.push(piece.clone());
            self.next += 1;
        }
        // If another reader has read on, there is more to read for this one, too.
        let is_over = is_level || self.last.is_some() || digest.is_useless();
        let is_level = is_over && bytes < CHUNK && digest.seen() <= self.read;
        if is_level {
            next.extend(digest.unfinished());
            next.extend(self.last.take());
        } else if !self.is_shared {
            digest.pieces.drain(..std::mem::take(&mut self.next));
        }
        (next, is_level)
    }

    /// Goes on alone.
    fn part(&mut self) {
        let shared = lock(&self.digest);
        let mut alone = Digest::new(shared.rule);
        (alone.pieces, alone.seen) = (shared.pieces[self.next..].to_vec(), shared.seen);
        alone.pieces.extend(shared.unfinished());
        drop(shared);
        (self.digest, self.is_shared, self.next) = (Arc::new(Mutex::new(alone)), false, 0);
    }
}
