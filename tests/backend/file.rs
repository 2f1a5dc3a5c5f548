//! The backend of the example, which uses the public API only.

#[path = "../../examples/file_backend/backend.rs"]
mod backend;
#[path = "../../examples/file_backend/channel.rs"]
mod channel;
#[path = "../../examples/file_backend/record.rs"]
mod record;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::StreamExt as _;
use tower_sse::{Event, OpenOptions, Publisher, PublisherBuilder, Start};

use self::backend::FileBackend;
use crate::{
    common,
    faults::faulty_node,
    reader::*,
    store::{Shared, Store, defaults},
};

/// Counts wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

pub struct FileStore {
    backend: FileBackend,
    path: PathBuf,
}

impl Store for FileStore {
    async fn begin() -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let path = std::env::temp_dir().join(format!("tower-sse-suite-{}-{number}.log", std::process::id()));
        let backend = FileBackend::open(&path).unwrap();
        Some(Self { backend, path })
    }

    fn node(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher {
        settings(Publisher::builder().backend(self.backend.clone())).build()
    }
}

impl Shared for FileStore {
    type Backend = FileBackend;

    fn backend(&self) -> FileBackend {
        self.backend.clone()
    }

    async fn lose(&self) {
        self.backend.lose();
    }

    async fn watched(&self) -> Option<usize> {
        Some(self.backend.watched())
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn a_reopened_file_has_everything_that_was_written() {
    let store = FileStore::begin().await.unwrap();
    let node = store.node(|builder| builder);
    let first = send(&node, "a", "1\nand more").await;
    send_to(&node, "a", "ana", "2").await;
    drop(node);
    // A record that was cut off while it was written.
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(&store.path).unwrap().write_all(b"append 6 3 17").unwrap();
    let again = Publisher::builder().backend(FileBackend::open(&store.path).unwrap()).build();
    let mut ana = resume(&again, &["a"], "ana", &first).await;
    assert_eq!(ana.text().await, "2");
    send(&again, "a", "3").await;
    assert_eq!(ana.text().await, "3");
    assert_eq!(common::offset(&ana.id()), 3);
}

#[tokio::test]
async fn a_batch_that_was_cut_off_while_it_was_written_is_gone_as_a_whole() {
    let store = FileStore::begin().await.unwrap();
    let node = store.node(defaults);
    let again = || Publisher::builder().backend(FileBackend::open(&store.path).unwrap()).build();
    node.channel("a").fence(3).send_all(["1", "2", "3"].map(Event::text)).await.unwrap();
    node.channel("a").send_all(["4", "5"].map(Event::text)).await.unwrap();
    drop(node);
    let file = std::fs::OpenOptions::new().write(true).open(&store.path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    let node = again();
    let everything = OpenOptions::new().start(Start::Earliest);
    let mut reader = try_open(&node, everything.clone(), &["a"], "", None).await.unwrap();
    assert_eq!(reader.texts(3).await, ["1", "2", "3"]);
    reader.nothing_before(&node, "a").await;
    assert_eq!(node.channel("a").fence(2).send(Event::text("x")).await.unwrap_err().fence(), Some(3));
    node.channel("a").end().await.unwrap();
    drop(node);
    let mut reader = try_open(&again(), everything, &["a"], "", None).await.unwrap();
    assert_eq!(reader.texts(4).await.last().unwrap(), "nothing came before this");
    assert!(reader.next().await.is_none());
}

#[test]
fn a_channel_in_a_store_is_not_finished_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(FileStore::begin()).unwrap().node(defaults);
    assert!(node.channel("a").end_detached().unwrap_err().is_unavailable());
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_sends_the_store_almost_no_requests() {
    let store = FileStore::begin().await.unwrap();
    let (node, faults) = faulty_node(&store);
    let mut readers = [live(&node, &["a"], "").await, live(&node, &["a", "b"], "").await];
    send(&store.node(defaults), "a", 1).await;
    for reader in &mut readers {
        assert_eq!(reader.text().await, "1");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = |counter: &AtomicUsize| counter.load(SeqCst);
    assert_eq!((asked(&faults.tries), asked(&faults.reads), asked(&faults.heads)), (1, 2, 1));
    assert!((11..=12).contains(&asked(&faults.refreshed)));
}

#[tokio::test(start_paused = true)]
async fn events_read_for_a_new_channel_are_delivered_before_the_next_check() {
    let store = FileStore::begin().await.unwrap();
    let [node, other] = store.nodes(defaults);
    let known = live(&node, &["a"], "").await;
    for n in 0..5 {
        send(&other, "b", n).await;
    }
    let begun = tokio::time::Instant::now();
    let mut reader = resume(&node, &["a", "b"], "", &known.id()).await;
    assert_eq!(reader.texts(5).await, ["0", "1", "2", "3", "4"]);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn the_next_readers_runtime_takes_over_when_the_first_readers_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let store = first.block_on(FileStore::begin()).unwrap();
    let node = store.node(defaults);
    let (mut reader, mut of_another) = first.block_on(async {
        let mut reader = live(&node, &["a"], "").await;
        reader.nothing_before(&node, "a").await;
        (reader, live(&node, &["b"], "").await)
    });
    drop(first);
    runtime().block_on(async {
        send(&node, "a", "meanwhile").await;
        let mut next = live(&node, &["a"], "").await;
        next.nothing_before(&node, "a").await;
        assert_eq!(reader.texts(2).await, ["meanwhile", "nothing came before this"]);
        // A channel that nobody has opened meanwhile.
        of_another.nothing_before(&node, "b").await;
    });
}

#[test]
fn a_reader_in_another_runtime_goes_on_when_the_first_runtime_is_gone() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = first.block_on(FileStore::begin()).unwrap();
    let node = store.node(defaults);
    let _gone = first.block_on(live(&node, &["a"], ""));
    let mut reader = second.block_on(async {
        let mut reader = live(&node, &["a"], "").await;
        reader.nothing_before(&node, "a").await;
        reader
    });
    let (is_parked, parked) = std::sync::mpsc::channel();
    let waiting = second.spawn(async move {
        let mut next = std::pin::pin!(reader.text());
        std::future::poll_fn(|cx| {
            let polled = next.as_mut().poll(cx);
            let _ = is_parked.send(());
            polled
        })
        .await
    });
    parked.recv().unwrap();
    drop(first);
    second.block_on(async {
        send(&node, "a", "1").await;
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap(), "1");
    });
}

#[test]
fn an_opening_goes_on_when_the_runtime_of_the_first_reader_is_gone() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = first.block_on(FileStore::begin()).unwrap();
    let (node, faults) = faulty_node(&store);
    let _gone = first.block_on(live(&node, &["a"], ""));
    faults.hold_reads.store(true, SeqCst);
    let mut opening = {
        let _in_the_second = second.enter();
        Box::pin(OpenOptions::new().open(&node, common::grant(&["b"], ""), None))
    };
    second.block_on(async { assert!(futures_util::poll!(&mut opening).is_pending()) });
    drop(first);
    faults.hold_reads.store(false, SeqCst);
    assert!(second.block_on(opening).is_ok());
}

#[test]
fn a_driver_that_fails_at_once_is_not_restarted_in_a_loop() {
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let without_time = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = first.block_on(FileStore::begin()).unwrap();
    let node = store.node(defaults);
    let mut subscription = first.block_on(live(&node, &["a"], "")).subscription;
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut poll = || assert!(subscription.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    poll();
    drop(first);
    assert_eq!(woken.0.load(SeqCst), 1);
    // The next driver panics, since its runtime has no timer.
    without_time.block_on(async {
        poll();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(woken.0.load(SeqCst), 1);
}
