//! The suite that every backend runs, with Redis, and what holds for Redis alone. The tests start `redis-server`
//! themselves.

#[macro_use]
#[path = "../backend/all_limits.rs"]
mod all_limits;
#[macro_use]
#[path = "../backend/all_runs.rs"]
mod all_runs;
#[macro_use]
#[path = "../backend/suite.rs"]
mod suite;

#[path = "../backend/access.rs"]
mod access;
#[path = "../backend/cases.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
#[path = "../backend/events.rs"]
mod events;
#[path = "../backend/faults.rs"]
mod faults;
#[path = "../backend/faulty.rs"]
mod faulty;
#[path = "../backend/file.rs"]
mod file;
#[path = "../backend/health.rs"]
mod health;
#[path = "../runs/helpers.rs"]
mod helpers;
#[path = "../backend/limits.rs"]
mod limits;
#[path = "../backend/reader.rs"]
mod reader;
#[path = "../backend/reading.rs"]
mod reading;
#[path = "../backend/runs.rs"]
mod runs;
#[path = "../backend/store.rs"]
mod store;
#[path = "../backend/writing.rs"]
mod writing;

mod epochs;
mod eviction;
mod failover;
mod operation;
#[path = "cluster/proxy.rs"]
mod proxy;
mod redis;
mod retention;
mod server;
mod upkeep;
mod work;

mod in_redis {
    all_cases!(
        #[tokio::test]
        crate::redis::RedisStore
    );
    all_faults!(
        #[tokio::test]
        crate::redis::RedisStore
    );
    all_limits!(
        #[tokio::test]
        crate::redis::RedisStore
    );
    all_limits_with_faults!(
        #[tokio::test]
        crate::redis::RedisStore
    );
    all_runs!(
        #[tokio::test]
        crate::redis::RedisStore
    );
}
