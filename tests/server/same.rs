//! Sends the same bytes to this server and to hyper, in the same pieces, and compares what comes back. A fuzz target uses it
//! too.

use std::{pin::Pin, task::Poll};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinHandle,
};
use tower_sse::server::{Server, Stats};

use super::app::{Alive, answer, app};

/// More than any answer here.
const ROOM: usize = 1 << 20;

/// What has come back, and whether the connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub bytes: String,
    pub ended: bool,
}

/// Asserts that both answer the same. Returns the answer, and what this server has counted.
pub async fn assert_same(pieces: &[&[u8]]) -> (Answer, Stats) {
    let (server, alive) = (Server::new(), Alive::default());
    let (io, theirs) = duplex(ROOM);
    let ours = answer_to(io, tokio::spawn(server.serve_connection(theirs, app(&alive))), pieces).await;

    let (io, theirs) = duplex(ROOM);
    let service = service_fn(move |request| answer(request, Alive::default()));
    let connection = http1::Builder::new().max_buf_size(16 << 10).serve_connection(TokioIo::new(theirs), service);
    let by_hyper = answer_to(io, tokio::spawn(async { drop(connection.await) }), pieces).await;

    let sent = || pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect::<Vec<_>>();
    assert_eq!(ours, by_hyper, "the answer to {:?}", sent());
    let stats = server.stats();
    settle().await;
    assert_eq!((alive.count(), server.stats().connections, server.stats().streams), (0, 0, 0), "{:?}", sent());
    (ours, stats)
}

/// What comes back at once. Then the client leaves.
async fn answer_to(mut io: DuplexStream, task: JoinHandle<()>, pieces: &[&[u8]]) -> Answer {
    for piece in pieces {
        // The server may have hung up.
        let _ = io.write_all(piece).await;
        settle().await;
    }
    let mut answer = Answer { bytes: String::new(), ended: false };
    let mut bytes = vec![0; ROOM];
    let mut buf = ReadBuf::new(&mut bytes);
    std::future::poll_fn(|cx| {
        loop {
            let before = buf.filled().len();
            match Pin::new(&mut io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > before => {}
                Poll::Ready(_) => {
                    answer.ended = true;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    answer.bytes = without_dates(&String::from_utf8_lossy(buf.filled()));
    drop(io);
    settle().await;
    // A connection that has read a further request does not notice that its client has left, here or with hyper.
    task.abort();
    assert!(task.await.err().is_none_or(|error| error.is_cancelled()), "it panicked");
    answer
}

/// Replaces the date in heads.
pub fn without_dates(text: &str) -> String {
    let lines = text.split_inclusive("\r\n");
    lines.map(|line| if line.starts_with("date: ") { "date: today\r\n" } else { line }).collect()
}

/// Lets the other tasks run until they wait.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
