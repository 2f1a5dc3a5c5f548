//! What a hostile token, and a storm of them, does not achieve.

mod fetching;
mod helpers;
mod keys;
mod links;
#[cfg(feature = "publish")]
mod publishing;
mod tokens;
