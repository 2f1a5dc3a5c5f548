//! Fetches the keys of an identity provider.

use std::error::Error;

use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_sse::JwtKeys;

type BoxError = Box<dyn Error + Send + Sync>;

/// The largest key set that is read. A real one has some kilobytes.
const LARGEST: usize = 256 << 10;

/// Returns the keys at this URL, which an identity provider calls its `jwks_uri`. They are fetched with the first request,
/// again when a token names a key that is not among them, and every five minutes while they are in use.
///
/// `JwtKeys` decides when to fetch, how often at most, and for how long a fetch may take. This decides how.
pub fn keys(url: Uri) -> Result<JwtKeys, BoxError> {
    // One client, so that its connection is used again.
    let https = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&'static [u8]>>(https);
    Ok(JwtKeys::fetched(move || {
        let response = client.get(url.clone());
        async move {
            let response = response.await?;
            match response.status() {
                StatusCode::OK => {
                    let body = Limited::new(response.into_body(), LARGEST).collect().await?;
                    Ok::<_, BoxError>(body.to_bytes())
                }
                status => Err(format!("the provider answers with {status}").into()),
            }
        }
    }))
}
