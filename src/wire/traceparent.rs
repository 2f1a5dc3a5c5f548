//! The trace that an event belongs to, as a text of a fixed form: the header `traceparent` of [W3C Trace
//! Context](https://www.w3.org/TR/trace-context/#traceparent-header).

use std::{fmt, str::FromStr};

use crate::error::{InvalidText, Why};

/// The trace and the span in which an event was published, in the form of the header `traceparent` of [W3C Trace
/// Context][spec]. See [`Event::traceparent`](crate::Event::traceparent).
///
/// It is parsed from the header's text, as any tracing library writes it, and displays as such a text. A text of a later
/// version is read as far as this version goes, as the specification says.
///
/// ```
/// use tower_sse::TraceParent;
///
/// let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert_eq!(parent.span_id(), 0xb7ad6b7169203331);
/// assert!(parent.is_sampled());
/// assert_eq!(parent, TraceParent::new(parent.trace_id(), parent.span_id(), true).unwrap());
/// assert_eq!(parent.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// # Ok::<_, tower_sse::InvalidText>(())
/// ```
///
/// [spec]: https://www.w3.org/TR/trace-context/#traceparent-header
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The flag that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// The length of the text, in bytes.
    pub(crate) const LEN: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();

    /// Creates a value from the ids and whether the trace is sampled. Returns `None` if one of the ids is zero, which
    /// the specification forbids.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        let flags = if sampled { SAMPLED } else { 0 };
        (trace_id != 0 && span_id != 0).then_some(Self { trace: trace_id, span: span_id, flags })
    }

    /// Returns the id of the trace.
    pub fn trace_id(self) -> u128 {
        self.trace
    }

    /// Returns the id of the span, which is the parent of spans that the event causes.
    pub fn span_id(self) -> u64 {
        self.span
    }

    /// Returns whether the trace may be recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn read(text: &str) -> Option<Self> {
        let (known, later) = text.split_at_checked(Self::LEN)?;
        let [version, trace, span, flags] = *known.split('-').collect::<Vec<_>>() else { return None };
        let version = u8::try_from(hex(version, 2)?).ok()?;
        // "If a higher version is detected, the implementation SHOULD try to parse it": what follows comes after a dash.
        let is_read = if version == 0 { later.is_empty() } else { later.is_empty() || later.starts_with('-') };
        if !is_read || version == 0xff {
            return None;
        }
        let (trace, span) = (hex(trace, 32)?, u64::try_from(hex(span, 16)?).ok()?);
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        Some(Self { flags, ..Self::new(trace, span, false)? })
    }
}

/// Reads lower-case hexadecimal digits, as many as there have to be.
fn hex(text: &str, len: usize) -> Option<u128> {
    let are_digits = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != len || !are_digits {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

impl FromStr for TraceParent {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::read(text).ok_or_else(|| InvalidText::new("traceparent", Why::Form))
    }
}

impl TryFrom<&str> for TraceParent {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        text.parse()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        for text in [TEXT, "00-00000000000000000000000000000001-0000000000000001-00", &TEXT.replace("-01", "-ff")] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        }
        assert!(!TEXT.replace("-01", "-02").parse::<TraceParent>().unwrap().is_sampled());
        assert_eq!(TraceParent::new(0, 1, true), None);
        assert_eq!(TraceParent::new(1, 0, true), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in ["", "-more", "-"] {
            let text = format!("cc{}{later}", &TEXT[2..]);
            assert_eq!(text.parse(), TEXT.parse::<TraceParent>(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_traceparent() {
        let zero = |from, to: usize| format!("{}{}{}", &TEXT[..from], "0".repeat(to - from), &TEXT[to..]);
        let others = [zero(3, 35), zero(36, 52), TEXT.to_uppercase(), format!("{TEXT}-more"), format!("{TEXT} ")];
        let versions = ["ff", "0x", "+1"].map(|version| format!("{version}{}", &TEXT[2..]));
        let split = ["", "00", &TEXT[1..], &TEXT.replace('-', "_"), &"\u{e9}".repeat(28), &"-".repeat(55)];
        for text in others.iter().chain(&versions).map(String::as_str).chain(split) {
            let error = text.parse::<TraceParent>().unwrap_err();
            assert_eq!(error.to_string(), "traceparent is malformed");
        }
        let later = format!("cc{}more", &TEXT[2..]);
        assert!(later.parse::<TraceParent>().is_err());
    }
}
