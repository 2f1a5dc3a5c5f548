//! A reader on a socket of its own, which understands only as much of the format as the server uses.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

pub struct Reader {
    lines: BufReader<TcpStream>,
    line: String,
    /// The id of the last complete event.
    pub id: String,
    /// The last `retry:`, in milliseconds.
    pub retry: Option<u64>,
}

pub struct Received {
    pub name: String,
    pub data: String,
}

impl Reader {
    /// Connects, and returns once head and preamble have arrived.
    pub async fn open(port: u16, path: &str, id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut reader = Self::ask(stream, path, id).await?;
        while reader.retry.is_none() {
            reader.line().await?;
        }
        Ok(reader)
    }

    async fn ask(stream: TcpStream, path: &str, id: &str) -> io::Result<Self> {
        let mut stream = stream;
        let id_line = if id.is_empty() { String::new() } else { format!("last-event-id: {id}\r\n") };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{id_line}\r\n").as_bytes()).await?;
        Ok(Self { lines: BufReader::with_capacity(4 << 10, stream), line: String::new(), id: id.into(), retry: None })
    }

    async fn line(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.lines.read_line(&mut self.line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(millis) = self.line.strip_prefix("retry: ") {
            self.retry = Some(millis.trim_end().parse().unwrap());
        }
        Ok(())
    }

    /// The next event, which ends with its id; an error is the end. Chunks begin and end at line boundaries, so their
    /// sizes are lines of their own.
    pub async fn next(&mut self) -> io::Result<Received> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            self.line().await?;
            let line = self.line.trim_end_matches('\n');
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = text.to_owned();
            } else if let Some(id) = line.strip_prefix("id: ") {
                self.id = id.to_owned();
                return Ok(Received { name, data });
            }
        }
    }
}

/// A reader that never reads. Its socket buffers as little as possible; the rest stays on the server.
pub async fn stalled(port: u16, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

/// The two numbers at the beginning of a text.
pub fn numbers(data: &str) -> (u64, u64) {
    let mut numbers = data.split(' ').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
