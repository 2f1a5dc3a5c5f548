//! Checks whether an `Accept` header rules out the only media type there is.

use http::{HeaderMap, header::ACCEPT};

/// Returns whether `text/event-stream` is acceptable. "A request without any Accept header field implies that the user
/// agent will accept any media type in response" ([RFC 9110,
/// 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)). The same goes for a header without any range that
/// can be parsed.
pub(crate) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| split_unquoted(value, ',')).filter_map(Range::parse);
    let mut best: Option<Range> = None;
    let mut any = false;
    for range in ranges {
        any = true;
        // "Media ranges can be overridden by more specific media ranges": of two equally specific ranges, the more
        // lenient one counts.
        if range.fit > 0 && best.is_none_or(|best| (range.fit, range.wanted) > (best.fit, best.wanted)) {
            best = Some(range);
        }
    }
    !any || best.is_some_and(|range| range.wanted)
}

#[derive(Clone, Copy)]
struct Range {
    /// How closely the range names the type: 0 not at all, 1 `*/*`, 2 `text/*`, 3 by name. Parameters don't count: the
    /// type has none that would change what is sent.
    fit: u8,
    /// Whether its weight is not zero.
    wanted: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split_unquoted(text, ';').map(str::trim);
        let name = parts.next()?;
        let fit = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((kind, "*")) if kind.eq_ignore_ascii_case("text") => 2,
            Some(_) if name.eq_ignore_ascii_case("text/event-stream") => 3,
            Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() => 0,
            // Not in the grammar, but old clients send it for `*/*`.
            None if name == "*" => 1,
            _ => return None,
        };
        let weight =
            parts.filter_map(|part| part.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case("q"));
        Some(Self { fit, wanted: weight.is_none_or(|(_, weight)| !is_zero(weight.trim())) })
    }
}

/// "qvalue = ( "0" [ "." 0*3DIGIT ] )": a malformed weight rules nothing out.
fn is_zero(weight: &str) -> bool {
    matches!(weight, "0" | "0." | "0.0" | "0.00" | "0.000")
}

/// Splits at each `at` that is not inside a quoted string.
fn split_unquoted(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted && character == at,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        accepts_event_stream(&headers)
    }

    #[test]
    fn a_header_that_does_not_rule_it_out_is_accepted() {
        for values in [
            &[][..],
            &[""],
            &["text/event-stream"],
            &["Text/Event-Stream"],
            &["text/event-stream; charset=utf-8"],
            &["text/*"],
            &["*/*"],
            &["*"],
            &["text/html, application/json;q=0.9, */*;q=0.1"],
            &["*/*;q=0, text/event-stream"],
            &["text/*;q=0, text/event-stream;q=0.001"],
            &["application/json", "text/event-stream"],
            &["text/event-stream;q=0, text/event-stream"],
            &["text/event-stream;q=abc"],
            &["text/html;x=\"a, b;q=0\\\", \", text/event-stream"],
            &["garbage"],
            &[",,;"],
        ] {
            assert!(accepts(values), "{values:?}");
        }
    }

    #[test]
    fn a_header_that_rules_it_out_is_not_accepted() {
        for values in [
            &["application/json"][..],
            &["text/html, application/json"],
            &["text/event-stream;q=0"],
            &["text/event-stream; Q=0.000, */*"],
            &["text/*;q=0, */*"],
            &["*/*;q=0"],
            &["*/*", "text/event-stream;q=0.0"],
            &["text/html;x=\", text/event-stream\""],
            &["text/event-streams"],
            &["application/*"],
            &["garbage, text/html"],
        ] {
            assert!(!accepts(values), "{values:?}");
        }
    }
}
