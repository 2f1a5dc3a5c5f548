//! Logging and spans, hidden behind this file. With the feature `tracing` they are those of that crate, without it
//! nothing.

#[cfg(not(feature = "tracing"))]
mod disabled;
#[cfg(feature = "tracing")]
mod enabled;

#[cfg(not(feature = "tracing"))]
pub(crate) use self::disabled::{Span, debug};
#[cfg(feature = "tracing")]
pub(crate) use self::enabled::{Span, debug};
