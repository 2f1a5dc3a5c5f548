//! The error of a value that can't be serialised as JSON.

use std::{error::Error, fmt};

/// The error of a value that [`Event::json`](crate::Event::json) could not serialise. The cause is in `source()`.
#[derive(Debug)]
pub struct SerializeError(pub(crate) serde_json::Error);

impl fmt::Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event's data could not be serialised as JSON")
    }
}

impl Error for SerializeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
