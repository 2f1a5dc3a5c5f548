//! Whom a limit counts for.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
    /// All requests with neither a client nor an address.
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

/// The same on all nodes. A client's name can't be taken for an address.
impl fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client}"),
            Self::Host(address) => write!(f, "host {}", Ipv4Addr::from_bits(*address)),
            Self::Net(net) => write!(f, "net {}", Ipv6Addr::from_bits(u128::from(*net) << 64)),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A principal's number, as [`Keys`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) NonZeroU64);

/// Gives each principal a number that an attacker can't guess, so that nobody can choose a name or an address whose number is
/// that of another principal. It is practically impossible that two principals have the same number by chance.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(RandomState);

impl Keys {
    pub(super) fn key(&self, principal: Principal<'_>) -> Key {
        Key(NonZeroU64::new(self.0.hash_one(principal)).unwrap_or(NonZeroU64::MIN))
    }
}
