//! What the driver is told by those who open and leave.

use std::sync::Arc;

use crate::hub::state::Shared;

pub(crate) enum Command {
    /// A channel has its first reader.
    Watch(Arc<Shared>),
    /// A channel has none any more, or so it was.
    Unread(Arc<Shared>),
    /// Somebody wants to know the hub's last offset.
    Sync(u64),
}
