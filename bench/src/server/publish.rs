//! Publishing on command, and listening, for the servers that run on tokio.

use std::{collections::HashMap, io, time::Duration};

use axum::serve::ListenerExt as _;
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep_until},
};

use super::Settings;
use crate::{
    control::{Command, Publish},
    load::histogram,
    mark::Mark,
    sys,
};

/// What a server publishes to.
pub trait Hub {
    /// Publishes to a channel, or to one client of it. With `wants_id` it returns the event's id.
    fn publish(
        &self,
        channel: &str,
        client: Option<&str>,
        data: String,
        wants_id: bool,
    ) -> impl Future<Output = Option<String>> + Send;
}

/// Runs a server, with its HTTP side and its hub, on one thread.
pub fn run<H, S>(settings: Settings, hub: H, serve: impl FnOnce(TcpListener) -> S) -> io::Result<()>
where
    H: Hub + Send + Sync + 'static,
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (http, control) = (listen()?, listen()?);
        println!("{} {}", http.local_addr()?, control.local_addr()?);
        tokio::spawn(serve(http));
        // In a task, like the publishers of an application.
        tokio::spawn(obey(control, hub, settings)).await?
    })
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    sys::send_at_once(&socket)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

/// `axum::serve` with `TCP_NODELAY`.
pub async fn serve_axum(listener: TcpListener, router: axum::Router) -> io::Result<()> {
    let listener = listener.tap_io(|stream: &mut TcpStream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

/// Does what the load generator says, until its connection closes. Then the server ends too.
async fn obey<H: Hub + Sync>(listener: TcpListener, hub: H, settings: Settings) -> io::Result<()> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut publishing = Publishing { hub: &hub, settings, numbers: HashMap::new(), times: histogram() };
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = match Command::read(&line) {
            Some(Command::Publish(publish)) => publishing.run(publish).await,
            Some(Command::Times) => Some(publishing.median().to_string()),
            None => Some(format!("not a command: {line}")),
        };
        if let Some(answer) = answer {
            stream.write_all(format!("{}\n", answer.trim()).as_bytes()).await?;
        }
        line.clear();
    }
    Ok(())
}

struct Publishing<'a, H> {
    hub: &'a H,
    settings: Settings,
    /// How many events each stream has had.
    numbers: HashMap<u32, Stream>,
    times: Histogram<u64>,
}

/// A channel or a client.
struct Stream {
    name: String,
    next: u32,
}

impl<H: Hub + Sync> Publishing<'_, H> {
    async fn run(&mut self, publish: Publish) -> Option<String> {
        let mut first_id = None;
        let mut begin = Instant::now();
        for round in 0..publish.rounds {
            for nth in 0..publish.burst {
                for stream in publish.first..publish.first + publish.streams {
                    let wants_id = publish.answered && first_id.is_none();
                    let id = self.one(stream, &publish, wants_id).await;
                    first_id = first_id.or(id);
                }
                // So that a long prefill is no burst.
                if publish.answered && nth % 64 == 63 {
                    tokio::task::yield_now().await;
                }
            }
            if publish.interval > Duration::ZERO {
                begin += publish.interval;
                sleep_until(begin).await;
            } else if round + 1 < publish.rounds {
                tokio::task::yield_now().await;
            }
        }
        publish.answered.then(|| first_id.unwrap_or_default())
    }

    async fn one(&mut self, number: u32, publish: &Publish, wants_id: bool) -> Option<String> {
        let letter = if publish.targeted { 'u' } else { 'c' };
        let stream =
            self.numbers.entry(number).or_insert_with(|| Stream { name: format!("{letter}{number}"), next: 0 });
        let data = Mark { stream: number, number: stream.next, at: sys::now() }.data(self.settings.event_size);
        stream.next += 1;
        let (channel, client) = if publish.targeted { ("c0", Some(&*stream.name)) } else { (&*stream.name, None) };
        if !publish.timed {
            return self.hub.publish(channel, client, data, wants_id).await;
        }
        let before = sys::cpu_of_thread();
        let id = self.hub.publish(channel, client, data, wants_id).await;
        let took = sys::cpu_of_thread().saturating_sub(before);
        self.times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        id
    }

    fn median(&mut self) -> u64 {
        let median = self.times.value_at_quantile(0.5);
        self.times.reset();
        median
    }
}
