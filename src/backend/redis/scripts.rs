//! The scripts, each of which is one step to everybody else.

use redis::Script;

pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) read: Script,
    pub(super) heads: Script,
    pub(super) close: Script,
    pub(super) hold: Script,
    pub(super) level: Script,
    pub(super) renew: Script,
    pub(super) refresh: Script,
    pub(super) nodes: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |text: &str| Script::new(&format!("{}\n{text}", include_str!("prelude.lua")));
        Self {
            append: script(include_str!("append.lua")),
            read: script(include_str!("read.lua")),
            heads: script(include_str!("heads.lua")),
            close: script(include_str!("close.lua")),
            hold: script(include_str!("hold.lua")),
            level: script(include_str!("level.lua")),
            renew: script(include_str!("renew.lua")),
            refresh: script(include_str!("refresh.lua")),
            nodes: script(include_str!("nodes.lua")),
        }
    }
}
