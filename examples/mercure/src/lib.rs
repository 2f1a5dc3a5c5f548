//! A hub that speaks the protocol of [Mercure](https://mercure.rocks/spec): version 0.x, as `symfony/mercure` and other
//! publishers and subscribers do, and what these need of the drafts of version 1.0.
//!
//! All updates are events of one channel, and each reader is sent those that its topic selectors match. So one id
//! resumes any set of topics, an update with several topics arrives once, and a selector may match topics that do not
//! exist yet. The price:
//!
//! - The topics of each update are compared for each connected reader. That is fine for thousands of readers, or for many
//!   updates per second, but not for both.
//! - All topics share one history, so a busy topic evicts the updates of a quiet one. A reader whose last update is no longer
//!   held gets a `gap`, even if nothing for it was lost. Set a `Retention` that covers your longest reconnect.
//!
//! If your readers name their topics exactly, use the layer as it is, with a channel for each topic: `jwt` understands the
//! claims, and a reader costs nothing while other topics are updated.
//!
//! The optional subscription API and its events are left out, and of version 1.0 the metadata of the protected resource, and
//! the check of a token's `typ`.

mod claims;
mod id;
mod publish;
mod selector;
mod subscribe;
mod update;

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_sse::{ChannelName, Denied, Jwt, JwtError, JwtKeys, Publisher, jwt};

/// The channel of all updates.
const UPDATES: ChannelName = ChannelName::from_static("updates");
/// The most topics of an update, and the most selectors of a subscriber or a token.
const MAX_TOPICS: usize = 100;

/// Publishes updates, and sends them to their subscribers.
#[derive(Clone)]
pub struct Hub {
    publisher: Publisher,
    publishers: Jwt,
    subscribers: Jwt,
}

impl Hub {
    /// Creates a hub for version 0.x, which accepts tokens that were signed with these keys. Clones of `publisher` share its
    /// updates, which it also shares with other nodes if it has a backend.
    pub fn new(publisher: Publisher, publisher_key: &str, subscriber_key: &str) -> Result<Self, JwtError> {
        let tokens = |key: &str| {
            // Tokens without `exp` are common, and valid for as long as their key is.
            let tokens = tokens(key)?.allow_without_expiry();
            Ok::<_, JwtError>(tokens.query_parameter("authorization").cookie("mercureAuthorization"))
        };
        Ok(Self { publisher, publishers: tokens(publisher_key)?, subscribers: tokens(subscriber_key)? })
    }

    /// Does the same for version 1.0, whose tokens name their issuer and the hub.
    pub fn version_1(
        publisher: Publisher,
        publisher_key: &str,
        subscriber_key: &str,
        issuer: &str,
        hub: &str,
    ) -> Result<Self, JwtError> {
        let tokens = |key: &str| {
            let tokens = tokens(key)?.issuer([issuer]).audience([hub]);
            Ok::<_, JwtError>(tokens.cookie("__Secure-mercure_access_token"))
        };
        Ok(Self { publisher, publishers: tokens(publisher_key)?, subscribers: tokens(subscriber_key)? })
    }

    /// Returns the hub's routes: the well-known one.
    pub fn router(self) -> Router {
        Router::new()
            .route("/.well-known/mercure", get(subscribe::subscribe).post(publish::publish))
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(self)
    }
}

fn tokens(key: &str) -> Result<Jwt, JwtError> {
    // "The connection MUST be closed by the hub at that time."
    Ok(jwt(JwtKeys::secret(key)?).leeway(Duration::ZERO))
}

/// Why a request is refused.
struct Refused(StatusCode, String);

impl Refused {
    fn bad(why: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }
}

/// The error of a token.
impl From<Box<dyn Error + Send + Sync>> for Refused {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast_ref::<Denied>() {
            Some(denied) => Self(denied.status(), denied.to_string()),
            None => Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        *response.status_mut() = self.0;
        if self.0 == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
