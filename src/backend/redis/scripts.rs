//! The scripts. Redis runs each of them as one step.

use redis::Script;

pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) pass: Script,
    pub(super) read: Script,
    pub(super) part: Script,
    pub(super) about: Script,
    pub(super) heads: Script,
    pub(super) close: Script,
    pub(super) hold: Script,
    pub(super) level: Script,
    pub(super) renew: Script,
    pub(super) count: Script,
    pub(super) refresh: Script,
    pub(super) nodes: Script,
    pub(super) tell: Script,
}

/// The parts from which scripts are put together. Each part comes after those that it uses.
const BASE: &str = include_str!("scripts/parts/base.lua");
const INFO: &str = include_str!("scripts/parts/info.lua");
const HUB: &str = include_str!("scripts/parts/hub.lua");
const SURVEY: &str = include_str!("scripts/parts/survey.lua");
const HELD: &str = include_str!("scripts/parts/held.lua");
const CHANNEL: &str = include_str!("scripts/parts/channel.lua");
const READING: &str = include_str!("scripts/parts/reading.lua");

fn script(parts: &[&str], text: &str) -> Script {
    Script::new(&[parts, &[text]].concat().join("\n"))
}

impl Scripts {
    pub(super) fn new() -> Self {
        let of_channel = [BASE, INFO, HUB, HELD, CHANNEL];
        let of_reading = [BASE, INFO, HUB, HELD, CHANNEL, READING];
        Self {
            append: script(&of_channel, include_str!("scripts/append.lua")),
            pass: script(&[BASE, HUB], include_str!("scripts/pass.lua")),
            read: script(&of_reading, include_str!("scripts/read.lua")),
            part: script(&of_reading, include_str!("scripts/part.lua")),
            about: script(&of_reading, include_str!("scripts/about.lua")),
            heads: script(&[BASE, INFO, HUB, CHANNEL], include_str!("scripts/heads.lua")),
            close: script(&[BASE, INFO, HUB, CHANNEL], include_str!("scripts/close.lua")),
            hold: script(&of_channel, include_str!("scripts/hold.lua")),
            level: script(&[BASE, INFO, HUB, SURVEY, HELD], include_str!("scripts/level.lua")),
            renew: script(&[BASE, HUB], include_str!("scripts/renew.lua")),
            count: script(&[BASE], include_str!("scripts/count.lua")),
            refresh: script(&[BASE], include_str!("scripts/refresh.lua")),
            tell: script(&[BASE, HUB], include_str!("scripts/tell.lua")),
            nodes: script(&[BASE], include_str!("scripts/nodes.lua")),
        }
    }
}

/// Returns the script with which the hub finds out whether its server may have lost events. It runs first on each
/// connection, and then from time to time.
pub(super) fn survey() -> Script {
    script(&[BASE, INFO, HUB, SURVEY], include_str!("scripts/survey.lua"))
}
