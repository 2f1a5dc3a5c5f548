//! A backend that appends everything to one file, and reads the file when it is opened.
//!
//! It shows everything that a [`Backend`] has to do. Hubs in one process may share it; sharing it between processes
//! would take a lock on the file, and a way to notify the others. An acknowledged event was handed to the operating
//! system: it survives the end of the process, but not a crash of the machine.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufReader},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{sync::oneshot, time::Instant};
use tower_sse::{
    BackendError, ChannelName, ClientId, Cursor, CustomId, Epoch, IdempotencyKey, Offset, Retention,
    backend::{
        Append, Appended, Backend, BackendFuture, Connected, Entry, Ephemeral, Head, Heads, Held, Message, Messages,
        NewEvent, Notice, Placed, Presence, Request, Requests, Streams,
    },
};

use super::{
    channel::{Channel, Kept},
    record::Record,
};

/// How long an idempotency key is remembered at least. It is as long as its event is held.
const WINDOW: Duration = Duration::from_secs(300);

/// The log of a hub in a file. Clones share it.
#[derive(Clone)]
pub struct FileBackend(Arc<Mutex<Store>>);

struct Store {
    file: File,
    epoch: Epoch,
    last: Offset,
    channels: HashMap<ChannelName, Channel>,
    keys: HashMap<(ChannelName, IdempotencyKey), First>,
    watchers: Vec<Watcher>,
    nodes: HashMap<u64, (Instant, Presence)>,
    /// How many streams somebody has open on a node, and when that was last said.
    streams: HashMap<(u64, Arc<str>), (Instant, usize)>,
}

/// The first event with an idempotency key.
struct First {
    at: Instant,
    offset: Offset,
    id: Option<CustomId>,
}

/// A node's feed.
struct Watcher {
    channels: HashSet<ChannelName>,
    messages: Messages,
    /// Dropped when the node falls behind, whose feed then fails.
    _lost: oneshot::Sender<()>,
    number: u64,
}

impl FileBackend {
    /// Opens or creates the file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut store = Store {
            epoch: new_epoch(),
            file: file.try_clone()?,
            last: Offset::START,
            channels: HashMap::new(),
            keys: HashMap::new(),
            watchers: Vec::new(),
            nodes: HashMap::new(),
            streams: HashMap::new(),
        };
        let (mut records, mut whole, mut empty) = (BufReader::new(&file), 0, true);
        while let Some((record, len)) = Record::read(&mut records) {
            whole += len;
            empty = false;
            store.recall(record);
        }
        // A record that was cut off while it was written was not acknowledged.
        file.set_len(whole)?;
        if empty {
            Record::Epoch(store.epoch).write(&mut file)?;
        }
        Ok(Self(Arc::new(Mutex::new(store))))
    }

    /// Loses everything. For tests.
    #[allow(dead_code)]
    pub fn lose(&self) {
        let mut store = self.store();
        store.begin(new_epoch());
        (store.nodes, store.streams) = Default::default();
        store.watchers.clear();
    }

    /// How many channels the nodes watch. For tests.
    #[allow(dead_code)]
    pub fn watched(&self) -> usize {
        self.store().watchers.iter().map(|watcher| watcher.channels.len()).sum()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `ask` with the store locked. The answer is ready at once.
    fn answer<T: Send + 'static>(&self, ask: impl FnOnce(&mut Store) -> io::Result<T>) -> BackendFuture<'_, T> {
        let answer = ask(&mut self.store()).map_err(BackendError::new);
        Box::pin(std::future::ready(answer))
    }
}

impl Backend for FileBackend {
    fn append(&self, append: Append) -> BackendFuture<'_, Appended> {
        self.answer(|store| store.append(append))
    }

    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held> {
        self.answer(|store| Ok(store.read(channel, after, &retention)))
    }

    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        self.answer(|store| {
            store.tell(&event.channel.clone(), &Message::Ephemeral(event));
            Ok(())
        })
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        self.answer(|store| {
            let head = |name| {
                let mut head = Head::new(Offset::START);
                if let Some(channel) = store.channels.get(name) {
                    (head.offset, head.closed) = (channel.head, channel.closed);
                }
                head
            };
            Ok(Heads::new(store.epoch, store.last, channels.iter().map(head).collect()))
        })
    }

    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()> {
        self.answer(|store| store.close(channel))
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        self.answer(|store| {
            if store.epoch == lost {
                store.begin(new_epoch());
                Record::Epoch(store.epoch).write(&mut store.file)?;
            }
            Ok(store.epoch)
        })
    }

    fn feed(&self, mut requests: Requests, messages: Messages) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            let (sender, mut lost) = oneshot::channel();
            let number = self.store().watch(messages, sender);
            let feed = Feed { backend: self, number };
            loop {
                tokio::select! {
                    request = requests.next() => match request {
                        Some(request) => self.store().request(feed.number, request),
                        None => return Ok(()),
                    },
                    _ = &mut lost => return Err(BackendError::new("the node is too slow")),
                }
            }
        })
    }

    fn tell(&self, notice: Notice) -> BackendFuture<'_, ()> {
        self.answer(|store| {
            store.watchers.retain(|watcher| watcher.messages.try_send(Message::Told(notice.clone())));
            Ok(())
        })
    }

    fn count(&self, streams: Streams) -> BackendFuture<'_, bool> {
        self.answer(|store| Ok(store.count(streams)))
    }

    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        self.answer(|store| {
            store.streams.retain(|(node, _), (at, _)| *node != present.node && at.elapsed() < 3 * Presence::EVERY);
            let streams = present.streams.iter().map(|(holder, open)| (holder.clone(), *open));
            store.streams.extend(streams.map(|(holder, open)| ((present.node, holder), (Instant::now(), open))));
            store.nodes.insert(present.node, (Instant::now(), present));
            store.nodes.retain(|_, (at, present)| !present.channels.is_empty() && at.elapsed() < 3 * Presence::EVERY);
            Ok(())
        })
    }

    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        self.answer(|store| {
            let mut all: HashMap<Option<ClientId>, usize> = HashMap::new();
            let nodes = store.nodes.values().filter(|(at, _)| at.elapsed() < 3 * Presence::EVERY);
            for (name, clients) in nodes.flat_map(|(_, present)| &present.channels) {
                for (client, n) in clients.iter().filter(|_| *name == channel) {
                    *all.entry(client.clone()).or_default() += n;
                }
            }
            Ok(all.into_iter().collect())
        })
    }
}

/// Removes the watcher when the feed ends, in whatever way.
struct Feed<'a> {
    backend: &'a FileBackend,
    number: u64,
}

impl Drop for Feed<'_> {
    fn drop(&mut self) {
        self.backend.store().watchers.retain(|watcher| watcher.number != self.number);
    }
}

impl Store {
    /// Applies a record of the file.
    fn recall(&mut self, record: Record) {
        match record {
            Record::Epoch(epoch) => self.begin(epoch),
            Record::Append { offset, at, append } => {
                let age = SystemTime::now().duration_since(at).unwrap_or_default();
                self.put(append, Offset::new(offset), Instant::now().checked_sub(age).unwrap_or_else(Instant::now));
            }
            Record::Close(channel) => self.channel(channel).close(),
        }
    }

    /// Begins an epoch: everything held is void, and offsets start again.
    /// Notes how many streams somebody has open on a node, unless there are too many on all nodes.
    fn count(&mut self, Streams { node, holder, open, max, .. }: Streams) -> bool {
        let is_other = |(by, of): &(u64, Arc<str>), at: &Instant| {
            *by != node && *of == holder && at.elapsed() < 3 * Presence::EVERY
        };
        let others = self.streams.iter().filter(|(key, (at, _))| is_other(key, at)).map(|(_, (_, open))| open);
        if max.is_some_and(|max| others.sum::<usize>() + open > max) {
            return false;
        }
        match open {
            0 => _ = self.streams.remove(&(node, holder)),
            open => _ = self.streams.insert((node, holder), (Instant::now(), open)),
        }
        true
    }

    fn begin(&mut self, epoch: Epoch) {
        (self.epoch, self.last) = (epoch, Offset::START);
        self.channels.clear();
        self.keys.clear();
    }

    fn channel(&mut self, name: ChannelName) -> &mut Channel {
        self.channels.entry(name).or_default()
    }

    /// Appends events, all of them or none.
    fn append(&mut self, mut append: Append) -> io::Result<Appended> {
        let now = Instant::now();
        let channels = &self.channels;
        self.keys.retain(|(name, _), first| {
            now.duration_since(first.at) < WINDOW
                || channels.get(name).is_some_and(|channel| channel.holds(first.offset))
        });
        // First, since the key of a finished channel's last event is still known.
        let (mut places, new) = self.place(&append.channel, append.events);
        append.events = new;
        if append.events.is_empty() && !places.is_empty() {
            return Ok(Appended::At(places));
        }
        let epoch = self.epoch;
        let channel = self.channel(append.channel.clone());
        channel.evict(&append.retention.unwrap_or_default(), now);
        if let Some(refused) = channel.refuse(&append, epoch) {
            return Ok(refused);
        }
        let previous = channel.head;
        let offset = Offset::new(self.last.get() + 1);
        Record::write_append(&mut self.file, offset, &append)?;
        let channel = append.channel.clone();
        let entries = self.put(append, offset, now);
        if entries.is_empty() {
            places.push(Placed::new(Cursor { epoch, offset }));
            self.tell(&channel, &Message::Ended { channel: channel.clone(), epoch, offset, previous });
        }
        for entry in entries {
            self.tell(&channel, &Message::Entry { channel: channel.clone(), epoch, entry });
        }
        Ok(Appended::At(places))
    }

    /// Says where the events will be, and which of them are new: an event whose key has been seen is where the first
    /// one with it is.
    fn place(&self, channel: &ChannelName, events: Vec<NewEvent>) -> (Vec<Placed>, Vec<NewEvent>) {
        let at = |offset| Cursor { epoch: self.epoch, offset };
        let (mut places, mut new) = (Vec::new(), Vec::<NewEvent>::new());
        for event in events {
            let key = event.key.clone().map(|key| (channel.clone(), key));
            let first = key.and_then(|key| self.keys.get(&key)).map(|first| (first.offset, first.id.clone()));
            let next = |n: usize| Offset::new(self.last.get() + 1 + n as u64);
            let in_these = || {
                let n = new.iter().position(|other| event.key.is_some() && other.key == event.key)?;
                Some((next(n), new[n].id.clone()))
            };
            match first.or_else(in_these) {
                Some((offset, id)) => places.push(Placed::repeated(at(offset), id)),
                None => {
                    places.push(Placed::new(at(next(new.len()))));
                    new.push(event);
                }
            }
        }
        (places, new)
    }

    /// Adds the events to their channel, after everything that could fail, and returns its entries. An end without an
    /// event takes an offset too, so that a node notices if it misses it.
    fn put(&mut self, append: Append, first: Offset, at: Instant) -> Vec<Entry> {
        let Append { channel: name, events, fence, last, .. } = append;
        let (epoch, retention, count) = (self.epoch, append.retention.unwrap_or_default(), events.len());
        let mut entries = Vec::new();
        for (n, event) in events.into_iter().enumerate() {
            let offset = Offset::new(first.get() + n as u64);
            self.last = offset;
            if let Some(key) = &event.key {
                let first = First { at, offset, id: event.id.clone() };
                self.keys.insert((name.clone(), key.clone()), first);
            }
            let channel = self.channel(name.clone());
            let mut entry = Entry::new(event, offset, std::mem::replace(&mut channel.head, offset));
            entry.last = last && n + 1 == count;
            let cost = entry.cost(epoch);
            channel.bytes += cost;
            channel.held.push_back(Kept { entry: entry.clone(), at, cost });
            entries.push(entry);
        }
        let channel = self.channel(name);
        if entries.is_empty() {
            (channel.head, channel.ended_at) = (first, Some(at));
        }
        (channel.finished, channel.fence) = (last, channel.fence.max(fence));
        channel.evict(&retention, at);
        self.last = self.last.max(first);
        entries
    }

    fn read(&mut self, name: ChannelName, after: Offset, retention: &Retention) -> Held {
        let (epoch, last) = (self.epoch, self.last);
        let mut held = Held::new(epoch, last);
        let Some(channel) = self.channels.get_mut(&name) else { return held };
        channel.evict(retention, Instant::now());
        held.head = channel.head;
        held.marks = channel.marks.clone();
        (held.finished, held.closed, held.since) = (channel.finished, channel.closed, channel.closed_at);
        let kept = channel.held.iter().filter(|kept| kept.entry.offset > after);
        held.entries = kept.map(|kept| kept.entry.clone().aged(kept.at.elapsed())).collect();
        held
    }

    fn close(&mut self, name: ChannelName) -> io::Result<()> {
        Record::Close(name.clone()).write(&mut self.file)?;
        self.channel(name.clone()).close();
        self.tell(&name, &Message::Closed(name.clone()));
        Ok(())
    }

    fn watch(&mut self, messages: Messages, lost: oneshot::Sender<()>) -> u64 {
        let number = self.watchers.iter().map(|watcher| watcher.number).max().unwrap_or_default() + 1;
        self.watchers.push(Watcher { channels: HashSet::new(), messages, _lost: lost, number });
        number
    }

    fn request(&mut self, number: u64, request: Request) {
        let level = Message::Level(Cursor { epoch: self.epoch, offset: self.last });
        let Some(watcher) = self.watchers.iter_mut().find(|watcher| watcher.number == number) else { return };
        let answer = match request {
            Request::Watch(channel) => {
                watcher.channels.insert(channel.clone());
                Message::Watching(channel)
            }
            Request::Unwatch(channel) => {
                watcher.channels.remove(&channel);
                return;
            }
            Request::Sync => level,
            _ => return,
        };
        if !watcher.messages.try_send(answer) {
            self.watchers.retain(|watcher| watcher.number != number);
        }
    }

    /// Sends a message to those who watch the channel. A watcher without room for it is dropped.
    fn tell(&mut self, channel: &ChannelName, message: &Message) {
        self.watchers
            .retain(|watcher| !watcher.channels.contains(channel) || watcher.messages.try_send(message.clone()));
    }
}

fn new_epoch() -> Epoch {
    use std::hash::{BuildHasher as _, RandomState};
    Epoch::from_bits(RandomState::new().hash_one(SystemTime::now()))
}
