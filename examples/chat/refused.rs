//! What was wrong with a request, told as JSON.

use std::error::Error;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_sse::PublishError;

pub struct Refused(StatusCode, String);

pub fn bad_request(error: impl Error) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error.to_string())
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            error if error.is_invalid_text() => StatusCode::BAD_REQUEST,
            error if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            error if error.is_finished() => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Self(status, format!("{error}{cause}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "status": "error", "error": self.1 }))).into_response()
    }
}
