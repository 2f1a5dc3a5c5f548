//! The promises under load: a server in a process of its own, thousands of sockets, and measurements. Run it on demand:
//!
//! ```sh
//! cargo test --release --features server --test load -- --ignored --nocapture --test-threads 1 --skip soak
//! SOAK_MINUTES=30 cargo test --release --features server --test load -- --ignored --nocapture soak
//! ```
//!
//! This tests the crate's own server. To test hyper, set `LOAD_SERVER=hyper`.
//!
//! It needs Linux, and a `ulimit -n` of 11,000. It asserts what must hold, and prints what depends on the
//! machine; docs/reliability/appendix.md has those figures.
#![cfg(target_os = "linux")]

#[path = "../common/counting.rs"]
mod counting;
mod process;
mod reader;
mod server;
mod shutdown;
mod soak;
mod stalled;
mod storm;

use std::time::{Duration, SystemTime};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(120);

/// Nanoseconds of a clock that all processes share.
fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap()
}

/// The value below which this part of the values lies. Sorts them in place.
fn quantile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().checked_sub(1).expect("there are values");
    values[(part * last as f64).round() as usize]
}
