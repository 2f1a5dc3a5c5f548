//! Bodies of any shape, over I/O that takes any part of what is written.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::service_fn;
use tower_sse::server::{RequestBody, Server};

use crate::random::Random;

/// I/O that takes a random part of each write, and waits at random.
struct Odd {
    request: &'static [u8],
    random: Random,
    vectored: bool,
    /// What was written, but not flushed. `None` if the I/O has no buffer of its own.
    buffer: Option<Vec<u8>>,
    /// How many bytes a write takes at most.
    most: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Odd {
    fn take(&mut self, cx: &Context<'_>, bufs: &[&[u8]]) -> Poll<io::Result<usize>> {
        if self.random.below(3) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut room = 1 + self.random.below(self.most);
        let mut taken = 0;
        for buf in bufs {
            let part = &buf[..buf.len().min(room)];
            match &mut self.buffer {
                Some(buffer) => buffer.extend_from_slice(part),
                None => self.written.lock().unwrap().extend_from_slice(part),
            }
            taken += part.len();
            room -= part.len();
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Odd {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(mem::take(&mut self.request));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Odd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.take(cx, &[buf])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(self.vectored);
        let bufs: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        self.take(cx, &bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.random.below(3) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let this = &mut *self;
        if let Some(buffer) = &mut this.buffer {
            this.written.lock().unwrap().append(buffer);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Bytes in two parts, of which one may be empty.
type Data = bytes::buf::Chain<Bytes, Bytes>;

/// What a body does when it is polled.
enum Step {
    Data(Data),
    Later,
    Break,
    Trailers,
    /// Waits until the client has this much of the body.
    Arrived(usize),
}

/// A body that goes through its steps, and then ends.
struct Steps {
    left: VecDeque<Step>,
    /// Whether the body says with its last piece that nothing follows.
    says_when_it_ends: bool,
    written: Arc<Mutex<Vec<u8>>>,
    /// How often the body has waited for the client.
    waits: usize,
}

impl Body for Steps {
    type Data = Data;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, &'static str>>> {
        match self.left.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(http::HeaderMap::new())))),
            Some(Step::Break) => Poll::Ready(Some(Err("broken off"))),
            Some(Step::Later) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Arrived(len)) => {
                let arrived = body_of(&self.written.lock().unwrap()).map(<[u8]>::len);
                if arrived != Some(len) {
                    self.waits += 1;
                    assert!(self.waits < 100_000, "{arrived:?} of {len} bytes have arrived");
                    self.left.push_front(Step::Arrived(len));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says_when_it_ends && self.left.is_empty()
    }
}

const CASES: u64 = 300;

/// Returns what follows the head of a response, once the head has arrived.
fn body_of(response: &[u8]) -> Option<&[u8]> {
    let end = response.windows(4).position(|end| end == b"\r\n\r\n")?;
    Some(&response[end + 4..])
}

fn data(random: &mut Random, len: usize) -> (Vec<u8>, Data) {
    let all: Vec<u8> = (b'a'..=b'z').cycle().skip(random.below(26)).take(len).collect();
    let mut rest = Bytes::from(all.clone());
    let first = rest.split_to([len, len, len / 2][random.below(3)]);
    (all, first.chain(rest))
}

/// Returns the steps of a body, and what the client is to get.
fn steps(random: &mut Random, chunked: bool) -> (VecDeque<Step>, Vec<u8>) {
    const SIZES: [&[usize]; 4] = [&[0, 1, 7], &[0, 100, 300, 490], &[30, 5_000, 0, 600], &[3, 40_000, 9]];
    let sizes = SIZES[random.below(SIZES.len())];
    let (mut steps, mut expected) = (VecDeque::new(), Vec::new());
    for _ in 0..[0, 1, 3, 20, 600][random.below(5)] {
        let step = match random.below(320) {
            0 => Step::Break,
            1 => Step::Trailers,
            2..20 => Step::Arrived(expected.len()),
            20..70 => Step::Later,
            _ => {
                let len = sizes[random.below(sizes.len())];
                let (all, data) = data(random, len);
                let framed = chunked && !all.is_empty();
                let (size, end) = if framed { (format!("{:X}\r\n", all.len()), "\r\n") } else { (String::new(), "") };
                expected.extend([size.as_bytes(), &all, end.as_bytes()].concat());
                Step::Data(data)
            }
        };
        steps.push_back(step);
        match steps.back() {
            Some(Step::Break) => return (steps, expected),
            Some(Step::Trailers) => break,
            _ => {}
        }
    }
    if chunked {
        expected.extend(b"0\r\n\r\n");
    }
    (steps, expected)
}

/// Serves the body over I/O that is put together at random. Returns what was written.
async fn served(server: &Server, mut random: Random, chunked: bool, steps: VecDeque<Step>, len: usize) -> Vec<u8> {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let body = Steps { left: steps, says_when_it_ends: random.below(2) == 0, written: written.clone(), waits: 0 };
    let large_head = random.below(3) == 0;
    let body = Arc::new(Mutex::new(Some(body)));
    let app = service_fn(move |_: Request<RequestBody>| {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = if large_head { response.header("x-large", "x".repeat(2_000)) } else { response };
        let response = response.body(body.lock().unwrap().take().unwrap()).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let io = Odd {
        request: if chunked { b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n" } else { b"GET / HTTP/1.0\r\n\r\n" },
        vectored: random.below(2) == 0,
        buffer: (random.below(2) == 0).then(Vec::new),
        // Not so few that the test takes long.
        most: [1, 5, 100, 1_000, 100_000, 1 << 22][random.below(6)].max(len / 2_000),
        random,
        written: written.clone(),
    };
    server.serve_connection(io, app).await;
    mem::take(&mut *written.lock().unwrap())
}

#[tokio::test]
async fn a_body_of_any_shape_arrives_as_it_is_over_any_io() {
    let mut detached = 0;
    for seed in 1..=CASES {
        let server = Server::new();
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let chunked = random.below(4) > 0;
        let (steps, expected) = steps(&mut random, chunked);
        let written = served(&server, random, chunked, steps, expected.len()).await;
        // hyper sends a body that says at once that it is empty.
        if server.stats().detached > 0 {
            assert!(body_of(&written) == Some(&expected[..]), "{seed}");
            detached += 1;
        }
    }
    assert!(detached > CASES / 2, "{detached}");
}
