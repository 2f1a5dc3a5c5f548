//! What a stream says about itself in a header, for clients that read it with `fetch`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The version of what a client relies on: ids, `gap`, `goodbye`, `cursor`, 204 and `retry:`. A client that does not know
/// the version says so, instead of reading the stream wrongly.
const VERSION: u8 = 1;

/// Such as `tower-sse: 1;keep-alive=15000;strict`, an Item as in [RFC 9651](https://www.rfc-editor.org/rfc/rfc9651).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// The interval after which an idle stream has a keep-alive. `None` if it never has one.
    pub(crate) keep_alive: Option<Duration>,
    /// The end of the answer means that it is complete.
    pub(crate) strict: bool,
}

/// The largest Integer of RFC 9651.
const MAX: u128 = 999_999_999_999_999;

pub(crate) const GREETING: HeaderName = HeaderName::from_static("tower-sse");

impl Greeting {
    pub(crate) fn value(self) -> HeaderValue {
        let mut text = VERSION.to_string();
        if let Some(interval) = self.keep_alive {
            // Never zero, which would say that there is none.
            text += &format!(";keep-alive={}", interval.as_millis().clamp(1, MAX));
        }
        if self.strict {
            text += ";strict";
        }
        // It is ASCII without control characters.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_has_the_version_the_keep_alive_and_whether_the_end_is_an_end() {
        let greeting = |keep_alive, strict| Greeting { keep_alive, strict }.value();
        assert_eq!(greeting(Some(Duration::from_secs(15)), false), "1;keep-alive=15000");
        assert_eq!(greeting(Some(Duration::from_nanos(1)), false), "1;keep-alive=1");
        assert_eq!(greeting(None, true), "1;strict");
        assert_eq!(greeting(None, false), "1");
        assert_eq!(greeting(Some(Duration::MAX), true), "1;keep-alive=999999999999999;strict");
    }
}
