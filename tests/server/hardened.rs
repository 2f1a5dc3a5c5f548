//! The example `hardened` as a process: on whom it hangs up, and on whom it does not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::example::Example;

/// A test that waits this long has failed.
const STUCK: Duration = Duration::from_secs(30);

/// A good peer sends and reads within milliseconds, but may have to wait on a busy machine.
fn start() -> Example {
    Example::start("hardened", &[("STALL_MILLIS", "3000")])
}

fn address(example: &Example) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, example.port).into()
}

/// A peer that has asked for a stream, and to which something has been sent.
async fn ask(mut peer: TcpStream, path: &str) -> TcpStream {
    peer.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    peer.readable().await.unwrap();
    peer
}

/// How many sockets a process has open. The kernel gives a connection up without telling the peer, so the tests look at the
/// server's.
#[cfg(target_os = "linux")]
fn sockets(example: &Example) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", example.process.id())).unwrap();
    let is_socket = |file: &std::io::Result<std::fs::DirEntry>| {
        let file = file.as_ref().ok().and_then(|file| file.path().read_link().ok());
        file.is_some_and(|file| file.to_string_lossy().starts_with("socket:"))
    };
    files.filter(is_socket).count()
}

#[cfg(target_os = "linux")]
async fn until_sockets(example: &Example, count: usize) {
    let wait = async {
        while sockets(example) != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(STUCK, wait).await.expect("the server hangs up");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn it_disconnects_a_peer_that_never_reads() {
    let example = start();
    let mut good = ask(TcpStream::connect(address(&example)).await.unwrap(), "/events/clock").await;
    let mut idle = ask(TcpStream::connect(address(&example)).await.unwrap(), "/events/nothing").await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n:\n\r\n") {
        assert_ne!(idle.read_buf(&mut seen).await.unwrap(), 0);
    }
    let reading = tokio::spawn(async move {
        while good.read_buf(&mut Vec::with_capacity(1 << 16)).await.unwrap() > 0 {}
        panic!("a peer that reads was disconnected");
    });
    let before = sockets(&example);
    // The buffer is small, so that it is soon full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let _stalled = ask(socket.connect(address(&example)).await.unwrap(), "/events/clock").await;
    until_sockets(&example, before).await;
    assert!(!reading.is_finished());
    // A peer that has nothing to read does not stall.
    assert!(idle.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    reading.abort();
}

/// A peer whose network is gone: whatever is sent to it is dropped, and nothing comes back, not even a reset.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn it_disconnects_a_peer_that_vanishes() {
    let example = start();
    let before = sockets(&example);
    let vanished = ask(TcpStream::connect(address(&example)).await.unwrap(), "/events/clock").await;
    // A filter of one instruction for each packet that arrives: keep 0 bytes of it.
    socket2::SockRef::from(&vanished).attach_filter(&[socket2::SockFilter::new(6, 0, 0, 0)]).unwrap();
    until_sockets(&example, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_disconnects_a_peer_that_sends_its_request_slowly() {
    let example = start();
    let mut slow = TcpStream::connect(address(&example)).await.unwrap();
    slow.write_all(b"GET /events/clock HTTP/1.1\r\nhost: ").await.unwrap();
    let closed = async { while slow.read_buf(&mut Vec::new()).await.unwrap_or(0) > 0 {} };
    timeout(STUCK, closed).await.expect("the server hangs up");
}
