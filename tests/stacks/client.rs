//! A client over a real socket, which reads a stream as it arrives.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The protocol on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A client with connections of its own.
pub struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    addr: SocketAddr,
}

/// A response whose body is read line by line.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    version: Version,
    body: Incoming,
    unread: Vec<u8>,
}

/// An event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    pub name: String,
    pub data: String,
    pub id: String,
}

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(20);

impl Client {
    pub fn new(addr: SocketAddr, protocol: Protocol) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = HyperClient::builder(TokioExecutor::new());
        let http = builder.http2_only(protocol == Protocol::Http2).build(connector);
        Self { http, addr }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn get_after(&self, path: &str, id: &str) -> Reply {
        self.send(Method::GET, path, &[("last-event-id", id)], "").await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply { status: parts.status, headers: parts.headers, version: parts.version, body, unread: Vec::new() }
    }
}

impl Reply {
    /// The next line, without its end; `None` at the end of the body.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                return Some(String::from_utf8(line[..at].to_vec()).unwrap());
            }
            let frame = tokio::time::timeout(STUCK, self.body.frame()).await.expect("nothing came");
            match frame.transpose().expect("the body broke off") {
                Some(frame) => self.unread.extend_from_slice(&frame.into_data().unwrap()),
                None if self.unread.is_empty() => return None,
                None => return Some(String::from_utf8(std::mem::take(&mut self.unread)).unwrap()),
            }
        }
    }

    /// The next event. Comments and `retry:` lines are skipped.
    pub async fn event(&mut self) -> Option<Received> {
        let mut event = Received::default();
        let mut data: Option<String> = None;
        while let Some(line) = self.line().await {
            match line.split_once(": ") {
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", line)) => match &mut data {
                    Some(data) => *data += &format!("\n{line}"),
                    None => data = Some(line.to_owned()),
                },
                Some(("id", id)) => event.id = id.to_owned(),
                _ if line.is_empty() => return Some(Received { data: data.unwrap_or_default(), ..event }),
                _ => {}
            }
        }
        None
    }

    /// The data of the next `n` events.
    pub async fn data(&mut self, n: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..n {
            all.push(self.event().await.expect("the stream ended").data);
        }
        all
    }

    /// What is left up to where the body breaks off, which it does as its protocol says.
    pub async fn broken_off(mut self) -> String {
        let error = loop {
            match tokio::time::timeout(STUCK, self.body.frame()).await.expect("nothing came") {
                Some(Ok(frame)) => self.unread.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(error)) => break error,
                None => panic!("the body ended"),
            }
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let expected = match self.version {
            // The last chunk is missing.
            Version::HTTP_11 => "unexpected EOF",
            // RST_STREAM.
            _ => "stream error received",
        };
        assert!(cause.contains(expected), "{error:?}");
        String::from_utf8(self.unread).unwrap()
    }

    /// Everything up to the end of the body.
    pub async fn rest(mut self) -> String {
        let mut rest = String::new();
        while let Some(line) = self.line().await {
            rest += &line;
            rest.push('\n');
        }
        rest
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
