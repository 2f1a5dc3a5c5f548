//! The connection for commands: one, made when it is needed, and given up when it does not answer.
//!
//! The client crate's own `ConnectionManager` keeps a connection on which commands run into the timeout, and one that is
//! cut off without a word stays so for as long as the kernel retries. Here the first timeout ends it.

use std::{
    sync::{Arc, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, RedisError, ScriptInvocation, Value,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{sync::Mutex, time::timeout};

use super::tls;
use crate::error::BackendError;

pub(super) struct Link {
    /// The one to ask, which is another one after a cluster has said that the hub's slot is elsewhere; and the one to ask
    /// when that can't be reached.
    clients: RwLock<(Client, Client)>,
    /// Where it was told to go first.
    own: Client,
    timeout: Duration,
    /// Locked while one is made, so that there is only one.
    current: Mutex<Option<Arc<Current>>>,
}

struct Current {
    connection: MultiplexedConnection,
    /// Since when a question waits and nothing at all has been answered. Who asked may have lost patience before the
    /// connection did.
    asked: std::sync::Mutex<Option<Instant>>,
}

impl Current {
    async fn ask(&self, script: &ScriptInvocation<'_>) -> Result<Value, RedisError> {
        self.asked().get_or_insert_with(Instant::now);
        let answer = script.invoke_async(&mut self.connection.clone()).await;
        *self.asked() = None;
        answer
    }

    fn is_silent(&self, timeout: Duration) -> bool {
        self.asked().is_some_and(|since| since.elapsed() >= timeout)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    pub(super) fn new(client: Client, timeout: Duration) -> Self {
        let clients = RwLock::new((client.clone(), client.clone()));
        Self { clients, own: client, timeout, current: Mutex::new(None) }
    }

    /// Runs a script.
    pub(super) async fn ask(&self, script: &ScriptInvocation<'_>) -> Result<Value, BackendError> {
        match self.try_ask(script).await {
            // Nothing was done: the hub's slot is elsewhere, to where the link has moved.
            Err(error) if error.redirect_node().is_some() => self.try_ask(script).await,
            answer => answer,
        }
        .map_err(failed)
    }

    async fn try_ask(&self, script: &ScriptInvocation<'_>) -> Result<Value, RedisError> {
        let connection = self.connection().await?;
        let answer = connection.ask(script).await;
        if let Err(error) = &answer
            && is_useless(error)
        {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                *current = None;
                self.redirect(error);
            }
        }
        answer
    }

    async fn connection(&self) -> Result<Arc<Current>, RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|current| !current.is_silent(self.timeout)) {
            return Ok(connection.clone());
        }
        *current = None;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let connection = self.client().get_multiplexed_async_connection_with_config(&config).await;
        if connection.is_err() {
            // A cluster's node that is gone tells nobody who has its slots now.
            let (client, other) = &mut *self.clients.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(client, other);
        }
        let connection = Arc::new(Current { connection: connection?, asked: std::sync::Mutex::new(None) });
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// A connection of its own, for a feed.
    pub(super) async fn subscriber(&self) -> Result<PubSub, BackendError> {
        let client = self.client();
        match timeout(self.timeout, client.get_async_pubsub()).await {
            Ok(subscriber) => subscriber.map_err(failed),
            Err(elapsed) => Err(BackendError::timed_out(elapsed)),
        }
    }

    fn client(&self) -> Client {
        let client = self.clients.read().unwrap_or_else(PoisonError::into_inner).0.clone();
        if let ConnectionAddr::TcpTls { .. } = client.get_connection_info().addr() {
            tls::choose_provider();
        }
        client
    }

    fn redirect(&self, error: &RedisError) {
        let Some((addr, _slot)) = error.redirect_node() else { return };
        let Some((host, port)) = addr.rsplit_once(':') else { return };
        let Ok(port) = port.parse() else { return };
        let info = self.client().get_connection_info().clone();
        // None is the one who said so.
        let host = match info.addr() {
            ConnectionAddr::TcpTls { host: same, .. } | ConnectionAddr::Tcp(same, _) if host.is_empty() => same,
            _ => host,
        };
        let addr = match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.to_string(),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.to_string(), port),
        };
        if let Ok(client) = Client::open(info.set_addr(addr)) {
            *self.clients.write().unwrap_or_else(PoisonError::into_inner) = (client, self.own.clone());
        }
    }
}

pub(super) fn failed(error: RedisError) -> BackendError {
    if error.is_timeout() { BackendError::timed_out(error) } else { BackendError::new(error) }
}

/// The connection, or what is at its other end, will not do.
fn is_useless(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || error.redirect_node().is_some()
        || error.code() == Some("READONLY")
}
