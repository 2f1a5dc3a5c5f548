//! The connection for commands. There is one, which is made when it is needed and given up when it does not answer.
//!
//! The client crate's own `ConnectionManager` keeps a connection whose commands time out. If such a connection was cut
//! silently, it stays unusable for as long as the kernel retries. Here the first timeout ends the connection.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, Pipeline, RedisError, Script, ScriptInvocation,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    info::{self, Info},
    scripts,
    sentinel::Sentinels,
    servers::Servers,
    subscriber::{self, Pushed, Subscriptions},
    tls,
    value::failed,
};
use crate::{
    backend::Presence,
    error::BackendError,
    sync::{self, lock},
};

/// A connection that was idle for this long is checked before it is used. Redis, and proxies on the way to it, close
/// idle connections, and the next publish must not fail because of that.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Link {
    servers: sync::Mutex<Servers>,
    /// The sentinels to ask for the master, if there are any.
    sentinels: Option<Sentinels>,
    timeout: Duration,
    /// Whether a server that evicts keys is acceptable.
    allow_eviction: bool,
    /// The script with which the hub finds out what has happened to the server, and its key.
    survey: (Script, String),
    /// Locked while a connection is opened, so that there is only one.
    current: Mutex<Option<Arc<Current>>>,
}

struct Current {
    connection: MultiplexedConnection,
    /// When the connection was last used.
    used: sync::Mutex<Instant>,
    /// Since when a call has waited without any answer on the connection. The caller may have given up before the
    /// connection timed out. If such a call is answered later, the worst consequence is a needless new connection.
    silent: sync::Mutex<Option<Instant>>,
    /// What the server said about itself, and when it was last asked.
    info: sync::Mutex<(Instant, Info)>,
    /// When the hub last found out what has happened to the server.
    surveyed: sync::Mutex<Instant>,
}

/// Why there is no answer.
enum Failure {
    Redis(RedisError),
    /// The server can't be used with its present settings.
    Refused(BackendError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Redis(error) => failed(error),
            Failure::Refused(error) => error,
        }
    }
}

impl Current {
    fn new(connection: MultiplexedConnection, info: Info) -> Self {
        Self {
            connection,
            used: sync::Mutex::new(Instant::now()),
            silent: sync::Mutex::new(None),
            info: sync::Mutex::new((Instant::now(), info)),
            surveyed: sync::Mutex::new(Instant::now()),
        }
    }

    async fn ask<T>(&self, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        lock(&self.silent).get_or_insert_with(Instant::now);
        let answer = answer.await;
        *lock(&self.silent) = None;
        answer
    }

    async fn is_there(&self, timeout: Duration) -> bool {
        if lock(&self.silent).is_some_and(|since| since.elapsed() >= timeout) {
            return false;
        }
        let pause = std::mem::replace(&mut *lock(&self.used), Instant::now()).elapsed();
        if pause < PAUSE {
            return true;
        }
        let ping = redis::cmd("PING");
        let pong: Result<(), _> = self.ask(ping.query_async(&mut self.connection.clone())).await;
        !pong.is_err_and(|error| is_useless(&error))
    }

    /// Returns whether it is time for another survey. Returns `true` to one caller, which then runs it.
    fn is_survey_due(&self) -> bool {
        let at = &mut *lock(&self.surveyed);
        let due = at.elapsed() >= PAUSE;
        if due {
            *at = Instant::now();
        }
        due
    }

    /// Returns whether it is time to ask the server for its `INFO` again. Returns `true` to one caller, which then
    /// asks; the others use the last answer.
    fn is_due(&self) -> bool {
        let (at, info) = &mut *lock(&self.info);
        let every = if info.evicts.is_some() { PAUSE } else { Presence::EVERY };
        let due = at.elapsed() >= every;
        if due {
            *at = Instant::now();
        }
        due
    }
}

#[derive(Clone, Copy)]
enum Question<'a> {
    Script(&'a ScriptInvocation<'a>),
    Commands(&'a Pipeline),
}

impl Question<'_> {
    async fn ask(self, connection: &Current) -> Result<Value, RedisError> {
        let mut own = connection.connection.clone();
        match self {
            Self::Script(script) => connection.ask(script.invoke_async(&mut own)).await,
            Self::Commands(commands) => connection.ask(commands.query_async(&mut own)).await,
        }
    }
}

impl Link {
    pub(super) fn new(
        client: Client,
        sentinels: Option<Sentinels>,
        timeout: Duration,
        allow_eviction: bool,
        hub: String,
    ) -> Self {
        let servers = sync::Mutex::new(Servers::new(client));
        let survey = (scripts::survey(), hub);
        Self { servers, sentinels, timeout, allow_eviction, survey, current: Mutex::new(None) }
    }

    /// Runs a script.
    pub(super) async fn ask(&self, script: &ScriptInvocation<'_>) -> Result<Value, BackendError> {
        self.answer(Question::Script(script)).await
    }

    /// Runs commands one after the other. Other clients' commands may run in between. The answers are a list.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Value, BackendError> {
        self.answer(Question::Commands(commands)).await
    }

    async fn answer(&self, question: Question<'_>) -> Result<Value, BackendError> {
        match self.try_answer(question).await {
            // Nothing was done: the hub's slot or its master is on another server, which the link now asks.
            Err(Failure::Redis(error)) if is_moved(&error) || is_replica(&error) => self.try_answer(question).await,
            answer => answer,
        }
        .map_err(BackendError::from)
    }

    async fn try_answer(&self, question: Question<'_>) -> Result<Value, Failure> {
        let connection = self.connection().await?;
        let answer = match self.check(&connection).await {
            Ok(()) => question.ask(&connection).await,
            Err(Failure::Redis(error)) => Err(error),
            Err(refused) => return Err(refused),
        };
        if let Err(error) = &answer
            && is_useless(error)
        {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                *current = None;
                let mut servers = lock(&self.servers);
                if is_moved(error) { servers.follow(error) } else { drop(servers.next()) }
            }
        }
        Ok(answer?)
    }

    /// Refuses a server that evicts keys. Asks the server for that on each new connection, and again from time to time.
    async fn check(&self, connection: &Current) -> Result<(), Failure> {
        if connection.is_due() {
            let info = self.info(&mut connection.connection.clone()).await?;
            if info.master.is_some() {
                return Err(read_only().into());
            }
            lock(&connection.info).1 = info;
        }
        if connection.is_survey_due() {
            connection.ask(self.survey(&mut connection.connection.clone())).await?;
        }
        match self.allow_eviction {
            true => Ok(()),
            false => lock(&connection.info).1.check().map_err(Failure::Refused),
        }
    }

    /// Has the hub find out whether the server may have lost events: first on each new connection, and once a second
    /// from then on.
    async fn survey(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let (script, hub) = &self.survey;
        let mut ask = script.key(hub);
        ask.arg(super::random_epoch().to_string()).arg(u8::from(self.allow_eviction));
        ask.invoke_async::<Value>(connection).await.map(drop)
    }

    /// Asks the server about itself.
    async fn info(&self, connection: &mut MultiplexedConnection) -> Result<Info, Failure> {
        let mut all = redis::pipe();
        for section in ["memory", "replication", "server", "cluster"] {
            all.cmd("INFO").arg(section);
        }
        match all.query_async::<Vec<String>>(connection).await {
            Ok(sections) => Ok(Info::read(&sections.concat())),
            Err(error) if !is_denied(&error) => Err(Failure::Redis(error)),
            Err(_) if self.allow_eviction => Ok(Info::default()),
            Err(_) => Err(Failure::Refused(info::denied())),
        }
    }

    async fn connection(&self) -> Result<Arc<Current>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current
            && connection.is_there(self.timeout).await
        {
            return Ok(connection.clone());
        }
        *current = None;
        let (connection, info) = self.connect().await?;
        let connection = Arc::new(Current::new(connection, info));
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// Connects to one of the servers that is reachable and takes writes. Returns its `INFO` too.
    async fn connect(&self) -> Result<(MultiplexedConnection, Info), Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        if let Some(sentinels) = &self.sentinels {
            prepare(&lock(&self.servers).first());
            let (host, port) = sentinels.master(&config).await?;
            lock(&self.servers).go_to(&host, port);
        }
        // Allows one more try, for the master that a replica names.
        let mut left = lock(&self.servers).count() + 1;
        loop {
            // Moves on now, so that the next call tries another server even if this one is cancelled.
            let client = lock(&self.servers).next();
            let error = match self.try_connect(&client, &config).await {
                Ok((connection, info)) => match &info.master {
                    None => {
                        lock(&self.servers).prefer(client);
                        return Ok((self.learn(connection, &info).await, info));
                    }
                    Some((host, port)) => {
                        lock(&self.servers).ask_next(host, *port);
                        read_only().into()
                    }
                },
                Err(error) => error,
            };
            if let Failure::Redis(error) = &error
                && is_moved(error)
            {
                lock(&self.servers).follow(error);
            }
            left -= 1;
            if left == 0 {
                return Err(error);
            }
        }
    }

    async fn try_connect(
        &self,
        client: &Client,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Info), Failure> {
        prepare(client);
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        let info = self.info(&mut connection).await?;
        if info.master.is_none() {
            self.survey(&mut connection).await?;
        }
        Ok((connection, info))
    }

    /// Learns which other servers to try when this one is gone.
    async fn learn(&self, mut connection: MultiplexedConnection, info: &Info) -> MultiplexedConnection {
        if self.sentinels.is_none() {
            // An error means that the server is not part of a cluster.
            match redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await {
                Ok(slots) => lock(&self.servers).learn(&slots),
                Err(_) => lock(&self.servers).learn_replicas(&info.replicas),
            }
        }
        connection
    }

    /// Returns whether the node accepts a server that evicts keys.
    pub(super) fn allows_eviction(&self) -> bool {
        self.allow_eviction
    }

    /// Returns whether the server belongs to a cluster that can push to only the servers that have the hub's slot.
    pub(super) async fn is_sharded(&self) -> Result<bool, BackendError> {
        let connection = self.connection().await?;
        let (_, info) = &*lock(&connection.info);
        Ok(info.is_sharded)
    }

    /// Opens a separate connection for a feed.
    pub(super) async fn subscriber(&self, sharded: bool) -> Result<(Subscriptions, Pushed), BackendError> {
        let client = lock(&self.servers).first();
        prepare(&client);
        subscriber::connect(client, sharded, self.timeout).await
    }
}

fn prepare(client: &Client) {
    if let ConnectionAddr::TcpTls { .. } = client.get_connection_info().addr() {
        tls::choose_provider();
    }
}

/// Returns whether the hub's slot has moved to another server for good. While a slot is being moved, no server answers
/// for it.
fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// Returns whether the server is a replica, which takes no writes. Before Redis 7 only the text of a script's error
/// says so.
fn is_replica(error: &RedisError) -> bool {
    let is_said = |text: &str| text.contains("READONLY");
    error.code().is_some_and(is_said) || error.detail().is_some_and(is_said)
}

fn read_only() -> RedisError {
    (ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica, and its master is not found").into()
}

/// Returns whether the user may not run the command, or the server has no command of that name.
fn is_denied(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}

/// Returns whether the connection, or the server at its other end, can no longer be used.
fn is_useless(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || is_moved(error)
        || is_replica(error)
        || error.code() == Some("CLUSTERDOWN")
}
