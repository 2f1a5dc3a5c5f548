//! What a server says of itself: whether it evicts keys, and which server to ask instead.

use crate::error::BackendError;

/// The parts of `INFO` that matter to a hub.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// The `maxmemory-policy`, if the server evicts keys by it.
    pub(super) evicts: Option<String>,
}

impl Info {
    /// Reads the sections `memory` and `replication`. A field that a server does not report is left out.
    pub(super) fn read(text: &str) -> Self {
        let (mut info, mut has_limit) = (Self::default(), true);
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "maxmemory" => has_limit = value != "0",
                "maxmemory_policy" => info.evicts = (value != "noeviction").then(|| value.to_owned()),
                _ => {}
            }
        }
        info.evicts = info.evicts.filter(|_| has_limit);
        info
    }

    /// Refuses a server that evicts keys.
    pub(super) fn check(&self) -> Result<(), BackendError> {
        let Some(policy) = &self.evicts else { return Ok(()) };
        Err(BackendError::misconfigured(format!(
            "Redis evicts keys: its maxmemory-policy is {policy}. Set it to noeviction, or accept the loss of events with \
             RedisBuilder::allow_eviction(true)"
        )))
    }
}

/// The user may not run `INFO`.
pub(super) fn denied() -> BackendError {
    BackendError::misconfigured(
        "the user may not run INFO, which says whether Redis evicts keys: grant it with ACL SETUSER .. +info",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_evicts_is_refused_by_the_name_of_its_policy() {
        let evicts = |text: &str| Info::read(text).evicts;
        assert_eq!(evicts("# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:volatile-lru\r\n").unwrap(), "volatile-lru");
        assert_eq!(evicts("maxmemory_policy:allkeys-lfu\r\nmaxmemory:1\r\n").unwrap(), "allkeys-lfu");
        // Without a limit nothing is evicted, whatever the policy; and what is not said can't be held against it.
        for harmless in
            ["maxmemory:100\r\nmaxmemory_policy:noeviction\r\n", "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", ""]
        {
            assert_eq!(evicts(harmless), None, "{harmless:?}");
        }
    }
}
