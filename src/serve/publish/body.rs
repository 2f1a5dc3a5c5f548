//! Reads a request's body, as far as it is allowed to go.

use std::{pin::pin, time::Duration};

use bytes::Buf;
use http_body::Body;
use tokio::time::timeout;

use super::answer::{self, Refused};
use crate::error::BoxError;

pub(super) async fn read<B>(body: B, max: usize, patience: Duration) -> Result<Vec<u8>, Refused>
where
    B: Body<Error: Into<BoxError>>,
{
    // What is announced is refused before it is sent.
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > max) {
        return Err(answer::too_large_body(max));
    }
    timeout(patience, collect(body, max)).await.unwrap_or_else(|_| Err(answer::late()))
}

async fn collect<B>(body: B, max: usize) -> Result<Vec<u8>, Refused>
where
    B: Body<Error: Into<BoxError>>,
{
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| answer::malformed("the body breaks off"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > max - bytes.len() {
            return Err(answer::too_large_body(max));
        }
        while data.has_remaining() {
            let len = data.chunk().len();
            bytes.extend_from_slice(data.chunk());
            data.advance(len);
        }
    }
    Ok(bytes)
}
