//! The servers to ask: the one at the given address, and the other servers of its cluster, or its replicas. With them
//! the hub is found again when its server is gone.

use std::collections::VecDeque;

use redis::{Client, ConnectionAddr, RedisError, Value};

use super::value::list;

pub(super) struct Servers {
    given: Client,
    /// The server to ask comes first, followed by those to try when it does not answer.
    known: VecDeque<Client>,
}

impl Servers {
    pub(super) fn new(given: Client) -> Self {
        Self { known: VecDeque::from([given.clone()]), given }
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Returns the server to ask.
    pub(super) fn first(&self) -> Client {
        self.known.front().unwrap_or(&self.given).clone()
    }

    /// Returns the server to ask. The next call returns another one, if there are others.
    pub(super) fn next(&mut self) -> Client {
        let first = self.first();
        self.known.rotate_left(1.min(self.known.len()));
        first
    }

    /// Makes this the server to ask.
    pub(super) fn prefer(&mut self, client: Client) {
        self.known.retain(|other| addr(other) != addr(&client));
        self.known.push_front(client);
    }

    /// Makes this the server to ask, and forgets all others.
    pub(super) fn go_to(&mut self, host: &str, port: u16) {
        if let Some(client) = self.at(host, port) {
            self.known = VecDeque::from([client]);
        }
    }

    /// Goes to the server that has the hub's slot, according to another server.
    pub(super) fn follow(&mut self, moved: &RedisError) {
        let to = moved.redirect_node().and_then(|(to, _slot)| to.rsplit_once(':'));
        if let Some((host, port)) = to
            && let Ok(port) = port.parse()
        {
            self.ask_next(host, port);
        }
    }

    /// Makes the server at this address the one to ask, because another server named it.
    pub(super) fn ask_next(&mut self, host: &str, port: u16) {
        if let Some(client) = self.at(host, port) {
            self.prefer(client);
        }
    }

    /// Learns the servers from the answer of `CLUSTER SLOTS`, which lists the bounds of each range of slots, and then
    /// its servers.
    pub(super) fn learn(&mut self, slots: &Value) {
        let servers = list(slots).iter().flat_map(|range| list(range).iter().skip(2));
        let named: Vec<_> = servers.filter_map(|server| self.named(list(server))).collect();
        self.learn_all(named);
    }

    /// Learns the replicas from what a master says about them.
    pub(super) fn learn_replicas(&mut self, replicas: &[(String, u16)]) {
        let replicas: Vec<_> = replicas.iter().filter_map(|(host, port)| self.at(host, *port)).collect();
        self.learn_all(replicas);
    }

    fn learn_all(&mut self, others: Vec<Client>) {
        let given = self.given.clone();
        self.known.truncate(1);
        for client in others.into_iter().chain([given]) {
            if !self.known.iter().any(|other| addr(other) == addr(&client)) {
                self.known.push_back(client);
            }
        }
    }

    /// Returns the server from its description: a host, a port, and further data.
    fn named(&self, server: &[Value]) -> Option<Client> {
        let [Value::BulkString(host), Value::Int(port), ..] = server else { return None };
        self.at(std::str::from_utf8(host).ok().filter(|host| *host != "?")?, u16::try_from(*port).ok()?)
    }

    /// Returns a client for another address, with the same settings as the server that is asked. An empty host is the
    /// same host.
    fn at(&self, host: &str, port: u16) -> Option<Client> {
        let info = self.first().get_connection_info().clone();
        let host = |same: &str| if host.is_empty() { same } else { host }.to_string();
        let addr = match info.addr() {
            ConnectionAddr::Tcp(same, _) => ConnectionAddr::Tcp(host(same), port),
            ConnectionAddr::TcpTls { host: same, insecure, tls_params, .. } => {
                let (host, insecure, tls_params) = (host(same), *insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            // A socket's path tells nothing about other servers.
            _ if host("").is_empty() => return None,
            _ => ConnectionAddr::Tcp(host(""), port),
        };
        Client::open(info.set_addr(addr)).ok()
    }
}

fn addr(client: &Client) -> &ConnectionAddr {
    client.get_connection_info().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        Servers::new(Client::open("redis://:secret@given:1/0").unwrap())
    }

    fn known(servers: &Servers) -> Vec<String> {
        servers.known.iter().map(|client| addr(client).to_string()).collect()
    }

    fn server(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())])
    }

    fn range(servers: Vec<Value>) -> Value {
        Value::Array([Value::Int(0), Value::Int(9)].into_iter().chain(servers).collect())
    }

    #[test]
    fn all_servers_of_a_cluster_are_tried_and_the_one_that_answers_is_kept() {
        let mut servers = servers();
        let slots = Value::Array(vec![
            range(vec![server("a", 2), server("", 3)]),
            range(vec![server("a", 2), server("?", 4), Value::Nil, server("b", -1)]),
        ]);
        servers.learn(&slots);
        assert_eq!(known(&servers), ["given:1", "a:2", "given:3"]);
        let tried: Vec<_> = (0..3).map(|_| addr(&servers.next()).to_string()).collect();
        assert_eq!(tried, ["given:1", "a:2", "given:3"]);
        let second = servers.known[1].clone();
        servers.prefer(second);
        assert_eq!(known(&servers), ["a:2", "given:1", "given:3"]);
        assert_eq!(servers.first().get_connection_info().redis_settings().password(), Some("secret"));
        // The others have left.
        servers.learn(&Value::Array(vec![range(vec![server("a", 2)])]));
        assert_eq!(known(&servers), ["a:2", "given:1"]);
    }

    #[test]
    fn one_that_is_no_cluster_stays_alone() {
        let mut servers = servers();
        servers.learn(&Value::Nil);
        servers.next();
        assert_eq!(known(&servers), ["given:1"]);
    }
}
