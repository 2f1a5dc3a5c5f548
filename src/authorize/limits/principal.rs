//! Whom something is counted for.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU64,
};

use crate::wire::name::ClientId;

/// Whom something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Principal<'a> {
    Client(&'a ClientId),
    /// An IPv4 address.
    Host(u32),
    /// The first 64 bits of an IPv6 address: the least that one customer of a provider has.
    Net(u64),
    /// All of those of which neither a client nor an address is known.
    Unknown,
}

impl Principal<'_> {
    pub(super) fn of_address(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Self::Host(address.to_bits()),
            // Lossless, because these are the upper half.
            Some(IpAddr::V6(address)) => Self::Net((address.to_bits() >> 64) as u64),
            None => Self::Unknown,
        }
    }
}

/// A principal's number, as [`Keys`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) NonZeroU64);

/// Gives each principal a number that nobody outside can guess: nobody can choose names or addresses whose numbers are
/// those of others. That two principals have the same one by chance is as good as excluded.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(RandomState);

impl Keys {
    pub(super) fn key(&self, principal: Principal<'_>) -> Key {
        Key(NonZeroU64::new(self.0.hash_one(principal)).unwrap_or(NonZeroU64::MIN))
    }
}
