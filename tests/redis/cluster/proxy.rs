//! A proxy between a node and Redis, or between a replica and its primary, which can cut, stall and delay connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};

pub struct Proxy {
    pub port: u16,
    /// The port of the server, for new connections.
    #[allow(dead_code)]
    to: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code)]
pub enum Mode {
    Pass,
    /// Ends all connections, and new ones at once.
    Cut,
    /// Forwards nothing, and ends nothing.
    Stall,
    /// Never forwards anything again on existing connections, without ending them. New ones pass.
    Abandon,
    /// Delays everything by this long.
    Delay(Duration),
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let to = Arc::new(AtomicU16::new(to));
        let now = to.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, now.load(Ordering::SeqCst), modes.clone()));
            }
        });
        Self { port, to, mode }
    }

    /// New connections go to this port; those that there are stay.
    #[allow(dead_code)]
    pub fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::SeqCst);
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn forward(client: TcpStream, to: u16, mut modes: watch::Receiver<Mode>) {
    if *modes.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(from_client, to_server, modes.clone()) => {}
        () = copy(from_server, to_client, modes.clone()) => {}
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 << 10];
    let begun = *modes.borrow();
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        if modes.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return;
        }
        let mode = *modes.borrow();
        if mode == Mode::Abandon && begun != Mode::Abandon {
            return std::future::pending().await;
        }
        if let Mode::Delay(by) = mode {
            tokio::time::sleep(by).await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
