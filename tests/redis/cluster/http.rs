//! Requests to a node.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// How long a node may take to answer: longer than it waits for its backend.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn request(
    port: u16,
    method: &str,
    uri: &str,
    header: Option<(&str, &str)>,
    body: String,
) -> Option<Response<Incoming>> {
    let asking = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(uri).header("host", "node");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.ok()
    };
    timeout(PATIENCE, asking).await.ok()?
}

/// Posts, and returns the status and the text.
pub async fn post(port: u16, uri: &str, body: String) -> Option<(u16, String)> {
    let response = request(port, "POST", uri, None, body).await?;
    let status = response.status().as_u16();
    let bytes = timeout(PATIENCE, response.into_body().collect()).await.ok()?.ok()?.to_bytes();
    Some((status, String::from_utf8(bytes.to_vec()).ok()?))
}
