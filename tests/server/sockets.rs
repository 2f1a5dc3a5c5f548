//! Real sockets, and listeners that fail.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tower::service_fn;
use tower_sse::server::{Listener, PeerAddr, RequestBody, Server, SocketOptions};

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came true");
}

#[tokio::test]
async fn readers_that_stall_on_real_sockets_are_closed_and_the_others_stay() {
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_millis(200)).build(), Alive::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = TcpListener::local_addr(&listener).unwrap();
    let serving = tokio::spawn(server.serve(listener, app(&alive)).into_future());
    let mut clients = Vec::new();
    for target in ["/always", "/always", "/always?plain=yes", "/one/wait"] {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        clients.push(tcp);
    }
    until(|| (server.stats().accepted, server.stats().connections, alive.count()) == (4, 1, 1)).await;
    assert_eq!((server.stats().stalled, server.stats().streams), (3, 1));
    // A client that hangs up is gone at once.
    drop(clients);
    until(|| (server.stats().connections, alive.count()) == (0, 0)).await;
    serving.abort();
}

/// If a server closes a connection with unread data, the system resets it, and the client loses what has not arrived yet.
#[tokio::test]
async fn a_client_that_sends_more_than_is_read_gets_the_whole_response_before_the_close() {
    let (server, alive) = (Server::new(), Alive::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = TcpListener::local_addr(&listener).unwrap();
    let serving = tokio::spawn(server.serve(listener, app(&alive)).into_future());
    // Only a part of the response fits into this buffer.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut tcp = socket.connect(addr).await.unwrap();
    let (path, more) = ("x".repeat(14_000), "x".repeat(100_000));
    tcp.write_all(format!("GET /{path} HTTP/1.1\r\nconnection: close\r\n\r\n{more}").as_bytes()).await.unwrap();
    until(|| server.stats().detached == 1 && server.stats().streams == 0).await;
    settle().await;
    let mut read = String::new();
    tcp.read_to_string(&mut read).await.unwrap();
    assert!(read.ends_with(&format!("{path}\r\n0\r\n\r\n")), "{} bytes came", read.len());
    drop(tcp);
    until(|| server.stats().connections == 0).await;
    serving.abort();
}

/// What the client has sent is not read to its end, so the server can't see there that the client has left.
#[cfg(unix)]
#[tokio::test]
async fn a_client_that_has_sent_more_than_is_read_and_breaks_off_frees_its_stream() {
    let (server, alive) = (Server::new(), Alive::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = TcpListener::local_addr(&listener).unwrap();
    let serving = tokio::spawn(server.serve(listener, app(&alive)).into_future());
    let mut clients = Vec::new();
    for more in ["", "GET"] {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(format!("GET /one/wait HTTP/1.1\r\n\r\n{more}").as_bytes()).await.unwrap();
        clients.push(tcp);
    }
    until(|| server.stats().streams == 2).await;
    for tcp in clients {
        tcp.writable().await.unwrap();
        // Sent during the stream.
        tcp.try_write(&[b'x'; 1_000]).unwrap();
        settle().await;
        // A reset, as the system also sends it for a process that has ended.
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
    until(|| (server.stats().connections, alive.count()) == (0, 0)).await;
    serving.abort();
}

#[cfg(unix)]
const NO_FILES: &str = "TOWER_SSE_NO_FILES";

/// The process that the next test starts. It may open only a few files.
#[cfg(unix)]
#[tokio::test]
async fn a_stream_with_no_file_left() {
    if std::env::var_os(NO_FILES).is_none() {
        return;
    }
    let server = Server::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(TcpListener::local_addr(&listener).unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(server.serve_connection(tcp, app(&Alive::default())));
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    client.write_all(b"GET /one/later/two HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    assert!(read.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{read}");
    assert_eq!(server.stats().detached, 1);
    serving.await.unwrap();
}

#[cfg(unix)]
#[test]
fn streams_are_served_when_the_process_has_no_file_descriptors_left() {
    let program = std::env::current_exe().unwrap();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" --exact sockets::a_stream_with_no_file_left"]);
    let ran = limited.arg(program).env(NO_FILES, "1").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[tokio::test]
async fn sockets_are_set_up_for_streams() {
    let server = Server::builder().stall_timeout(Duration::from_secs(17)).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(TcpListener::local_addr(&listener).unwrap()).await.unwrap();
    server.tune(&client).unwrap();
    let socket = socket2::SockRef::from(&client);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(17)));
}

/// A listener that fails as it is told, and then accepts connections.
struct Failing {
    errors: VecDeque<ErrorKind>,
    connections: VecDeque<DuplexStream>,
}

impl Listener for Failing {
    type Io = DuplexStream;
    type Addr = &'static str;

    async fn accept(&mut self) -> io::Result<(DuplexStream, &'static str)> {
        if let Some(error) = self.errors.pop_front() {
            return Err(error.into());
        }
        match self.connections.pop_front() {
            Some(connection) => Ok((connection, "a pipe")),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<&'static str> {
        Ok("the other end")
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_is_asked_again_after_a_while() {
    let (client, theirs) = duplex(1000);
    let errors = [ErrorKind::ConnectionAborted, ErrorKind::Other, ErrorKind::ConnectionReset, ErrorKind::OutOfMemory];
    let listener = Failing { errors: errors.into(), connections: [theirs].into() };
    let server = Server::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server.serve(listener, app(&Alive::default())).with_graceful_shutdown(async { _ = stopped.await });
    let serving = tokio::spawn(serving.into_future());
    let mut raw = Raw::of(client, tokio::spawn(async {}));
    raw.send("GET /one HTTP/1.1\r\n\r\n").await;
    raw.until("0\r\n\r\n").await;
    assert_eq!((server.stats().accept_errors, server.stats().accepted), (2, 1));
    drop(stop);
    serving.await.unwrap().unwrap();
}

/// A listener that notes which options it gets.
struct Noting(Arc<Mutex<Vec<SocketOptions>>>);

impl Listener for Noting {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }

    fn prepare(&self, options: &SocketOptions) {
        self.0.lock().unwrap().push(options.clone());
    }
}

#[tokio::test]
async fn a_listener_of_your_own_gets_the_limits_of_its_server() {
    let noted = Arc::<Mutex<Vec<_>>>::default();
    let limits = [Duration::from_secs(30), Duration::from_secs(17), Duration::ZERO, Duration::MAX];
    for limit in limits {
        let server = Server::builder().stall_timeout(limit).build();
        let serve = server.serve(Noting(noted.clone()), app(&Alive::default()));
        serve.with_graceful_shutdown(async {}).await.unwrap();
    }
    let noted = noted.lock().unwrap();
    let timeouts: Vec<_> = noted.iter().map(|options| options.stall_timeout).collect();
    assert_eq!(timeouts, [Some(limits[0]), Some(limits[1]), None, None]);
    assert_eq!(noted[0], SocketOptions::default());
}

/// A listener that passes on how to set up a connection, but not itself.
struct Wrapping(TcpListener);

impl Listener for Wrapping {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn tune(&self, tcp: &TcpStream, options: &SocketOptions) -> io::Result<()> {
        self.0.tune(tcp, options)
    }
}

#[tokio::test]
async fn a_connection_is_set_up_before_it_is_served() {
    let server = Server::builder().stall_timeout(Duration::from_secs(17)).build();
    let listener = Wrapping(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let serve = server.serve(listener, app(&Alive::default())).handshake(async move |tcp| {
        let socket = socket2::SockRef::from(&tcp);
        tell.send((socket.tcp_nodelay()?, socket.keepalive()?, socket.tcp_keepalive_time()?)).unwrap();
        Ok(tcp)
    });
    let mut client = TcpStream::connect(serve.local_addr().unwrap()).await.unwrap();
    let serving = tokio::spawn(serve.into_future());
    client.write_all(b"GET /one HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(told.recv(), Ok((true, true, Duration::from_secs(17))));
    serving.abort();
}

#[tokio::test]
async fn the_application_knows_the_address_of_the_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = TcpListener::local_addr(&listener).unwrap();
    let app = service_fn(async |request: http::Request<RequestBody>| {
        let PeerAddr(peer) = request.extensions().get::<PeerAddr<SocketAddr>>().unwrap();
        Ok::<_, std::convert::Infallible>(http::Response::new(peer.to_string()))
    });
    let serving = tokio::spawn(Server::new().serve(listener, app).into_future());
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = String::new();
    tcp.read_to_string(&mut read).await.unwrap();
    assert!(read.ends_with(&format!("\r\n\r\n{}", tcp.local_addr().unwrap())), "{read}");
    serving.abort();
}

/// I/O that takes one piece of memory at a time, and notes them.
struct OneByOne {
    io: DuplexStream,
    written: Arc<Mutex<Vec<String>>>,
}

impl AsyncRead for OneByOne {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for OneByOne {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().push(String::from_utf8_lossy(buf).into_owned());
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        unreachable!("it says that it can't")
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_chunk_is_one_write_even_if_the_io_takes_one_piece_at_a_time() {
    let (client, io) = duplex(1 << 16);
    let written = Arc::<Mutex<Vec<String>>>::default();
    let io = OneByOne { io, written: written.clone() };
    let server = Server::new();
    let mut raw = Raw::of(client, tokio::spawn(server.serve_connection(io, app(&Alive::default()))));
    raw.send("GET /one/later/two/later/three/four HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    raw.rest().await;
    let written = written.lock().unwrap();
    assert!(written[0].ends_with("\r\n\r\n3\r\none\r\n"), "{written:?}");
    // What the body has at once goes together.
    assert_eq!(written[1..], ["3\r\ntwo\r\n", "5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n"]);
}

#[tokio::test]
async fn a_connection_can_become_one_of_another_protocol() {
    let app = service_fn(async |mut request: http::Request<RequestBody>| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut read = [0; 4];
            io.read_exact(&mut read).await.unwrap();
            io.write_all(&read).await.unwrap();
        });
        let response = http::Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        Ok::<_, std::convert::Infallible>(response.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap())
    });
    let server = Server::new();
    let (client, io) = duplex(1000);
    let mut raw = Raw::of(client, tokio::spawn(server.serve_connection(io, app)));
    raw.send("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nping").await;
    assert!(raw.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.rest().await, "ping");
    settle().await;
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn a_request_that_wants_to_upgrade_and_gets_a_stream_has_it_from_hyper() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut raw = Raw::new(&server, &alive);
    raw.send("GET /one HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n").await;
    raw.until("3\r\none\r\n").await;
    assert_eq!((server.stats().detached, server.stats().by_hyper), (0, 1));
}
