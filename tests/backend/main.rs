//! One suite that every backend runs: what a hub promises, on several nodes that share a store. This program runs it
//! with the backends that need nothing but memory or a file; `tests/redis` runs it with Redis.

#[cfg(feature = "limits")]
#[macro_use]
mod all_limits;
#[cfg(feature = "runs")]
#[macro_use]
mod all_runs;
#[macro_use]
mod suite;

#[path = "../common/mod.rs"]
mod common;

mod access;
mod cases;
mod events;
mod faults;
mod faulty;
mod file;
mod health;
#[cfg(feature = "runs")]
#[path = "../runs/helpers.rs"]
mod helpers;
#[cfg(feature = "runs")]
mod lease;
#[cfg(feature = "limits")]
mod limits;
mod memory;
mod reader;
mod reading;
#[cfg(feature = "runs")]
mod runs;
mod store;
mod writing;

mod in_process {
    all_cases!(
        #[tokio::test(start_paused = true)]
        crate::memory::MemoryStore
    );
    all_timed!(
        #[tokio::test(start_paused = true)]
        crate::memory::MemoryStore
    );
}

mod in_a_file {
    all_cases!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
    all_timed!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
    all_faults!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
}

#[cfg(feature = "limits")]
mod limits_in_process {
    all_limits!(
        #[tokio::test(start_paused = true)]
        crate::memory::MemoryStore
    );
}

#[cfg(feature = "limits")]
mod limits_in_a_file {
    all_limits!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
    all_limits_with_faults!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
}

#[cfg(feature = "runs")]
mod runs_in_a_file {
    all_runs!(
        #[tokio::test(start_paused = true)]
        crate::file::FileStore
    );
    suite! { #[tokio::test(start_paused = true)] crate::file::FileStore:
        lease::a_run_that_is_lost_is_told_two_seconds_after_the_lease_at_the_latest,
    }
}
