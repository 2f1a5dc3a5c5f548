//! Redis Sentinel: finds out which server is the master of a service, from any sentinel that knows it.

use std::collections::VecDeque;

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};

use crate::sync::{Mutex, lock};

/// The port of a sentinel if a URL names none.
const PORT: u16 = 26_379;

/// The sentinels of a service.
pub(super) struct Sentinels {
    /// The sentinel to ask first comes first.
    clients: Mutex<VecDeque<Client>>,
    service: String,
}

/// The content of a URL of sentinels: where they are, and how to connect to the master that they name.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) service: String,
    /// How to connect to the master, with the address of a sentinel in place of the master's.
    pub(super) master: ConnectionInfo,
}

impl Url {
    /// Reads `redis+sentinel://[user:password@]host[:port][,host[:port]]../service[/database]`. The user and the
    /// password are the master's. Returns `None` for a URL of another kind.
    pub(super) fn read(url: &str) -> Option<Result<Self, RedisError>> {
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, kind) = scheme.rsplit_once('+')?;
        kind.eq_ignore_ascii_case("sentinel").then(|| Self::read_rest(scheme, rest))
    }

    fn read_rest(scheme: &str, rest: &str) -> Result<Self, RedisError> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err((ErrorKind::InvalidClientConfig, "the URL names no service of the sentinels").into());
        }
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let sentinel = |host: &str| match has_port(host) {
            true => format!("{scheme}://{host}").into_connection_info(),
            false => format!("{scheme}://{host}:{PORT}").into_connection_info(),
        };
        let sentinels = hosts.split(',').map(sentinel).collect::<Result<Vec<_>, _>>()?;
        let first = hosts.split(',').next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let master = format!("{scheme}://{user}{at}{first}/{database}").into_connection_info()?;
        Ok(Self { sentinels, service: service.to_owned(), master })
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Sentinels {
    pub(super) fn new(sentinels: Vec<ConnectionInfo>, service: String) -> Result<Self, RedisError> {
        let clients = sentinels.into_iter().map(Client::open).collect::<Result<_, _>>()?;
        Ok(Self { clients: Mutex::new(clients), service })
    }

    /// Returns the address of the master, from the first sentinel that knows it.
    pub(super) async fn master(&self, config: &AsyncConnectionConfig) -> Result<(String, u16), RedisError> {
        let mut left = lock(&self.clients).len();
        loop {
            let Some(client) = self.next() else { return Err(self.unknown()) };
            match self.ask(&client, config).await {
                Ok(master) => {
                    lock(&self.clients).rotate_right(1);
                    return Ok(master);
                }
                Err(error) if left <= 1 => return Err(error),
                Err(_) => left -= 1,
            }
        }
    }

    async fn ask(&self, client: &Client, config: &AsyncConnectionConfig) -> Result<(String, u16), RedisError> {
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let master: Option<_> = ask.query_async(&mut connection).await?;
        master.ok_or_else(|| self.unknown())
    }

    /// Returns the sentinel to ask. The next call returns another one.
    fn next(&self) -> Option<Client> {
        let mut clients = lock(&self.clients);
        let first = clients.front().cloned();
        let count = clients.len();
        clients.rotate_left(1.min(count));
        first
    }

    fn unknown(&self) -> RedisError {
        (ErrorKind::InvalidClientConfig, "no sentinel knows a master of this service", self.service.clone()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_sentinels_a_service_and_a_database() {
        let read = |url: &str| Url::read(url).unwrap().unwrap();
        let addresses = |url: &Url| url.sentinels.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>();
        let url = read("redis+sentinel://app:s%40cret@a:1,b,[::1],[::2]:5/mymaster/3");
        assert_eq!(addresses(&url), ["a:1", "b:26379", "::1:26379", "::2:5"]);
        let master = url.master.redis_settings();
        assert_eq!((url.service.as_str(), master.db()), ("mymaster", 3));
        assert_eq!((master.username(), master.password()), (Some("app"), Some("s@cret")));
        assert!(url.sentinels[0].redis_settings().password().is_none(), "it is the master's");
        let url = read("valkey+sentinel://a/mymaster");
        assert_eq!((addresses(&url), url.master.redis_settings().db()), (vec!["a:26379".to_owned()], 0));
    }

    #[test]
    fn a_url_of_sentinels_that_names_no_service_is_an_error() {
        for url in ["redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel:///mymaster", "http+sentinel://a/b"] {
            assert!(Url::read(url).unwrap().is_err(), "{url}");
        }
        for url in ["redis://a/0", "redis+unix:///a", "a"] {
            assert!(Url::read(url).is_none(), "{url}");
        }
    }
}
