//! What a server says about itself: whether it evicts keys, and which server to ask instead.

use crate::error::BackendError;

/// The parts of `INFO` that matter to a hub.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// The `maxmemory-policy`, if it makes the server evict keys.
    pub(super) evicts: Option<String>,
    /// The address of its master, if it is a replica.
    pub(super) master: Option<(String, u16)>,
    /// The addresses of its replicas, if it is a master.
    pub(super) replicas: Vec<(String, u16)>,
    /// Whether it belongs to a cluster, and its version has sharded channels.
    pub(super) is_sharded: bool,
}

impl Info {
    /// Reads the sections `memory`, `replication`, `server` and `cluster`. Leaves out a field that a server does not
    /// report.
    pub(super) fn read(text: &str) -> Self {
        let (mut info, mut has_limit) = (Self::default(), true);
        let (mut is_replica, mut host, mut port) = (false, None, None);
        let (mut is_clustered, mut has_shards) = (false, false);
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "maxmemory" => has_limit = value != "0",
                "maxmemory_policy" => info.evicts = (value != "noeviction").then(|| value.to_owned()),
                "role" => is_replica = value == "slave",
                "master_host" => host = Some(value.to_owned()),
                "cluster_enabled" => is_clustered = value == "1",
                "redis_version" => has_shards = major(value) >= 7,
                "master_port" => port = value.parse().ok(),
                _ => info.replicas.extend(name.strip_prefix("slave").and_then(|number| replica(number, value))),
            }
        }
        info.evicts = info.evicts.filter(|_| has_limit);
        info.is_sharded = is_clustered && has_shards;
        info.master = host.zip(port).filter(|_| is_replica);
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

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// Reads a replica from its number and a text like `ip=127.0.0.1,port=6380,state=online,..`.
fn replica(number: &str, about: &str) -> Option<(String, u16)> {
    number.parse::<u32>().ok()?;
    let field = |name: &str| about.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    Some((field("ip")?.to_owned(), field("port")?.parse().ok()?))
}

/// Returns the error for a user that may not run `INFO`.
pub(super) fn denied() -> BackendError {
    BackendError::misconfigured(
        "the user may not run INFO, which says whether Redis evicts keys: grant it with ACL SETUSER .. +info",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_of_version_seven_or_later_has_sharded_channels() {
        let sharded = |version: &str, clustered: &str| {
            Info::read(&format!("redis_version:{version}\r\ncluster_enabled:{clustered}\r\n")).is_sharded
        };
        assert!(sharded("7.0.15", "1") && sharded("10.1.0", "1"));
        assert!(!sharded("6.2.14", "1") && !sharded("7.0.15", "0") && !sharded("unstable", "1"));
        assert!(!Info::read("redis_version:7.0.15\r\n").is_sharded);
    }

    #[test]
    fn a_server_that_evicts_is_refused_by_the_name_of_its_policy() {
        let evicts = |text: &str| Info::read(text).evicts;
        assert_eq!(evicts("# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:volatile-lru\r\n").unwrap(), "volatile-lru");
        assert_eq!(evicts("maxmemory_policy:allkeys-lfu\r\nmaxmemory:1\r\n").unwrap(), "allkeys-lfu");
        // Without a limit nothing is evicted, whatever the policy. A setting that the server does not report is not
        // held against it.
        for harmless in
            ["maxmemory:100\r\nmaxmemory_policy:noeviction\r\n", "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", ""]
        {
            assert_eq!(evicts(harmless), None, "{harmless:?}");
        }
    }

    #[test]
    fn a_replica_names_its_master_and_a_master_its_replicas() {
        let replica = Info::read("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nslave_repl_offset:7\r\n");
        assert_eq!((replica.master, replica.replicas.len()), (Some(("10.0.0.1".into(), 6379)), 0));
        let online = "ip=10.0.0.2,port=6380,state=online,offset=14,lag=0";
        let master = Info::read(&format!("role:master\r\nconnected_slaves:2\r\nslave0:{online}\r\nslave1:ip=a\r\n"));
        assert_eq!((master.master, master.replicas), (None, vec![("10.0.0.2".into(), 6380)]));
    }
}
