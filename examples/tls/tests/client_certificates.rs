//! Clients that identify themselves by a certificate: an authorizer learns from the handshake whose request it is.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};
use tower_sse::{AuthorizeRequest, Denied, Grant, Publisher, SseLayer, authorizer_fn, server::Server};

/// Whose certificate a client has.
#[derive(Clone)]
struct User(&'static str);

/// Users read the channel that has their name.
async fn authorize(request: AuthorizeRequest) -> Result<Grant, Denied> {
    let User(name) = request.extensions().get().ok_or_else(Denied::unauthorized)?;
    if request.channels().iter().all(|channel| channel.as_str() == *name) {
        Ok(request.grant())
    } else {
        Err(Denied::forbidden())
    }
}

fn key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

fn roots<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    certificates.into_iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
    roots.into()
}

/// Serves clients that have one of the certificates.
async fn serve(
    server: &Server,
    own: &CertifiedKey<KeyPair>,
    users: HashMap<CertificateDer<'static>, User>,
) -> SocketAddr {
    let config = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(roots(users.keys())).build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key(&own.signing_key))
        .unwrap();
    let (acceptor, users) = (TlsAcceptor::from(Arc::new(config)), Arc::new(users));
    let layer = SseLayer::new(Publisher::new()).route("/events/{channel}").unwrap();
    let app = layer.authorizer(authorizer_fn(authorize)).into_service();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = server.serve(listener, app).handshake_with_extension(move |tcp| async move {
        let tls = acceptor.accept(tcp).await?;
        let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let user = certificate.and_then(|certificate| users.get(certificate)).cloned();
        let user = user.ok_or(io::ErrorKind::PermissionDenied)?;
        Ok((tls, user))
    });
    let addr = serve.local_addr().unwrap();
    tokio::spawn(serve.into_future());
    addr
}

async fn connect(addr: SocketAddr, config: ClientConfig) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(addr).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await.unwrap()
}

/// Asks for a channel, and returns the status of the answer.
async fn status(tls: &mut TlsStream<TcpStream>, channel: &str) -> String {
    tls.write_all(format!("GET /events/{channel} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    // The problem that says why, or what a stream begins with.
    while !(seen.ends_with(b"}") || seen.ends_with(b"\n:\n\r\n")) {
        assert_ne!(tls.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8_lossy(&seen["HTTP/1.1 ".len()..][..3]).into_owned()
}

#[tokio::test]
async fn an_authorizer_knows_whose_certificate_was_shown_for_each_request() {
    let names = ["ana", "bob"];
    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let made = names.map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
    let users = made.iter().map(|made| made.cert.der().clone()).zip(names.map(User)).collect();
    let server = Server::new();
    let addr = serve(&server, &own, users).await;
    let config = || ClientConfig::builder().with_root_certificates(roots([own.cert.der()]));

    for (name, made) in names.into_iter().zip(&made) {
        let chain = vec![made.cert.der().clone()];
        let mut tls = connect(addr, config().with_client_auth_cert(chain, key(&made.signing_key)).unwrap()).await;
        for other in names.into_iter().filter(|other| *other != name) {
            assert_eq!(status(&mut tls, other).await, "403");
        }
        assert_eq!(status(&mut tls, name).await, "200");
    }
    assert_eq!((server.stats().detached, server.stats().handshake_errors), (2, 0));

    // The client learns of the failure once it reads.
    let mut tls = connect(addr, config().with_no_client_auth()).await;
    assert!(tls.read_u8().await.is_err());
    assert_eq!(server.stats().handshake_errors, 1);
}
