//! Commands to a driver from readers that open and leave.

use std::sync::Arc;

use crate::hub::state::Shared;

pub(crate) enum Command {
    /// A channel has its first reader.
    Watch(Arc<Shared>),
    /// A channel has lost its last reader. It may have another one by now.
    Unread(Arc<Shared>),
    /// A caller asks for the hub's last offset, with this ticket.
    Sync(u64),
}
