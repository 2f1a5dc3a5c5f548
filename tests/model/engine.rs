//! The engine's tests in one program, which builds faster than all of them do. For `scripts/mutants`.

#![allow(clippy::duplicate_mod)] // Each of them includes `tests/common`.

#[path = "../bounds.rs"]
mod bounds;
#[path = "../coalesce.rs"]
mod coalesce;
#[path = "../connections.rs"]
mod connections;
#[path = "../exactly_once.rs"]
mod exactly_once;
#[path = "../finish.rs"]
mod finish;
#[path = "../gaps.rs"]
mod gaps;
#[path = "../isolation.rs"]
mod isolation;
mod model;
#[path = "../order.rs"]
mod order;
#[path = "../privacy.rs"]
mod privacy;
#[path = "../shutdown.rs"]
mod shutdown;
#[path = "../starts.rs"]
mod starts;
