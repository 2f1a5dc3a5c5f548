//! Where to ask: at the address that was given, and at those of the other servers of its cluster, or of its replicas, so
//! that the hub is found again when the server that had it is gone.

use std::collections::VecDeque;

use redis::{Client, ConnectionAddr, RedisError, Value};

use super::value::list;

pub(super) struct Servers {
    given: Client,
    /// The one to ask comes first, and after it those to try when it does not answer.
    known: VecDeque<Client>,
}

impl Servers {
    pub(super) fn new(given: Client) -> Self {
        Self { known: VecDeque::from([given.clone()]), given }
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// The one to ask.
    pub(super) fn first(&self) -> Client {
        self.known.front().unwrap_or(&self.given).clone()
    }

    /// The one to ask; the next time it is another one, if there are others.
    pub(super) fn next(&mut self) -> Client {
        let first = self.first();
        self.known.rotate_left(1.min(self.known.len()));
        first
    }

    /// This is the one to ask.
    pub(super) fn prefer(&mut self, client: Client) {
        self.known.retain(|other| addr(other) != addr(&client));
        self.known.push_front(client);
    }

    /// This is the one to ask, and no other is known any more.
    pub(super) fn go_to(&mut self, host: &str, port: u16) {
        if let Some(client) = self.at(host, port) {
            self.known = VecDeque::from([client]);
        }
    }

    /// Goes where a server says that the hub's slot is.
    pub(super) fn follow(&mut self, moved: &RedisError) {
        let to = moved.redirect_node().and_then(|(to, _slot)| to.rsplit_once(':'));
        if let Some((host, port)) = to
            && let Ok(port) = port.parse()
        {
            self.ask_next(host, port);
        }
    }

    /// The one to ask is there, as another server says.
    pub(super) fn ask_next(&mut self, host: &str, port: u16) {
        if let Some(client) = self.at(host, port) {
            self.prefer(client);
        }
    }

    /// Takes over what `CLUSTER SLOTS` answers: of each range of slots its bounds, and then its servers.
    pub(super) fn learn(&mut self, slots: &Value) {
        let servers = list(slots).iter().flat_map(|range| list(range).iter().skip(2));
        let named: Vec<_> = servers.filter_map(|server| self.named(list(server))).collect();
        self.learn_all(named);
    }

    /// Takes over where a master says that its replicas are.
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

    /// The server of a host, a port, and what else is said of it.
    fn named(&self, server: &[Value]) -> Option<Client> {
        let [Value::BulkString(host), Value::Int(port), ..] = server else { return None };
        self.at(std::str::from_utf8(host).ok().filter(|host| *host != "?")?, u16::try_from(*port).ok()?)
    }

    /// The same as the one that is asked, elsewhere. No host is the same one.
    fn at(&self, host: &str, port: u16) -> Option<Client> {
        let info = self.first().get_connection_info().clone();
        let host = |same: &str| if host.is_empty() { same } else { host }.to_string();
        let addr = match info.addr() {
            ConnectionAddr::Tcp(same, _) => ConnectionAddr::Tcp(host(same), port),
            ConnectionAddr::TcpTls { host: same, insecure, tls_params, .. } => {
                let (host, insecure, tls_params) = (host(same), *insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            // A socket's path tells nothing of others.
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
