//! What the services that a layer makes have in common.

use super::route::Routes;
use crate::publisher::Publisher;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) publisher: Publisher,
    pub(crate) routes: Routes,
}
