//! What a grant charges for events that are replayed.

use std::{fmt, sync::Arc, time::Duration};

/// Charges for a number of events. Returns how long to wait if they can't be paid for now.
type Charge = dyn Fn(u64) -> Result<(), Duration> + Send + Sync;

/// A budget that events are charged to.
#[derive(Clone)]
pub(crate) struct Toll(Arc<Charge>);

impl Toll {
    #[cfg(feature = "limits")]
    pub(crate) fn new(charge: impl Fn(u64) -> Result<(), Duration> + Send + Sync + 'static) -> Self {
        Self(Arc::new(charge))
    }

    /// Charges for this many events, unless there are none. Returns how long to wait if they can't be paid for now.
    pub(crate) fn charge(&self, events: u64) -> Result<(), Duration> {
        if events == 0 { Ok(()) } else { (self.0)(events) }
    }
}

impl fmt::Debug for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Toll")
    }
}
