//! Connections that begin with a handshake, as connections over TLS do.

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, service_fn};
use tower_sse::server::{PeerAddr, RequestBody, Server};

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

/// Returns the client's side of a connection whose server waits for `shake` first.
fn shaking(server: &Server, shake: impl Future<Output = io::Result<()>> + Send + 'static) -> Raw {
    let (io, theirs) = duplex(1 << 16);
    let app = app(&Alive::default());
    let handshake = async { shake.await.map(|()| (theirs, app)) };
    Raw::of(io, tokio::spawn(server.serve_connection_with_handshake(handshake)))
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_too_long_or_fails_closes_the_connection() {
    let server = Server::builder().head_timeout(Duration::from_secs(5)).build();
    let (begin, mut slow) = (Instant::now(), shaking(&server, pending()));
    let mut failed = shaking(&server, async { Err(io::ErrorKind::InvalidData.into()) });
    assert_eq!((failed.rest().await, begin.elapsed().as_secs()), (String::new(), 0));
    settle().await;
    assert_eq!((server.stats().connections, server.stats().handshake_errors), (1, 1));
    assert_eq!((slow.rest().await, begin.elapsed().as_secs()), (String::new(), 5));
    settle().await;
    assert_eq!((server.stats().connections, server.stats().handshake_errors), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_takes_a_place_among_the_connections() {
    let server = Server::builder().max_connections(1).build();
    let mut first = shaking(&server, async {
        sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    assert_eq!(shaking(&server, pending()).rest().await, "");
    assert_eq!((server.stats().accepted, server.stats().refused, server.stats().handshake_errors), (1, 1, 0));
    first.send("GET /one HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(first.rest().await.ends_with("3\r\none\r\n0\r\n\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_handshakes_at_once() {
    let server = Server::new();
    let mut raw = shaking(&server, pending());
    settle().await;
    assert!(server.shutdown(Duration::from_secs(3600)).await);
    assert_eq!((raw.rest().await, server.stats().handshake_errors), (String::new(), 0));
}

/// A handshake that waits for a letter from the client.
async fn shake(mut tcp: TcpStream) -> io::Result<TcpStream> {
    tcp.read_u8().await?;
    Ok(tcp)
}

/// Answers with the address of the peer.
async fn whoami(request: Request<RequestBody>) -> Result<Response<String>, Infallible> {
    let PeerAddr(peer) = request.extensions().get::<PeerAddr<SocketAddr>>().unwrap();
    Ok(Response::new(peer.to_string()))
}

/// Asks `whoami` after a letter for the handshake, and returns whether the answer is right.
async fn is_served(addr: SocketAddr) -> bool {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"!GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = String::new();
    tcp.read_to_string(&mut read).await.is_ok() && read.ends_with(&format!("\r\n\r\n{}", tcp.local_addr().unwrap()))
}

#[tokio::test]
async fn handshakes_do_not_wait_for_each_other_and_the_peer_is_known_after_them() {
    let server = Server::new();
    let serve = server.serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), service_fn(whoami)).handshake(shake);
    // The system chose the port.
    let addr = serve.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving: JoinHandle<_> = tokio::spawn(serve.with_graceful_shutdown(async { _ = stopped.await }).into_future());

    let _silent = TcpStream::connect(addr).await.unwrap();
    assert!(is_served(addr).await);
    drop(stop);
    serving.await.unwrap().unwrap();
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test]
async fn a_handshake_that_panics_costs_only_its_own_connection() {
    let server = Server::new();
    let first = Arc::new(AtomicBool::new(true));
    let panics = move |tcp| {
        assert!(!first.swap(false, Ordering::SeqCst), "the first handshake panics");
        shake(tcp)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = server.serve(listener, service_fn(whoami)).handshake(panics);
    let addr = serve.local_addr().unwrap();
    let serving = tokio::spawn(serve.into_future());

    assert!(!is_served(addr).await);
    assert_eq!(server.stats().connections, 0);
    assert!(is_served(addr).await);
    serving.abort();
}

/// The letter with which a client began.
#[derive(Clone, Copy)]
struct Letter(u8);

#[tokio::test]
async fn what_a_handshake_found_out_is_known_to_each_request() {
    let answer = service_fn(async |request: Request<RequestBody>| {
        let (letter, peer) = (request.extensions().get(), request.extensions().get::<PeerAddr<SocketAddr>>());
        let letter = letter.map(|Letter(letter)| char::from(*letter));
        Ok::<_, Infallible>(Response::new(format!("{letter:?} {}", peer.is_some())))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = Server::new().serve(listener, answer).handshake_with_extension(async |mut tcp: TcpStream| {
        let letter = tcp.read_u8().await?;
        Ok((tcp, Letter(letter)))
    });
    let addr = serve.local_addr().unwrap();
    let serving = tokio::spawn(serve.into_future());

    let (mut a, mut b) = (TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap());
    for (tcp, letter) in [(&mut a, 'a'), (&mut b, 'b')] {
        tcp.write_all(&[letter as u8]).await.unwrap();
    }
    for (tcp, letter) in [(&mut a, 'a'), (&mut b, 'b')] {
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut read = String::new();
        tcp.read_to_string(&mut read).await.unwrap();
        assert_eq!(read.matches(&format!("\r\n\r\nSome('{letter}') true")).count(), 2, "{read}");
    }
    serving.abort();
}

/// As behind a proxy that says who its client is.
#[tokio::test]
async fn an_address_that_a_handshake_found_out_replaces_that_of_the_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = SocketAddr::from(([192, 0, 2, 1], 7));
    let serve = Server::new()
        .serve(listener, service_fn(whoami))
        .handshake_with_extension(async move |tcp| Ok((shake(tcp).await?, PeerAddr(client))));
    let addr = serve.local_addr().unwrap();
    let serving = tokio::spawn(serve.into_future());

    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"!GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = String::new();
    tcp.read_to_string(&mut read).await.unwrap();
    assert!(read.ends_with(&format!("\r\n\r\n{client}")), "{read}");
    serving.abort();
}

#[tokio::test]
async fn the_service_of_a_connection_can_depend_on_its_handshake() {
    let server = Server::new();
    for name in ["ana", "bob"] {
        let (mut io, mut theirs) = duplex(1000);
        let handshake = async move {
            let mut name = [0; 3];
            theirs.read_exact(&mut name).await?;
            let answer = move |_: Request<RequestBody>| async move {
                Ok::<_, Infallible>(Response::new(String::from_utf8_lossy(&name).into_owned()))
            };
            Ok((theirs, service_fn(answer)))
        };
        let served = tokio::spawn(server.serve_connection_with_handshake(handshake));
        io.write_all(format!("{name}GET / HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert!(Raw::of(io, served).rest().await.ends_with(&format!("\r\n\r\n{name}")));
    }
}

#[tokio::test]
async fn an_accept_loop_of_your_own_adds_the_address_of_the_peer_as_a_layer() {
    let answer = service_fn(async |request: Request<RequestBody>| {
        let PeerAddr(peer) = request.extensions().get::<PeerAddr<&'static str>>().unwrap();
        Ok::<_, Infallible>(Response::new((*peer).to_owned()))
    });
    let (io, theirs): (DuplexStream, _) = duplex(1000);
    let connection = Server::new().serve_connection(theirs, PeerAddr("a pipe").layer(answer));
    let mut raw = Raw::of(io, tokio::spawn(connection));
    raw.send("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(raw.rest().await.ends_with("\r\n\r\na pipe"));
}
