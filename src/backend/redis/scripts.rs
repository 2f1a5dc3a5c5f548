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
        let script = |text: &str| Script::new(&format!("{}\n{text}", include_str!("scripts/prelude.lua")));
        Self {
            append: script(include_str!("scripts/append.lua")),
            read: script(include_str!("scripts/read.lua")),
            heads: script(include_str!("scripts/heads.lua")),
            close: script(include_str!("scripts/close.lua")),
            hold: script(include_str!("scripts/hold.lua")),
            level: script(include_str!("scripts/level.lua")),
            renew: script(include_str!("scripts/renew.lua")),
            refresh: script(include_str!("scripts/refresh.lua")),
            nodes: script(include_str!("scripts/nodes.lua")),
        }
    }
}
