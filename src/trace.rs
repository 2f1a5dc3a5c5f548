//! Logging, hidden behind one macro. With the feature `tracing` it emits an event of that crate, without it nothing.

/// `debug!("message", field = value, ..)`.
#[cfg(feature = "tracing")]
macro_rules! debug {
    ($message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::debug!(target: "tower_sse", $($field = %$value,)* $message)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! debug {
    ($message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        { $(let _ = &$value;)* }
    };
}

pub(crate) use debug;
