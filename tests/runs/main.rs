//! Runs in one process: one writer, one outcome, whole answers. What several nodes do is in `tests/backend/runs.rs`.

mod ag_ui;
mod answers;
mod anthropic;
mod handover;
mod helpers;
mod late;
mod mcp;
mod outcomes;
mod responses;
mod roll_up;
mod starts;
