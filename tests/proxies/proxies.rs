//! Streams behind reverse proxies: with the settings that the guide advises, events arrive at once, and the rest of what a
//! stream has to do holds too.
//!
//! A test is left out, loudly, where its proxy is not installed. The ignored ones show, for the versions in the guide's
//! table, what goes wrong without a setting: a newer version may do better, and then the table can lose a line.

mod apache;
mod app;
mod caddy;
mod check;
#[path = "../browser/driver.rs"]
#[allow(dead_code)]
mod driver;
#[path = "../browser/engine.rs"]
#[allow(dead_code)]
mod engine;
mod guide;
mod haproxy;
mod lighttpd;
mod nginx;
mod process;
mod reader;
mod varnish;
