//! What all services made by one layer share.

use super::route::Routes;
use crate::publisher::Publisher;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) publisher: Publisher,
    pub(crate) routes: Routes,
}
