//! The connection for commands: one, made when it is needed, and given up when it does not answer.
//!
//! The client crate's own `ConnectionManager` keeps a connection on which commands run into the timeout, and one that is
//! cut off without a word stays so for as long as the kernel retries. Here the first timeout ends it.

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

/// After a pause as long as this a connection is asked whether it is still there. Redis and what is on the way to it close
/// those that are idle, and what is published next must not fail for it.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Link {
    servers: sync::Mutex<Servers>,
    /// Who says which server is the master, if they are to be asked.
    sentinels: Option<Sentinels>,
    timeout: Duration,
    /// A server that evicts keys will do.
    allow_eviction: bool,
    /// The script by which the hub takes notice of what has happened to the server, and its key.
    survey: (Script, String),
    /// Locked while one is made, so that there is only one.
    current: Mutex<Option<Arc<Current>>>,
}

struct Current {
    connection: MultiplexedConnection,
    /// When it was last asked something.
    used: sync::Mutex<Instant>,
    /// Since when a question waits and nothing at all has been answered. Who asked may have lost patience before the
    /// connection did.
    silent: sync::Mutex<Option<Instant>>,
    /// What the server said of itself, and when it was last asked.
    info: sync::Mutex<(Instant, Info)>,
    /// When the hub last took notice of what has happened to the server.
    surveyed: sync::Mutex<Instant>,
}

/// Why there is no answer.
enum Failure {
    Redis(RedisError),
    /// The server will not do, as long as it is set up as it is.
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

    /// Whether it is time for the hub to take notice of what has happened to the server. Only the caller that is told so asks for
    /// it.
    fn is_survey_due(&self) -> bool {
        let at = &mut *lock(&self.surveyed);
        let due = at.elapsed() >= PAUSE;
        if due {
            *at = Instant::now();
        }
        due
    }

    /// Whether it is time to ask the server what it says of itself. Only the caller that is told so asks; the others go by
    /// the last answer.
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

    /// Runs commands one after the other, with whatever comes in between. The answers are a list.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Value, BackendError> {
        self.answer(Question::Commands(commands)).await
    }

    async fn answer(&self, question: Question<'_>) -> Result<Value, BackendError> {
        match self.try_answer(question).await {
            // Nothing was done: the hub's slot, or its master, is elsewhere, to where the link moves.
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

    /// Refuses a server that evicts keys. It is asked for that when it is connected to, and now and then from there on.
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

    /// Has the hub take notice of what has happened to the server: before anything is asked on a new connection, and now and then
    /// from there on. A server that takes over without the last events has a connection of its own, or does so within a second.
    async fn survey(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let (script, hub) = &self.survey;
        let mut ask = script.key(hub);
        ask.arg(super::random_epoch().to_string());
        ask.invoke_async::<Value>(connection).await.map(drop)
    }

    /// What the server says of itself.
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

    /// A new connection, to whichever of the servers is there and takes writes, and what that says of itself.
    async fn connect(&self) -> Result<(MultiplexedConnection, Info), Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        if let Some(sentinels) = &self.sentinels {
            prepare(&lock(&self.servers).first());
            let (host, port) = sentinels.master(&config).await?;
            lock(&self.servers).go_to(&host, port);
        }
        // One more for where a replica says that its master is.
        let mut left = lock(&self.servers).count() + 1;
        loop {
            // The next time another one, also when whoever waits for this has less patience.
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
            // An error says that it is no cluster.
            match redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await {
                Ok(slots) => lock(&self.servers).learn(&slots),
                Err(_) => lock(&self.servers).learn_replicas(&info.replicas),
            }
        }
        connection
    }

    /// Whether the server is one of a cluster that can push to those servers alone that have the hub's slot.
    pub(super) async fn is_sharded(&self) -> Result<bool, BackendError> {
        let connection = self.connection().await?;
        let (_, info) = &*lock(&connection.info);
        Ok(info.is_sharded)
    }

    /// A connection of its own, for a feed.
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

/// The hub's slot is elsewhere, for good. As long as it is on its way there is nobody to ask.
fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// What is asked is a replica, which takes no writes. Before Redis 7 only the text of a script's error says so.
fn is_replica(error: &RedisError) -> bool {
    let is_said = |text: &str| text.contains("READONLY");
    error.code().is_some_and(is_said) || error.detail().is_some_and(is_said)
}

fn read_only() -> RedisError {
    (ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica, and its master is not found").into()
}

/// The user may not run the command, or the server has none of that name.
fn is_denied(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}

/// The connection, or what is at its other end, will not do.
fn is_useless(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || is_moved(error)
        || is_replica(error)
        || error.code() == Some("CLUSTERDOWN")
}
