//! The promises under load: a server in a process of its own, thousands of sockets, and figures. Not for every day:
//!
//! ```sh
//! cargo test --release --test load -- --ignored --nocapture --test-threads 1 --skip soak
//! SOAK_MINUTES=30 cargo test --release --test load -- --ignored --nocapture soak
//! ```
//!
//! Linux only; `ulimit -n` has to allow 11,000 open files. What must hold is asserted; what depends on the machine is
//! printed, and stands in docs/reliability/appendix.md.
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

/// A test that waits this long has failed: it is no measure of anything.
const STUCK: Duration = Duration::from_secs(120);

/// Nanoseconds, by a clock that all processes share.
fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap()
}

/// In place: the value below which that part of them lies.
fn quantile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().checked_sub(1).expect("there are values");
    values[(part * last as f64).round() as usize]
}
