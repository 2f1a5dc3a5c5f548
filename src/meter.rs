//! Measures, for the feature `metrics`. Without the feature, the same functions exist and do nothing.
//!
//! Each hub has a [`Meter`]. It registers its handles with the recorder of the `metrics` crate once, when the hub is built,
//! and keeps them. What the hub counts anyway is handed over when somebody [asks for it](Meter::export), so that it is not
//! counted twice where it happens.

#[cfg(not(feature = "metrics"))]
mod disabled;
#[cfg(feature = "metrics")]
mod enabled;
#[cfg(feature = "metrics")]
mod exported;
#[cfg(feature = "metrics")]
mod family;
#[cfg(feature = "metrics")]
mod pace;
#[cfg(feature = "metrics")]
mod seen;
#[cfg(feature = "metrics")]
mod words;

#[cfg(not(feature = "metrics"))]
pub(crate) use self::disabled::{Labels, Meter, Seen, Started};
#[cfg(all(feature = "metrics", feature = "server"))]
pub(crate) use self::exported::Taken;
#[cfg(feature = "metrics")]
pub(crate) use self::{
    enabled::{Meter, Started},
    exported::{Feed, Now},
    family::{Family, Labels},
    seen::Seen,
};
