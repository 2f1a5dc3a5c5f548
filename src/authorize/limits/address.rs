//! The address that a request comes from.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::authorize::request::AuthorizeRequest;

/// How a [`RateLimit`](crate::limits::RateLimit) finds the address of a request's client.
///
/// The right way depends on what is in front of your server. A client can send any header, so trust a header only if your
/// own proxy sets it, and if nobody can reach the server without passing that proxy.
///
/// ```
/// use std::net::SocketAddr;
/// use axum::extract::ConnectInfo;
/// use http::HeaderName;
/// use tower_sse::limits::Address;
///
/// // One proxy of your own, which adds the address of its peer to `X-Forwarded-For`.
/// let behind_nginx = Address::forwarded_for(1);
/// // A network that sets a header of its own.
/// let behind_a_network = Address::header(HeaderName::from_static("cf-connecting-ip"));
/// // No proxy: the address of the peer. axum's `into_make_service_with_connect_info::<SocketAddr>` puts it into the
/// // extensions as `ConnectInfo`, and the crate's own server as `PeerAddr<SocketAddr>`.
/// let direct = Address::from_fn(|request| {
///     let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
///     Some(peer.ip())
/// });
/// ```
#[derive(Clone)]
pub struct Address(Way);

#[derive(Clone)]
enum Way {
    /// Nothing is known.
    None,
    ForwardedFor {
        hops: usize,
    },
    Header(HeaderName),
    Function(Arc<Find>),
}

type Find = dyn Fn(&AuthorizeRequest) -> Option<IpAddr> + Send + Sync;

impl Address {
    pub(super) const NONE: Self = Self(Way::None);

    /// Takes the address from `X-Forwarded-For`, to which each proxy adds the address of its own peer on the right.
    ///
    /// `hops` is the number of your own proxies. With 1, the rightmost address counts, which your only proxy has added. With
    /// 2, the address to the left of it counts. Anything further to the left may come from the client, and is ignored. A
    /// request with fewer addresses has not passed all of your proxies, and has no address. The same applies if the value in
    /// that place is not an IP address. 0 counts as 1.
    pub fn forwarded_for(hops: usize) -> Self {
        Self(Way::ForwardedFor { hops: hops.max(1) })
    }

    /// Takes the address from a header that your proxy sets or replaces, and that has only the address. A request that has
    /// the header several times has no address.
    pub fn header(name: HeaderName) -> Self {
        Self(Way::Header(name))
    }

    /// Takes the address that a function returns, for example the address of the peer, which your server puts into the
    /// extensions of the request.
    pub fn from_fn(find: impl Fn(&AuthorizeRequest) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Way::Function(Arc::new(find)))
    }

    pub(super) fn of(&self, request: &AuthorizeRequest) -> Option<IpAddr> {
        match &self.0 {
            Way::None => None,
            Way::ForwardedFor { hops } => forwarded(request.headers(), *hops),
            Way::Header(name) => only(request.headers(), name),
            Way::Function(find) => find(request),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::None => f.write_str("Address::NONE"),
            Way::ForwardedFor { hops } => f.debug_tuple("Address::forwarded_for").field(hops).finish(),
            Way::Header(name) => f.debug_tuple("Address::header").field(name).finish(),
            Way::Function(_) => f.write_str("Address::from_fn"),
        }
    }
}

/// Returns the `hop`-th address from the right. "A recipient MAY combine multiple field lines [..] by appending each
/// subsequent field line value to the initial field line value in order, separated by a comma" ([RFC 9110,
/// 5.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.2)), and "MUST parse and ignore a reasonable number of empty
/// list elements" ([5.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1)).
fn forwarded(headers: &HeaderMap, hop: usize) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut elements = elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    parse(std::str::from_utf8(elements.nth(hop - 1)?).ok()?)
}

fn only(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    parse(HeaderValue::to_str(line).ok()?.trim())
}

/// Parses an address as proxies write it: with or without a port, IPv6 in brackets or not, with or without a zone.
fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inner = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            let is_port = |port: &str| port.parse::<u16>().is_ok();
            (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(inner)?
        }
        None => text,
    };
    let address = match inner.split_once('%') {
        Some((address, zone)) if zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => address,
        Some(_) => return None,
        None => inner,
    };
    address.parse().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> AuthorizeRequest {
        let mut request = http::Request::get("/");
        for line in lines {
            request = request.header("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            request = request.header("x-real-ip", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        AuthorizeRequest::new(request.body(()).unwrap().into_parts().0, [], None)
    }

    fn forwarded_for(hops: usize, lines: &[&str]) -> Option<String> {
        Address::forwarded_for(hops).of(&request(lines)).map(|address| address.to_string())
    }

    #[test]
    fn what_a_client_writes_into_the_header_does_not_count() {
        let proxy = "203.0.113.7";
        for (hops, lines) in [
            (1, &[proxy][..]),
            (1, &["1.1.1.1, 203.0.113.7"]),
            (1, &["1.1.1.1", "2.2.2.2,203.0.113.7"]),
            (1, &["1.1.1.1,,,", "203.0.113.7"]),
            (1, &["1.1.1.1\t,\t203.0.113.7\t"]),
            (1, &["203.0.113.7, ,", ",", ""]),
            (1, &["\u{ff}\u{fe}garbage, 203.0.113.7"]),
            (2, &["1.1.1.1, 203.0.113.7, 10.0.0.1"]),
            (2, &["1.1.1.1, 203.0.113.7", "10.0.0.1"]),
            (2, &["1.1.1.1, 203.0.113.7, not an address"]),
            (0, &["1.1.1.1, 203.0.113.7"]),
        ] {
            assert_eq!(forwarded_for(hops, lines).as_deref(), Some(proxy), "{hops} {lines:?}");
        }
    }

    #[test]
    fn a_request_without_a_valid_address_at_its_place_has_none() {
        for (hops, lines) in [
            (1, &[][..]),
            (1, &[""]),
            (1, &[",,,"]),
            (2, &["203.0.113.7"]),
            (usize::MAX, &["203.0.113.7"]),
            (1, &["203.0.113.7, unknown"]),
            (1, &["203.0.113.7, _hidden"]),
            (1, &["203.0.113.7 1.1.1.1"]),
            (1, &["203.0.113.7:x"]),
            (1, &["203.0.113.7]"]),
            (1, &["[203.0.113.7"]),
            (1, &["[203.0.113.7]"]),
            (1, &["[::1"]),
            (1, &["[::1]x"]),
            (1, &["[::1]:99999"]),
            (1, &["::1%eth0]:80"]),
            (1, &["1.1.1.1%eth0"]),
            (1, &["\u{ff}"]),
            (1, &["256.1.1.1"]),
            (1, &["010.1.1.1"]),
            (1, &["0x7f.1"]),
            (1, &["2130706433"]),
        ] {
            assert_eq!(forwarded_for(hops, lines), None, "{hops} {lines:?}");
        }
    }

    #[test]
    fn an_address_is_read_in_any_form_that_a_proxy_writes() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
            ("[fe80::1%eth0]", "fe80::1"),
        ] {
            assert_eq!(forwarded_for(1, &[text]).as_deref(), Some(expected), "{text}");
            let header = Address::header(HeaderName::from_static("x-real-ip"));
            assert_eq!(header.of(&request(&[text])).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_header_that_is_meant_to_have_one_address_has_none_if_there_are_several() {
        let header = Address::header(HeaderName::from_static("x-real-ip"));
        for lines in [&["1.1.1.1", "2.2.2.2"][..], &["1.1.1.1, 2.2.2.2"], &["1.1.1.1", "1.1.1.1"], &[]] {
            assert_eq!(header.of(&request(lines)), None, "{lines:?}");
        }
    }
}
