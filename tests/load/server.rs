//! The server, which is the test's own program, started again. Each line on its standard input is a command, which it answers
//! with a line. On SIGTERM, it shuts down.
//!
//! `TOWER_SSE_LOAD_SERVER` has its settings, separated by spaces:
//!
//! - the grace period in milliseconds,
//! - how many events a channel holds,
//! - how many bytes hyper buffers for a connection at most (0 for its default),
//! - the stall timeout of the crate's own server in milliseconds (0 to run on hyper), and
//! - how many bytes the system buffers for a socket (0 for its default).

use std::{
    collections::HashMap,
    env,
    io::Write as _,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};
use tower_sse::{Event, KeepAlive, NotFound, OpenOptions, Publisher, Retention, Route, SseLayer, SseService, Start};

use crate::{counting, now};

/// The server's `main`, since the test program has one already. As a test it does nothing.
#[test]
fn serve() {
    let Ok(settings) = env::var("TOWER_SSE_LOAD_SERVER") else { return };
    let settings: Vec<usize> = settings.split(' ').map(|number| number.parse().unwrap()).collect();
    let [grace, history, buffer, stall, send_buffer] = settings[..] else { panic!("{settings:?}") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let millis = |number: usize| Duration::from_millis(number.try_into().unwrap());
    let settings = Settings { grace: millis(grace), history, buffer, stall: millis(stall), send_buffer };
    runtime.block_on(run(settings));
    // This ends everything that still runs, such as the standard input's thread.
    std::process::exit(0);
}

struct Settings {
    grace: Duration,
    history: usize,
    buffer: usize,
    stall: Duration,
    send_buffer: usize,
}

/// What the publishing tasks did: how many events were accepted per channel, and how many refused.
#[derive(Default)]
struct Told {
    taken: Mutex<HashMap<String, u64>>,
    refused: AtomicU64,
}

impl Told {
    fn taken(&self, channel: &str) -> u64 {
        self.taken.lock().unwrap().get(channel).copied().unwrap_or_default()
    }
}

async fn run(settings: Settings) {
    let retention = Retention::new().events(settings.history).bytes(64 << 20);
    let publisher = Publisher::builder().retention(retention).build();
    let route = |pattern| Route::new(pattern).keep_alive(KeepAlive::every(Duration::from_secs(5)));
    let layer = SseLayer::new(publisher.clone())
        .route(route("/events/{channel}"))
        .and_then(|layer| {
            let earliest = OpenOptions::new().start(Start::Earliest);
            layer.route(route("/all/{channel}/{client_id}").options(earliest))
        })
        .unwrap();
    let service = layer.into_service();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(16_384).unwrap();
    say(&listener.local_addr().unwrap().port().to_string());
    let told = Arc::new(Told::default());
    tokio::spawn(obey(publisher.clone(), told.clone()));

    let all = match settings.stall.is_zero() {
        true => on_hyper(listener, service, &settings, &publisher).await,
        false => own(listener, service, &settings, &publisher).await,
    };
    say(&format!("{all} {} {}", told.taken("chat"), told.refused.load(Ordering::SeqCst)));
}

/// Serves until SIGTERM, and returns whether all readers were gone within the grace.
async fn on_hyper(
    listener: TcpListener,
    service: SseService<NotFound>,
    settings: &Settings,
    publisher: &Publisher,
) -> bool {
    let Settings { grace, buffer, .. } = *settings;
    let service = TowerToHyperService::new(service);
    let (mut builder, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    if buffer > 0 {
        builder.http1().max_buf_size(buffer);
    }
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = terminated.recv() => break,
        };
        _ = stream.set_nodelay(true);
        let connection =
            connections.watch(builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned());
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
    tokio::join!(publisher.shutdown(grace), timeout(grace, connections.shutdown())).0
}

/// Counts how often the tasks of the crate's own server are polled.
static POLLS: AtomicU64 = AtomicU64::new(0);

/// The same by the crate's own server.
async fn own(listener: TcpListener, service: SseService<NotFound>, settings: &Settings, publisher: &Publisher) -> bool {
    let Settings { grace, stall, send_buffer, .. } = *settings;
    let server = tower_sse::server::Server::builder().stall_timeout(stall).build();
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = terminated.recv() => break,
        };
        _ = server.tune(&stream);
        if send_buffer > 0 {
            _ = socket2::SockRef::from(&stream).set_send_buffer_size(send_buffer);
        }
        let mut connection = Box::pin(server.serve_connection(stream, service.clone()));
        tokio::spawn(std::future::poll_fn(move |cx| {
            POLLS.fetch_add(1, Ordering::Relaxed);
            connection.as_mut().poll(cx)
        }));
    }
    tokio::join!(publisher.shutdown(grace), server.shutdown(grace)).0
}

fn say(line: &str) {
    // With a mark in front, since the test harness writes here too.
    println!("\n> {line}");
    std::io::stdout().flush().unwrap();
}

/// `send <channel> <client, or -> <text>`; `many <channel> <count> <bytes>`; `every <channel> <milliseconds> <bytes>`;
/// `quiet`, after which these stop; `stats`.
async fn obey(publisher: Publisher, told: Arc<Told>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut ticking = tokio::task::JoinSet::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "send" => {
                let channel = publisher.channel(words[1]);
                let sent = match words[2] {
                    "-" => channel.send(Event::text(words[3])).await,
                    client => channel.send_to(client, Event::text(words[3])).await,
                };
                sent.unwrap();
            }
            "many" => {
                for _ in 0..number(2) {
                    publish(&publisher, words[1], number(3), &told).await;
                }
            }
            "every" => {
                let (publisher, told, channel, bytes) =
                    (publisher.clone(), told.clone(), words[1].to_owned(), number(3));
                let mut interval = interval(Duration::from_millis(words[2].parse().unwrap()));
                interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
                ticking.spawn(async move {
                    loop {
                        interval.tick().await;
                        publish(&publisher, &channel, bytes, &told).await;
                    }
                });
            }
            "quiet" => ticking.shutdown().await,
            "stats" => {
                let (connections, held) = (publisher.connections(), publisher.stats().held_bytes);
                let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
                let polls = POLLS.load(Ordering::Relaxed);
                say(&format!("{} {held} {connections} {tasks} {polls}", counting::allocated()));
                continue;
            }
            other => panic!("{other}"),
        }
        say("ok");
    }
}

/// Publishes `<number> <when> <padding>`. The number counts accepted events; where a test relies on it, one task
/// publishes alone.
async fn publish(publisher: &Publisher, channel: &str, bytes: usize, told: &Told) {
    let text = format!("{} {} {}", told.taken(channel) + 1, now(), "x".repeat(bytes));
    match publisher.channel(channel).send(Event::text(text)).await {
        Ok(_) => *told.taken.lock().unwrap().entry(channel.to_owned()).or_default() += 1,
        Err(error) => {
            assert!(error.is_shutting_down(), "{error}");
            told.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}
