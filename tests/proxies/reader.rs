//! A reader on the far side of the proxy.

use std::{io::Write, time::Duration};

use flate2::write::GzDecoder;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    http::response::Parts,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpStream, time::timeout};

/// The limit of a wait that should succeed. It is less than the proxies' timeouts, after which some flush a buffer.
pub const SOON: Duration = Duration::from_secs(20);

/// The header that makes a proxy compress, if it is configured to. Every browser sends one like it.
pub const ANY_ENCODING: (&str, &str) = ("accept-encoding", "gzip");

/// A stream, read up to the text that a test waits for. Dropping it hangs up.
pub struct Reader {
    pub head: Parts,
    body: Incoming,
    /// What arrived so far, decoded, beyond what was waited for.
    seen: Seen,
    patience: Duration,
}

enum Seen {
    Plain(Vec<u8>),
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl Reader {
    /// Sends a request, and returns the response of whatever kind. Every wait fails after `patience`.
    pub async fn ask(port: u16, path: &str, headers: &[(&str, &str)], patience: Duration) -> Result<Self, String> {
        let mut request = Request::get(format!("http://127.0.0.1:{port}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = timeout(patience, response).await.map_err(|_| "no response".to_owned())?;
        let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
        let seen = match head.headers.get("content-encoding") {
            None => Seen::Plain(Vec::new()),
            Some(_) => Seen::Gzip(Box::new(GzDecoder::new(Vec::new()))),
        };
        Ok(Self { head, body, seen, patience })
    }

    /// Opens a stream.
    pub async fn open(port: u16, path: &str, headers: &[(&str, &str)], patience: Duration) -> Result<Self, String> {
        let mut reader = Self::ask(port, path, headers, patience).await?;
        let kind = reader.head.headers.get("content-type").cloned();
        if reader.head.status == 200 && kind.is_some_and(|kind| kind == "text/event-stream") {
            return Ok(reader);
        }
        let status = reader.head.status;
        Err(format!("{status}, {:?}", reader.rest().await))
    }

    /// Reads a stream's first bytes.
    pub async fn begin(&mut self) -> Result<(), String> {
        self.read_to("retry: 200\n:\n").await
    }

    /// Reads until `wanted` has arrived.
    pub async fn read_to(&mut self, wanted: &str) -> Result<(), String> {
        while !self.seen.take(wanted) {
            let frame = timeout(self.patience, self.body.frame()).await;
            let frame = frame.map_err(|_| format!("{wanted:?} is held back; there is {:?}", self.seen.text()))?;
            let frame = frame.ok_or_else(|| format!("the end before {wanted:?}, after {:?}", self.seen.text()))?;
            self.seen.add(&frame.map_err(|error| error.to_string())?.into_data().unwrap_or_default());
        }
        Ok(())
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> String {
        while let Ok(Some(Ok(frame))) = timeout(self.patience, self.body.frame()).await {
            self.seen.add(&frame.into_data().unwrap_or_default());
        }
        self.seen.text()
    }
}

impl Seen {
    fn add(&mut self, data: &[u8]) {
        match self {
            Seen::Plain(seen) => seen.extend_from_slice(data),
            Seen::Gzip(decoder) => {
                decoder.write_all(data).unwrap();
                // Only what can be decoded so far: it is everything only if the proxy flushes.
                decoder.flush().unwrap();
            }
        }
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        match self {
            Seen::Plain(seen) => seen,
            Seen::Gzip(decoder) => decoder.get_mut(),
        }
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.buffer()).into_owned()
    }

    /// Removes everything up to the end of `wanted`, if it is there.
    fn take(&mut self, wanted: &str) -> bool {
        let Some(at) = self.text().find(wanted) else { return false };
        self.buffer().drain(..at + wanted.len());
        true
    }
}

/// How many of `count` streams on one HTTP/2 connection begin.
pub async fn on_one_connection(port: u16, count: usize) -> usize {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let asked = (0..count).map(|n| {
        let mut sender = sender.clone();
        let url = format!("http://127.0.0.1:{port}/events/many/{n}");
        let request = Request::get(url).body(Empty::<Bytes>::new()).unwrap();
        async move { timeout(Duration::from_secs(2), sender.send_request(request)).await.ok()?.ok() }
    });
    // They are held until all are counted.
    let answered: Vec<Response<Incoming>> = join_all(asked).await.into_iter().flatten().collect();
    driving.abort();
    answered.iter().filter(|response| response.status() == 200).count()
}
