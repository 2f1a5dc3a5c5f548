//! What a hub with a remote [backend](crate::backend::Backend) adds: mirrors of the channels that are read here, and the driver
//! that brings events into them.

pub(crate) mod driver;
pub(crate) mod level;
pub(crate) mod link;
pub(crate) mod mirror;
pub(crate) mod opening;
pub(crate) mod remote;
