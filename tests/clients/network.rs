//! The network between a client and the server: a TCP proxy with a list of faults, one for each connection.

use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What happens to the bytes that the server sends on a connection.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The connection ends after that many bytes.
    Cut(usize),
    /// The client receives that many bytes, then the connection is reset.
    Reset(usize),
    /// Nothing follows that many bytes for a while, then the connection ends.
    Stall(usize),
    /// That many bytes arrive one by one, then the connection ends.
    Trickle(usize),
    /// The connection ends right before the blank line of the first event.
    BeforeBlankLine,
    /// The connection ends right after the first event.
    AfterEvent,
}

/// How long a stalled connection is silent.
const STALL: Duration = Duration::from_millis(300);

pub struct Network {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    faults: std::sync::Mutex<VecDeque<Fault>>,
    left: AtomicUsize,
    changed: watch::Sender<()>,
    /// Never cut before a blank line, which is a loss for one client, by its own fault.
    spare_blank_lines: bool,
}

impl Network {
    pub async fn to(upstream: u16, faults: Vec<Fault>, spare_blank_lines: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            left: AtomicUsize::new(faults.len()),
            faults: std::sync::Mutex::new(faults.into()),
            changed: watch::Sender::new(()),
            spare_blank_lines,
        });
        tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let shared = shared.clone();
                    // A client that hangs up is an error here, which does not matter.
                    tokio::spawn(async move { shared.carry(client).await.unwrap_or_default() });
                }
            }
        });
        Self { port, shared }
    }

    /// How many faults have not happened yet.
    pub fn left(&self) -> usize {
        self.shared.left.load(Ordering::SeqCst)
    }

    /// Waits until all faults have happened.
    pub async fn spent(&self) {
        self.shared.changed.subscribe().wait_for(|()| self.left() == 0).await.unwrap();
    }
}

impl Shared {
    async fn carry(&self, client: TcpStream) -> io::Result<()> {
        // A browser opens connections that it may never use.
        client.readable().await?;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async { copy(&mut from_client, &mut to_server).await.map(drop) };
        let fault = self.faults.lock().unwrap().pop_front();
        let down = async {
            match fault {
                Some(fault) => self.suffer(fault, &mut from_server, &mut to_client).await,
                None => copy(&mut from_server, &mut to_client).await.map(drop),
            }
        };
        let result = tokio::select! { result = up => result, result = down => result };
        // Reunited, because dropping a half ends its direction, and then there is no reset.
        let client = from_client.reunite(to_client).expect("they are of one socket");
        if let Some(Fault::Reset(_)) = fault {
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        }
        drop(client);
        if fault.is_some() {
            self.left.fetch_sub(1, Ordering::SeqCst);
            self.changed.send_replace(());
        }
        result
    }

    async fn suffer(&self, fault: Fault, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let (bytes, at_once) = match fault {
            Fault::Cut(bytes) | Fault::Reset(bytes) | Fault::Stall(bytes) => (bytes, true),
            Fault::Trickle(bytes) => (bytes, false),
            Fault::BeforeBlankLine | Fault::AfterEvent => (usize::MAX, false),
        };
        // Written at once, because a reset discards whatever the kernel has not sent: of hundreds of one-byte segments,
        // most. The client would then see a cut at any earlier byte, even within the head.
        let mut held = Vec::new();
        let mut line = Vec::new();
        let mut was_at_blank_line = false;
        let mut sent = 0;
        while sent < bytes || (self.spare_blank_lines && line == b"\n") {
            let byte = from.read_u8().await?;
            // After the end of an `id` line, only that end is kept.
            match byte {
                b'\n' if line.starts_with(b"id: ") => line = b"\n".to_vec(),
                b'\n' => line.clear(),
                byte if line == b"\n" => line = vec![byte],
                byte => line.push(byte),
            }
            held.push(byte);
            sent += 1;
            let at_blank_line = line == b"\n";
            match fault {
                Fault::BeforeBlankLine if at_blank_line => break,
                Fault::AfterEvent if was_at_blank_line && byte == b'\n' => break,
                _ => was_at_blank_line = at_blank_line,
            }
            if !at_once {
                to.write_all(&std::mem::take(&mut held)).await?;
                tokio::task::yield_now().await;
            }
        }
        to.write_all(&held).await?;
        if let Fault::Stall(_) = fault {
            tokio::time::sleep(STALL).await;
        }
        Ok(())
    }
}
