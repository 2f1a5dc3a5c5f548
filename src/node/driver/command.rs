//! What a driver is told by readers that open and leave.

use std::sync::Arc;

use crate::hub::state::Shared;

pub(crate) enum Command {
    /// A channel has its first reader.
    Watch(Arc<Shared>),
    /// A channel has lost its last reader. It may have another one by now.
    Unread(Arc<Shared>),
    /// Somebody wants to know the hub's last offset, and has this ticket.
    Sync(u64),
}
