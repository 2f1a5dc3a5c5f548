//! The crate's own server over TLS, here with rustls.
//!
//! Run `cargo run -p tls-example`; it prints what to try. It listens on port 8443, or on the one that you set in `PORT` (0
//! takes a free one). It makes its certificate at the start, and nobody else has signed it: `curl -k` accepts it all the same.

use std::{env, error::Error, sync::Arc, time::Duration};

use tokio::{net::TcpListener, signal::ctrl_c, time::sleep};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};
use tower_sse::{
    Event, NotFound, Publisher, SseLayer, SseService,
    server::{Serve, Server},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8443), |port| port.parse::<u16>())?;
    let publisher = Publisher::new();
    tokio::spawn(tick(publisher.clone()));
    let (certificate, key) = certificate()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // `head_timeout` also limits the time for a handshake.
    let server = Server::builder().head_timeout(Duration::from_secs(10)).build();
    let serve = serve(&server, &publisher, listener, acceptor(certificate, key)?)?;
    let address = serve.local_addr()?;
    println!("listening on https://{address}\n  curl -kN https://{address}/events/clock");
    serve.with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    Ok(())
}

fn serve(
    server: &Server,
    publisher: &Publisher,
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> Result<Serve<TcpListener, SseService<NotFound>>, tower_sse::RouteError> {
    let app = SseLayer::new(publisher.clone()).route("/events/{channel}")?.into_service();
    Ok(server.serve(listener, app).handshake(move |tcp| acceptor.accept(tcp)).publisher(publisher))
}

/// Offers HTTP/2 first: over HTTP/1.1, a browser has only six connections for all of its tabs.
fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, rustls::Error> {
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A certificate for this machine that nobody else has signed. Load your own instead.
fn certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    Ok((made.cert.into(), PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into())))
}

async fn tick(publisher: Publisher) -> Result<(), tower_sse::PublishError> {
    for second in 1.. {
        sleep(Duration::from_secs(1)).await;
        publisher.channel("clock").send(Event::text(format!("{second} s"))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::*;

    /// Returns a connection to a server, and a guard that shuts the server down when it is dropped.
    async fn connect(server: &Server, publisher: &Publisher) -> (TlsStream<TcpStream>, oneshot::Sender<()>) {
        let (certificate, key) = certificate().unwrap();
        let acceptor = acceptor(certificate.clone(), key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = serve(server, publisher, listener, acceptor).unwrap();
        let address = serve.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(serve.with_graceful_shutdown(async { _ = stopped.await }).into_future());

        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(address).await.unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        (tls, stop)
    }

    async fn read_to(tls: &mut TlsStream<TcpStream>, wanted: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            assert_ne!(tls.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        }
        String::from_utf8(seen).unwrap()
    }

    #[tokio::test]
    async fn a_stream_over_tls_is_detached_and_ends_with_a_shutdown() {
        let (server, publisher) = (Server::new(), Publisher::new());
        let (mut tls, stop) = connect(&server, &publisher).await;
        tls.write_all(b"GET /events/chat HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(read_to(&mut tls, "\n:\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        for n in 0..100 {
            publisher.channel("chat").send(Event::text(format!("{n} {}", "x".repeat(10_000)))).await.unwrap();
            let id = read_to(&mut tls, "\n\n").await;
            assert!(id.contains(&format!("data: {n} xxx")));
        }
        assert_eq!((server.stats().detached, server.stats().by_hyper), (1, 0));
        drop(stop);
        // The connection ends as TLS says, so the client knows that nothing was cut off.
        let mut rest = String::new();
        tls.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("retry: ") && rest.ends_with("0\r\n\r\n"), "{rest}");
        while server.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_frees_its_subscription() {
        let (server, publisher) = (Server::new(), Publisher::new());
        let (mut tls, _stop) = connect(&server, &publisher).await;
        tls.write_all(b"GET /events/chat HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        read_to(&mut tls, "\n:\n").await;
        assert_eq!(publisher.connections(), 1);
        tls.shutdown().await.unwrap();
        while server.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(publisher.connections(), 0);
    }
}
