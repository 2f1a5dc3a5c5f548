//! What was wrong with a request, as JSON.

use std::error::Error;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_sse::PublishError;

pub struct Refused(StatusCode, String);

impl Refused {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }
}

pub fn bad_request(error: impl Error) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, error.to_string())
}

/// Says what was expected, and where the body broke off: the error has the line and the column.
pub fn not_json(expected: &str, error: serde_json::Error) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, format!("{expected}: {error}"))
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            error if error.is_invalid_text() => StatusCode::BAD_REQUEST,
            error if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            error if error.is_finished() => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        // The causes say what is wrong with a name, or with the store.
        let mut text = error.to_string();
        let mut causes = error.source();
        while let Some(cause) = causes {
            text += &format!(": {cause}");
            causes = cause.source();
        }
        Self(status, text)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "status": "error", "error": self.1 }))).into_response()
    }
}
