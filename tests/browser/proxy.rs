//! The network between browser and server, which can be cut and repaired.

use std::net::Ipv4Addr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A TCP proxy. It ends with the runtime of its test.
pub struct Proxy {
    pub port: u16,
    upstream: watch::Sender<Option<u16>>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), upstream: watch::Sender::new(Some(port)) };
        let upstream = proxy.upstream.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, upstream.clone()));
            }
        });
        proxy
    }

    /// Closes every connection, at any place in an event, and every new one at once.
    pub fn cut(&self) {
        self.upstream.send_replace(None);
    }

    pub fn mend(&self, port: u16) {
        self.upstream.send_replace(Some(port));
    }
}

async fn carry(mut client: TcpStream, mut upstream: watch::Receiver<Option<u16>>) {
    let Some(port) = *upstream.borrow_and_update() else { return };
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = upstream.changed() => {}
    }
}
