//! Percent-decodes names in a URL. Decoding is strict: a malformed encoding is an error, not a guess.

use std::borrow::Cow;

use crate::error::{InvalidText, Why};

/// Decodes one segment of a path. `what` names it in the error.
pub(crate) fn decode_segment<'a>(what: &'static str, raw: &'a str) -> Result<Cow<'a, str>, InvalidText> {
    to_text(what, decode(raw))
}

/// Decodes a value of the query, in which a `+` is a space.
pub(crate) fn decode_value<'a>(what: &'static str, raw: &'a str) -> Result<Cow<'a, str>, InvalidText> {
    to_text(what, decode_value_bytes(raw))
}

/// Decodes a value of the query to bytes, which need not be UTF-8. Returns `None` if it is malformed.
pub(crate) fn decode_value_bytes(raw: &str) -> Option<Cow<'_, [u8]>> {
    if !raw.contains('+') {
        return decode(raw);
    }
    decode(&raw.replace('+', " ")).map(|bytes| bytes.into_owned().into())
}

/// The raw values of the parameter `name`, in order.
pub(crate) fn query_values<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = &'a str> {
    query_pairs(query).filter(move |(key, _)| **key == *name.as_bytes()).map(|(_, value)| value)
}

/// The parameters of a query in order, as decoded names and raw values. A parameter whose name is malformed is left
/// out.
pub(crate) fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, [u8]>, &str)> {
    query.unwrap_or_default().split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode_value_bytes(key)?, value))
    })
}

/// Returns `None` if a `%` is not followed by two hexadecimal digits.
fn decode(raw: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = raw.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    memchr::memchr_iter(b'%', bytes)
        .all(|at| hex(at + 1) && hex(at + 2))
        .then(|| percent_encoding::percent_decode(bytes).into())
}

fn to_text<'a>(what: &'static str, decoded: Option<Cow<'a, [u8]>>) -> Result<Cow<'a, str>, InvalidText> {
    let not_utf8 = || InvalidText::new(what, Why::NotUtf8);
    match decoded.ok_or(InvalidText::new(what, Why::PercentEncoding))? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| not_utf8()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| not_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_decoded_once() {
        assert_eq!(decode_segment("x", "a%2Fb%20c").unwrap(), "a/b c");
        assert_eq!(decode_segment("x", "%2525").unwrap(), "%25");
        assert_eq!(decode_segment("x", "%C3%A9").unwrap(), "é");
        assert_eq!(decode_segment("x", "a+b").unwrap(), "a+b");
        assert_eq!(decode_value("x", "a+b%2B").unwrap(), "a b+");
    }

    #[test]
    fn a_malformed_encoding_is_an_error() {
        for raw in ["%", "%2", "a%zz", "%2g", "%%41", "%é", "%+1"] {
            assert!(decode_segment("x", raw).is_err(), "{raw}");
            assert!(decode_value("x", raw).is_err(), "{raw}");
            assert!(decode_value_bytes(raw).is_none(), "{raw}");
        }
        for raw in ["%ff", "%C3", "%ED%A0%80", "%C0%AF"] {
            assert!(decode_segment("x", raw).is_err(), "{raw}");
            assert!(decode_value_bytes(raw).is_some(), "{raw}");
        }
    }

    #[test]
    fn query_values_are_found_in_order() {
        let values = |query, name| query_values(query, name).collect::<Vec<_>>();
        assert_eq!(values(Some("a=1&b=2&a=%33"), "a"), ["1", "%33"]);
        assert_eq!(values(Some("%61=1&a&a=&aa=2&%zz=3"), "a"), ["1", "", ""]);
        assert_eq!(values(Some("a=1=2"), "a"), ["1=2"]);
        assert!(values(Some(""), "a").is_empty());
        assert!(values(None, "a").is_empty());
    }
}
