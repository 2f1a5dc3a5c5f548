//! A client that sends and reads bytes, over a pipe in memory.

use std::time::Duration;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower_sse::server::Server;

pub use crate::same::settle;
use crate::{
    app::{Alive, answer, app},
    same::without_dates,
};

/// A connection, and the task that serves it.
pub struct Raw {
    pub io: DuplexStream,
    pub task: JoinHandle<()>,
    read: Vec<u8>,
}

/// A test that waits this long has failed.
const STUCK: Duration = Duration::from_secs(600);

impl Raw {
    /// A connection of a server to the application that `app` describes.
    pub fn new(server: &Server, alive: &Alive) -> Self {
        Self::with_room(server, alive, 1 << 16)
    }

    /// The same, where `room` bytes fit into each direction.
    pub fn with_room(server: &Server, alive: &Alive, room: usize) -> Self {
        let (io, theirs) = duplex(room);
        Self::of(io, tokio::spawn(server.serve_connection(theirs, app(alive))))
    }

    /// The same application on hyper.
    pub fn by_hyper() -> Self {
        let (io, theirs) = duplex(1 << 16);
        let alive = Alive::default();
        let service = service_fn(move |request| answer(request, alive.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        Self::of(io, tokio::spawn(async move { drop(connection.await) }))
    }

    pub fn of(io: DuplexStream, task: JoinHandle<()>) -> Self {
        Self { io, task, read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        let wait = async {
            loop {
                if let Some(at) = self.read.windows(end.len()).position(|bytes| bytes == end.as_bytes()) {
                    return String::from_utf8(self.read.drain(..at + end.len()).collect()).unwrap();
                }
                let mut buf = [0; 4096];
                let n = self.io.read(&mut buf).await.unwrap();
                assert_ne!(n, 0, "it ended, after {:?}", String::from_utf8_lossy(&self.read));
                self.read.extend_from_slice(&buf[..n]);
            }
        };
        tokio::time::timeout(STUCK, wait).await.unwrap_or_else(|_| panic!("{end:?} never came"))
    }

    /// Everything up to the end of the connection, with the date left out.
    pub async fn rest(&mut self) -> String {
        let mut read = std::mem::take(&mut self.read);
        tokio::time::timeout(STUCK, self.io.read_to_end(&mut read)).await.expect("it never ended").unwrap();
        without_dates(&String::from_utf8(read).unwrap())
    }
}

/// What a client gets that sends these bytes.
pub async fn answer_to(mut raw: Raw, request: &str) -> String {
    raw.send(request).await;
    let rest = raw.rest().await;
    raw.task.await.unwrap();
    rest
}
