//! One suite that every backend runs: what a hub promises, on several nodes that share a store. This program runs it
//! with the backends that need nothing but memory or a file; `tests/redis` runs it with Redis.

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
mod memory;
mod reader;
mod reading;
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
