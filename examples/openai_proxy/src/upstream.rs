//! The API behind the proxy.

use std::{env, error::Error};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header, request::Parts},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;

pub struct Upstream {
    base: String,
    /// Without one, each client's own key is passed on.
    key: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Upstream {
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let base = env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".into());
        let key =
            env::var("OPENAI_API_KEY").ok().map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose()?;
        let https = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            key,
            client: Client::builder(TokioExecutor::new()).build(https),
        })
    }

    /// Sends a request on. If that fails, the answer is a 502.
    pub async fn send(&self, parts: &Parts, body: Body) -> Response<Body> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        match format!("{}{}", self.base, path.strip_prefix("/v1").unwrap_or(path)).parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return error(StatusCode::BAD_GATEWAY, "OPENAI_BASE_URL is not a URL"),
        }
        for name in [header::ACCEPT, header::AUTHORIZATION, header::CONTENT_TYPE, header::USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(key) = &self.key {
            request.headers_mut().insert(header::AUTHORIZATION, key.clone());
        }
        match self.client.request(request).await {
            Ok(mut response) => {
                // These are about the connection to the upstream.
                response.headers_mut().remove(header::CONNECTION);
                response.headers_mut().remove(header::TRANSFER_ENCODING);
                response.map(Body::new)
            }
            Err(_) => error(StatusCode::BAD_GATEWAY, "the upstream does not answer"),
        }
    }
}

/// An error as the clients of the protocol expect it.
pub fn error(status: StatusCode, message: &str) -> Response<Body> {
    let error = json!({ "error": { "message": message, "type": "server_error", "param": null, "code": null } });
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
