//! A bug of WebKit, Safari's engine, and the block that repairs it: to which requests it is sent.
//!
//! When a connection breaks within an event, WebKit's `EventSource` reconnects with what it has read of that event
//! still in its buffers. The standard has it begin anew ("Once the end of the file is reached, any pending data must be
//! discarded", [HTML, 9.2.6][spec]). WebKit takes the next bytes for the rest of the event: the page gets a garbled
//! event with the right id, or the data of one event twice, and the true event never comes again. This was seen in
//! WebKitGTK 2.50. It matters because phones change networks all day.
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use http::{
    HeaderMap,
    header::{CACHE_CONTROL, USER_AGENT},
};
use memchr::memmem;

/// Which clients get a block at the start of a stream that works around a bug of WebKit, Safari's engine. See
/// [`Route::webkit_repair`](crate::Route::webkit_repair).
///
/// When a connection breaks in the middle of an event, WebKit's `EventSource` keeps the first part of that event and
/// prepends it to the first event after the reconnect. The block turns that part into an event of its own. Its name is
/// `-`, to which no page listens, and its id is the last event id that the client sent. If the client has kept nothing,
/// the block has no data, and an `EventSource` does not fire it. Several clients other than `EventSource` report it as
/// an event with empty data.
///
/// A request without a last event id gets the block too, because a reader whose connection breaks within its first
/// event reconnects without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WebKitRepair {
    /// Only WebKit's `EventSource`. The `User-Agent` must name WebKit but not Chromium, and the request must have a
    /// `Cache-Control: no-cache`, which an `EventSource` sends and `fetch` does not. This is the default.
    #[default]
    Auto,
    /// Every client.
    Always,
    /// No client.
    Never,
}

impl WebKitRepair {
    pub(crate) fn applies(self, headers: &HeaderMap) -> bool {
        match self {
            Self::Auto => is_webkit(headers) && is_uncached(headers),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Chromium, which descends from WebKit, still says that it is WebKit. All browsers on iOS are WebKit.
fn is_webkit(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    let says = |name: &str| memmem::find(agent, name.as_bytes()).is_some();
    says("AppleWebKit/") && !says("Chrome/") && !says("Chromium/")
}

fn is_uncached(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|control| memmem::find(control.as_bytes(), b"no-cache").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(agent: &str, cache_control: &str) -> HeaderMap {
        let headers = [(USER_AGENT, agent), (CACHE_CONTROL, cache_control)];
        headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    #[test]
    fn webkit_is_told_apart_from_engines_that_claim_to_be_webkit() {
        let webkit = [
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
            // Chrome, Firefox and Edge on iOS.
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/123.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/124.0 Mobile/15E148 Safari/605.1.15",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/122.0 Mobile/15E148 Safari/605.1.15",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15",
            // A web view inside an app.
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        ];
        let others = [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/123.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36 Edg/122.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Ubuntu Chromium/80.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0",
            "curl/8.5.0",
            "python-httpx/0.28.1",
            "node",
            "",
        ];
        for agent in webkit {
            assert!(WebKitRepair::Auto.applies(&headers(agent, "no-cache")), "{agent}");
            assert!(!WebKitRepair::Auto.applies(&headers(agent, "max-age=0")), "by `fetch`: {agent}");
            assert!(!WebKitRepair::Never.applies(&headers(agent, "no-cache")));
        }
        for agent in others {
            assert!(!WebKitRepair::Auto.applies(&headers(agent, "no-cache")), "{agent}");
            assert!(WebKitRepair::Always.applies(&headers(agent, "")));
        }
        assert!(!WebKitRepair::Auto.applies(&HeaderMap::new()));
    }
}
