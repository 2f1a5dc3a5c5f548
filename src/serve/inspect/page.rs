//! The page for browsers.

use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    random,
    serve::{body::SseBody, response},
};

const PAGE: &str = include_str!("page.html");

/// The placeholder in the page for the nonce of its own script and style.
const NONCE: &str = "NONCE";

/// Returns the page. Its policy allows only its own script and style, and only requests to its own host. A browser that
/// knows trusted types lets the script insert nothing but text.
pub(super) fn response() -> Response<SseBody> {
    // Nothing in the page comes from outside, so nothing in it could use a guessed nonce.
    let nonce = format!("{:016x}{:016x}", random::bits(), random::bits());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    let mut response = response::not_stored(StatusCode::OK, SseBody::whole(Some(PAGE.replace(NONCE, &nonce).into())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
