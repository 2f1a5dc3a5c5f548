//! Sends what many streams have to say at once.
//!
//! The system's code for a write is long, and pushes that of a stream out of the processor's caches. So streams whose readers
//! were woken together do not write one by one. Each *posts* its bytes here, and the writes follow one another: once there are
//! enough of them, in the task that has posted last, and otherwise in a task of the runtime.

use std::{
    cell::Cell,
    future::poll_fn,
    mem,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Poll, Waker},
};

use tokio::sync::Notify;

use crate::{
    hub::wait::{wake_each, wakes_few},
    sync::{Mutex, lock},
};

/// What the streams of a runtime have posted. Each thread has a shard of its own, unless there are many threads.
pub(super) struct Outbox<A> {
    shards: [Mutex<Shard<A>>; SHARDS],
    /// Notified when a shard is no longer empty.
    posted: Notify,
}

struct Shard<A> {
    posts: Posts<A>,
    /// How many posts there were since the last turn of the task.
    since: usize,
    /// Set once nobody will send anything any more.
    over: bool,
}

struct Posts<A> {
    all: Vec<Post<A>>,
    /// The bytes of all posts, one after the other.
    bytes: Vec<u8>,
}

struct Post<A> {
    to: A,
    /// Where its bytes end.
    end: usize,
}

/// How many shards there are.
const SHARDS: usize = 8;

/// How many posts are sent at once. More would save little, and keep other tasks waiting for longer.
const AT_ONCE: usize = 32;

/// After this many turns with a single post each, readers are no longer woken together.
const LONELY: usize = 4;

thread_local! {
    static SHARD: Cell<usize> = Cell::new({
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    });
}

/// Where a post goes to.
pub(super) trait Addressee {
    /// Sends what was posted. Returns the task to wake.
    fn send(&self, bytes: &[u8]) -> Option<Waker>;
}

impl<A: Addressee> Outbox<A> {
    pub(super) fn new() -> Self {
        let shard = || Mutex::new(Shard { posts: Posts::with_capacity(0, 0), since: 0, over: false });
        Self { shards: std::array::from_fn(|_| shard()), posted: Notify::new() }
    }

    /// Takes bytes for a socket that has none here. Returns `false` if nobody would send them.
    pub(super) fn post(&self, to: A, bytes: &[u8]) -> bool {
        let mut shard = lock(&self.shards[SHARD.get()]);
        if shard.over {
            return false;
        }
        shard.since += 1;
        let posted = shard.posts.add(to, bytes);
        let full = (posted == AT_ONCE).then(|| shard.posts.take());
        drop(shard);
        if posted == 1 {
            self.posted.notify_one();
        }
        full.into_iter().for_each(Posts::send);
        true
    }

    /// Sends everything. Returns how many posts there were since the last time.
    async fn send_all(&self) -> usize {
        let mut since = 0;
        for shard in &self.shards {
            let posts = {
                let mut shard = lock(shard);
                since += mem::take(&mut shard.since);
                shard.posts.take()
            };
            if !posts.all.is_empty() {
                posts.send();
                step_back().await;
            }
        }
        since
    }

    /// Sends the last posts, whenever there are any.
    pub(super) async fn work(&self) {
        let mut lonely = 0;
        loop {
            self.posted.notified().await;
            // Lets those who were woken together post.
            step_back().await;
            match self.send_all().await {
                // They were sent before.
                0 => {}
                1 => lonely += 1,
                _ => lonely = 0,
            }
            if lonely >= LONELY {
                lonely = 0;
                wakes_few();
            }
        }
    }

    /// Sends everything now, for a stream that can't wait for the task.
    pub(super) fn flush(&self) {
        for shard in &self.shards {
            let posts = lock(shard).posts.take();
            posts.send();
        }
    }

    /// Sends everything, and takes nothing any more.
    pub(super) fn close(&self) {
        self.shards.iter().for_each(|shard| lock(shard).over = true);
        self.flush();
    }
}

/// Lets the tasks run that are scheduled already. Unlike tokio's `yield_now`, it leaves this task where idle workers can take it,
/// in case that one of those tasks blocks its thread.
async fn step_back() {
    let mut has_stepped = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<A: Addressee> Posts<A> {
    fn with_capacity(posts: usize, bytes: usize) -> Self {
        Self { all: Vec::with_capacity(posts), bytes: Vec::with_capacity(bytes) }
    }

    /// Adds a post. Returns how many there are now.
    fn add(&mut self, to: A, bytes: &[u8]) -> usize {
        self.bytes.extend_from_slice(bytes);
        self.all.push(Post { to, end: self.bytes.len() });
        self.all.len()
    }

    /// Takes everything out, and leaves as much room.
    fn take(&mut self) -> Self {
        let room = match self.all.is_empty() {
            true => Self::with_capacity(0, 0),
            false => Self::with_capacity(self.all.capacity(), self.bytes.capacity()),
        };
        mem::replace(self, room)
    }

    fn send(self) {
        let mut from = 0;
        let waiting = self.all.into_iter().filter_map(|Post { to, end }| {
            let bytes = &self.bytes[from..end];
            from = end;
            to.send(bytes)
        });
        wake_each(waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        sync::Arc,
    };

    use tokio::{runtime::Builder, task::yield_now};

    use super::{
        super::{
            poller::{Poller, Seat},
            slot::READ,
        },
        *,
    };

    /// Returns the place of a socket, and its peer.
    fn pair(poller: &Arc<Poller>) -> (Seat, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        (poller.enter(socket), peer)
    }

    fn poller() -> Arc<Poller> {
        Poller::current().unwrap()
    }

    /// Waits until what was posted is sent. Returns what the socket did not take.
    async fn settled(seat: &Seat) -> std::io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| seat.poll_posted(cx.waker())).await
    }

    fn read(peer: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        peer.read_exact(&mut all).unwrap();
        all
    }

    /// Returns what is there for a peer whose socket is closed.
    fn read_all(mut peer: TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all
    }

    #[tokio::test]
    async fn what_is_posted_is_sent_to_each_socket_in_order() {
        let mut pairs: Vec<_> = (0..3 * AT_ONCE + 1).map(|_| pair(&poller())).collect();
        for round in 0..3 {
            for (nth, (seat, _)) in pairs.iter().enumerate() {
                assert!(seat.post(format!("{nth}:{round};").as_bytes()));
            }
            for (seat, _) in &pairs {
                assert_eq!(settled(seat).await.unwrap(), None);
            }
        }
        for (nth, (_, peer)) in pairs.iter_mut().enumerate() {
            let expected = format!("{nth}:0;{nth}:1;{nth}:2;");
            assert_eq!(read(peer, expected.len()), expected.as_bytes());
        }
    }

    #[tokio::test]
    async fn what_a_full_socket_does_not_take_is_returned() {
        let (seat, peer) = pair(&poller());
        // Large, so that the socket takes a part of it.
        let large: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
        assert!(seat.post(&large));
        let rest = settled(&seat).await.unwrap().unwrap();
        assert!(!rest.is_empty() && large.ends_with(&rest));
        assert_eq!(settled(&seat).await.unwrap(), None);
        drop(seat);
        assert!(read_all(peer) == large[..large.len() - rest.len()]);
    }

    #[tokio::test]
    async fn a_task_is_woken_for_what_is_returned_and_once_a_post_that_it_waits_for_is_sent() {
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (seat, _peer) = pair(&poller());
        let count = Arc::<Count>::default();
        let waker = count.clone().into();
        assert_eq!(seat.ready(READ, &waker).unwrap(), None);
        let turn = || async {
            for _ in 0..10 {
                yield_now().await;
            }
            count.0.load(Ordering::SeqCst)
        };
        assert!(seat.post(b"small"));
        assert_eq!(turn().await, 0);
        assert!(seat.post(b"small"));
        assert!(seat.poll_posted(&waker).is_pending());
        assert_eq!(turn().await, 1);
        assert_eq!(seat.ready(READ, &waker).unwrap(), None);
        assert!(seat.post(&vec![0; 20_000_000]));
        assert_eq!(turn().await, 2);
        assert!(settled(&seat).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_connection_that_has_failed_returns_its_error() {
        let (seat, peer) = pair(&poller());
        seat.with_socket(|mut socket| socket.write_all(b"unread")).unwrap();
        // The peer closes without reading, which resets the connection.
        drop(peer);
        let error = loop {
            assert!(seat.post(b"x"));
            if let Err(error) = settled(&seat).await {
                break error;
            }
        };
        assert!(
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
            "{error}"
        );
        assert_eq!(settled(&seat).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_post_for_a_socket_that_has_left_reaches_nobody() {
        let poller = poller();
        // Keeps the piece that has the slots.
        let _other = pair(&poller);
        let (seat, first) = pair(&poller);
        let (stale, slot) = (seat.address(), seat.number());
        drop(seat);
        let (seat, mut second) = pair(&poller);
        assert_eq!(seat.number(), slot);
        assert!(stale.send(b"for the first").is_none());
        assert!(seat.post(b"for the second"));
        assert_eq!(settled(&seat).await.unwrap(), None);
        assert_eq!(read(&mut second, 14), b"for the second");
        assert_eq!(read_all(first), b"");
    }

    #[tokio::test]
    async fn what_was_posted_is_sent_when_the_socket_leaves() {
        let (seat, peer) = pair(&poller());
        assert!(seat.post(b"last"));
        drop(seat);
        assert_eq!(read_all(peer), b"last");
    }

    #[test]
    fn what_was_posted_can_be_sent_although_its_runtime_does_not_run() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let (seat, mut peer) = first.block_on(async {
            let (seat, peer) = pair(&poller());
            assert!(seat.post(b"moved"));
            (seat, peer)
        });
        seat.send_posted();
        assert_eq!(second.block_on(settled(&seat)).unwrap(), None);
        peer.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        assert_eq!(read(&mut peer, 5), b"moved");
    }

    #[test]
    fn a_runtime_that_ends_sends_what_was_posted_and_takes_no_more() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (seat, mut peer) = runtime.block_on(async {
            let (seat, peer) = pair(&poller());
            assert!(seat.post(b"last"));
            (seat, peer)
        });
        drop(runtime);
        peer.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        assert_eq!(read(&mut peer, 4), b"last");
        assert!(!seat.post(b"more"));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(matches!(std::pin::pin!(settled(&seat)).poll(&mut cx), Poll::Ready(Ok(None))));
    }
}
