//! What a stream has to do behind any proxy.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tower_sse::Event;

use crate::{
    app::App,
    reader::{ANY_ENCODING, Reader, SOON},
};

/// A wait that a test expects to fail.
const IN_VAIN: Duration = Duration::from_secs(2);
/// The limit for the median of a delivery. A delivery takes a millisecond, or 200 if something waits for an
/// acknowledgement.
const PROMPT: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The head arrives at once, and so does each event, even if nothing follows it.
    Events,
    /// The same for a reader that takes compressed bodies, as every browser does.
    Compressed,
    /// A browser that resumes gets at once what it missed, and later events.
    Resume,
    /// An escaped slash in a name reaches the application unchanged.
    Names,
    /// Two simultaneous readers of one URL each have a stream of their own.
    SameUrl,
    /// When the reader hangs up, the application is told at once.
    HangUp,
    /// When the reader hangs up, the application is told at the next event or keep-alive.
    HangUpAtNextEvent,
    /// No event waits for an acknowledgement.
    Latency,
}

const ALL: [Check; 8] = [
    Check::Events,
    Check::Compressed,
    Check::Resume,
    Check::Names,
    Check::SameUrl,
    Check::HangUp,
    Check::HangUpAtNextEvent,
    Check::Latency,
];

/// Fails unless every check holds.
pub async fn everything_holds(app: &App, port: u16) {
    all_hold_but(&[], app, port).await;
}

/// Fails unless every check holds, other than those that the proxy has no setting for.
pub async fn all_hold_but(known: &[Check], app: &App, port: u16) {
    let checks = ALL.into_iter().filter(|check| !known.contains(check));
    let failed: Vec<_> = run(checks, app, port, SOON).await;
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The checks that fail.
pub async fn failing(app: &App, port: u16) -> Vec<Check> {
    let failed = run(ALL, app, port, IN_VAIN).await;
    for (check, error) in &failed {
        println!("{check:?}: {error:.200}");
    }
    failed.into_iter().map(|(check, _)| check).collect()
}

async fn run(
    checks: impl IntoIterator<Item = Check>,
    app: &App,
    port: u16,
    patience: Duration,
) -> Vec<(Check, String)> {
    let together = checks.into_iter().map(async |check| Some((check, check.run(app, port, patience).await.err()?)));
    join_all(together).await.into_iter().flatten().collect()
}

impl Check {
    async fn run(self, app: &App, port: u16, patience: Duration) -> Result<(), String> {
        // Each check reads a channel of its own.
        let channel = format!("{self:?}").to_lowercase();
        let path = format!("/events/{channel}/ana");
        let open = async |path: &str, headers: &[(&str, &str)]| Reader::open(port, path, headers, patience).await;
        match self {
            Check::Events => follow(app, &channel, &mut open(&path, &[]).await?).await,
            Check::Compressed => follow(app, &channel, &mut open(&path, &[ANY_ENCODING]).await?).await,
            Check::Resume => {
                let read = publish(app, &channel, "read").await;
                // Long enough as a first write for every proxy to compress it.
                let missed = "this was missed. ".repeat(200);
                publish(app, &channel, &missed).await;
                let mut reader = open(&path, &[ANY_ENCODING, ("last-event-id", &read)]).await?;
                reader.read_to(&format!("data: {missed}\n")).await?;
                follow(app, &channel, &mut reader).await
            }
            Check::Names => {
                open("/events/a%2Fb/c%2Fd", &[]).await?.begin().await?;
                Ok(())
            }
            Check::SameUrl => {
                let (mut one, mut two) = (open(&path, &[]).await?, open(&path, &[]).await?);
                follow(app, &channel, &mut one).await?;
                follow(app, &channel, &mut two).await
            }
            Check::HangUp => {
                open(&path, &[]).await?.begin().await?;
                until_gone(app, &channel, patience).await
            }
            Check::HangUpAtNextEvent => {
                open(&path, &[]).await?.begin().await?;
                // The first write to a closed socket fails only at the next one, and each proxy has two sockets.
                for _ in 0..3 {
                    publish(app, &channel, "to nobody").await;
                    if until_gone(app, &channel, patience / 4).await.is_ok() {
                        return Ok(());
                    }
                }
                until_gone(app, &channel, patience).await
            }
            Check::Latency => latency(app, &channel, &mut open(&path, &[]).await?).await,
        }
    }
}

pub async fn publish(app: &App, channel: &str, text: &str) -> String {
    app.publisher.channel(channel).send(Event::text(text)).await.unwrap().id.to_string()
}

/// Publishes events one by one: each arrives before the next is published, so that none pushes another through.
async fn follow(app: &App, channel: &str, reader: &mut Reader) -> Result<(), String> {
    for n in 0..5 {
        let id = publish(app, channel, &format!("event {n}")).await;
        reader.read_to(&format!("data: event {n}\nid: {id}\n\n")).await?;
    }
    Ok(())
}

async fn until_gone(app: &App, channel: &str, patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    while app.publisher.channel(channel).connections() > 0 {
        if Instant::now() > end {
            return Err("the stream is still open".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn latency(app: &App, channel: &str, reader: &mut Reader) -> Result<(), String> {
    reader.begin().await?;
    let mut took = Vec::new();
    for n in 0..21 {
        let began = Instant::now();
        let id = publish(app, channel, &n.to_string()).await;
        reader.read_to(&format!("id: {id}\n\n")).await?;
        took.push(began.elapsed());
    }
    took.sort();
    // The median is not affected by a pause of the machine.
    let median = took[took.len() / 2];
    if median < PROMPT { Ok(()) } else { Err(format!("{median:?} for an event")) }
}

/// Stops the application while it has a reader, for longer than the reader waits.
pub async fn comes_back_after_a_restart(app: &mut App, port: u16) {
    const PATH: &str = "/events/restart/ana";
    let mut reader = Reader::open(port, PATH, &[], SOON).await.unwrap();
    reader.begin().await.unwrap();
    let read = publish(app, "restart", "before").await;
    reader.read_to(&format!("id: {read}\n\n")).await.unwrap();

    app.stop().await;
    reader.rest().await;
    let missed = publish(app, "restart", "meanwhile").await;
    let resume = [ANY_ENCODING, ("last-event-id", &*read)];
    let mut told = Reader::open(port, PATH, &resume, SOON).await.unwrap();
    assert_eq!(told.rest().await, "retry: 2000\n");

    app.start_again().await;
    // Some proxies wait for a moment before they try the application again.
    let wanted = format!("data: meanwhile\nid: {missed}\n\n");
    let resumed = async || Reader::open(port, PATH, &resume, SOON).await?.read_to(&wanted).await;
    let end = Instant::now() + SOON;
    while let Err(error) = resumed().await {
        assert!(Instant::now() < end, "{error}");
    }
    // This is for streams only.
    let other = Reader::ask(port, "/elsewhere", &[], SOON).await.unwrap();
    assert_eq!(other.head.status, 404);
}

/// One reader stops reading, and its channel goes on until every buffer in between is full. A reader of another channel
/// gets its events as before.
pub async fn stalled_reader_delays_nobody(app: &App, port: u16) -> Result<(), String> {
    let mut good = Reader::open(port, "/events/good/ana", &[], IN_VAIN).await?;
    good.begin().await?;
    // With a small buffer, so that it is soon full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stalled = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stalled.write_all(b"GET /events/stalled/bo HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stalled.readable().await.unwrap();
    for _ in 0..400 {
        publish(app, "stalled", &"x".repeat(100_000)).await;
        // Time for the buffers in between to take it. The log holds some 40 of these events.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    follow(app, "good", &mut good).await
}

/// A reader whose network is gone: packets to it are dropped without an answer.
#[cfg(target_os = "linux")]
pub async fn a_reader_that_vanishes_is_let_go(app: &App, port: u16) {
    let mut reader = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    reader.write_all(b"GET /events/vanished/ana HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    reader.readable().await.unwrap();
    // A filter of one instruction: keep 0 bytes of the packet.
    socket2::SockRef::from(&reader).attach_filter(&[socket2::SockFilter::new(6, 0, 0, 0)]).unwrap();
    publish(app, "vanished", "nobody acknowledges this").await;
    until_gone(app, "vanished", SOON).await.unwrap();
}
