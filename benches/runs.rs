//! What runs cost, without a network. Each scenario does its work a number of times. The difference of two numbers tells what
//! one time costs, in instructions, which other processes do not disturb:
//!
//! ```sh
//! cargo bench -p engine-bench --bench runs --no-run
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/runs-* token 2000
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/runs-* token 12000
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    pin::pin,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use http::Request;
use http_body::Body as _;
use tower_sse::{
    EncodedEvent, Event, Output, Publisher, SseBody,
    runs::{AiSdk, Dialect, New, Outcome, Runs, Writer},
};

/// Counts what is allocated.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size().cast_signed(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size().cast_signed(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The parts of the AI SDK, of which none is merged.
#[derive(Clone)]
struct Unmerged;

impl Dialect for Unmerged {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        AiSdk.outcome(outcome, source, out);
    }
}

fn token() -> Event {
    AiSdk::text_delta("1", black_box(" token"))
}

/// A run whose writer is returned.
async fn begin(runs: &Runs<impl Dialect>, id: &str) -> Writer {
    let (gives, takes) = tokio::sync::oneshot::channel();
    let producer = async move |run: Writer| {
        let _ = gives.send(run.clone());
        run.stopped().await;
        Ok(())
    };
    runs.spawn(New::run().id(id), producer).await.expect("it starts");
    takes.await.expect("it begins")
}

/// Reads what can be read now.
fn read(body: SseBody) -> usize {
    let (mut body, mut read) = (pin!(body), 0);
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
        read += frame.data_ref().map_or(0, |data| black_box(data).len());
    }
    read
}

async fn publish(times: usize) {
    let channel = Publisher::new().channel("run/1");
    for _ in 0..times {
        let _ = black_box(channel.send(token()).await);
    }
}

async fn tokens(times: usize) {
    let run = begin(&Runs::new(Publisher::new(), AiSdk), "1").await;
    for _ in 0..times {
        let _ = black_box(run.send(token()).await);
    }
}

async fn start(times: usize, in_thread: bool) {
    let runs = Runs::new(Publisher::new(), AiSdk);
    for n in 0..times {
        let new = New::run().id(n.to_string());
        let new = if in_thread { new.thread("chat") } else { new };
        runs.spawn(new, async |_| Ok(())).await.expect("it starts");
        while runs.active() > 0 {
            tokio::task::yield_now().await;
        }
        // Its place in the thread is given back after that.
        tokio::task::yield_now().await;
    }
}

/// 5,000 tokens for as many readers.
async fn replay(times: usize, dialect: impl Dialect) {
    let runs = Runs::new(Publisher::new(), dialect);
    let run = begin(&runs, "1").await;
    for _ in 0..5_000 {
        run.send(token()).await.expect("it is sent");
    }
    let parts = Request::new(()).into_parts().0;
    let mut bytes = 0;
    for _ in 0..times {
        bytes += read(runs.attach("1", &parts).await.into_body());
    }
    println!("{} bytes each", bytes / times.max(1));
}

/// The bytes of an idle run.
async fn idle(times: usize) {
    let runs = Runs::new(Publisher::new(), AiSdk);
    let before = HELD.load(Relaxed);
    let mut writers = Vec::with_capacity(times);
    for n in 0..times {
        writers.push(begin(&runs, &format!("{n:032x}")).await);
    }
    println!("{} bytes each", (HELD.load(Relaxed) - before) / times.max(1).cast_signed());
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let name = args.next().unwrap_or_else(|| "idle".into());
    let times = args.next().and_then(|times| times.parse().ok()).unwrap_or(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        match &*name {
            "publish" => publish(times).await,
            "token" => tokens(times).await,
            "start" => start(times, false).await,
            "start-in-thread" => start(times, true).await,
            "replay-plain" => replay(times, Unmerged).await,
            "replay-merged" => replay(times, AiSdk).await,
            "idle" => idle(times).await,
            other => panic!("{other} is no scenario"),
        }
    });
}
