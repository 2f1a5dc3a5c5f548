//! The handle with which an application starts runs, and answers with them.

use std::{fmt, sync::Arc, time::Duration};

use http::{Response, request::Parts};
use tokio::sync::oneshot;

use super::{
    answer,
    dialect::{Dialect, Plain},
    error::RunError,
    handover,
    local::Local,
    merge::Rule,
    names,
    new::New,
    outcome::Outcome,
    settings::{Conflict, ProducerError, Settings},
    starting::{Beginning, begin},
    status::{self, Status},
    thread,
    writer::Writer,
};
use crate::{publisher::Publisher, serve::SseBody, wire::name::ChannelName};

/// Starts runs, and answers requests with them in one dialect. All clones refer to the same runs.
///
/// Make one for each [`Publisher`], and more of it with [`dialect`](Self::dialect) if your clients speak several protocols.
/// See the [module's documentation](super) for an example.
#[derive(Clone)]
pub struct Runs<D = Plain> {
    pub(super) local: Arc<Local>,
    pub(super) settings: Arc<Settings>,
    dialect: D,
}

impl<D: Dialect> Runs<D> {
    /// Creates the runs of a hub. `dialect` is the protocol of the clients.
    pub fn new(publisher: Publisher, dialect: D) -> Self {
        Self { local: Arc::new(Local::new(publisher)), settings: Arc::default(), dialect }
    }

    /// Returns a handle to the same runs for the clients of another protocol. It begins with the settings of this one. A setter
    /// then changes only the handle that it is called on, but for [`keep`](Self::keep) and [`lease`](Self::lease), which all
    /// handles share.
    pub fn dialect<E: Dialect>(&self, dialect: E) -> Runs<E> {
        Runs { local: self.local.clone(), settings: self.settings.clone(), dialect }
    }

    /// Sets what happens when a run is started in a thread in which another one is active. By default it is
    /// [refused](Conflict::Reject).
    pub fn conflict(mut self, conflict: Conflict) -> Self {
        Arc::make_mut(&mut self.settings).conflict = conflict;
        self
    }

    /// Sets for how long a run is held after its end. All of it is held while it runs, within the limit in bytes of its
    /// channel's [`Retention`](crate::Retention) and the hub's [limits](crate::Limits::hub_bytes). The default is ten
    /// minutes. It is a setting of the hub, as the [lease](Self::lease) is one of the node.
    pub fn keep(self, keep: Duration) -> Self {
        self.local.set_keep(keep);
        self
    }

    /// Sets how long a start waits for the end of the run before it, with [`Conflict::Interrupt`] and [`Conflict::Enqueue`].
    /// After that it is refused. The default is 30 seconds.
    pub fn patience(mut self, patience: Duration) -> Self {
        Arc::make_mut(&mut self.settings).patience = patience;
        self
    }

    /// Sets how long a producer may go on once its run was [stopped](Self::stop), before it is dropped. The default is 5
    /// seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        Arc::make_mut(&mut self.settings).grace = grace;
        self
    }

    /// Stops runs that nobody has read for this long, on any node. By default a run goes on without readers: to close a page is
    /// not to stop. Leave clients the time to reconnect. With a remote backend, each of these runs asks for its readers every few
    /// seconds, see [`Channel::unread`](crate::Channel::unread).
    pub fn stop_when_unread(mut self, after: Duration) -> Self {
        Arc::make_mut(&mut self.settings).unread = Some(after);
        self
    }

    /// Sets how long a node may be silent before the other nodes take its producers for [lost](Outcome::Lost) and tell their
    /// readers. The default is 10 seconds, and the least is 100 milliseconds. It is a setting of the node: it counts for all
    /// handles to the same runs, and has to be set before the first run. Give all nodes the same.
    ///
    /// Without a backend there is one node, and no lease.
    pub fn lease(self, lease: Duration) -> Self {
        self.local.control.set_lease(lease);
        self
    }

    /// Sets how many runs may be active in this process. A start beyond that is refused: over HTTP with 503. The default is
    /// 10,000.
    pub fn max_runs(mut self, max: usize) -> Self {
        Arc::make_mut(&mut self.settings).max_runs = max;
        self
    }

    /// Merges tokens before they are sent, so that a fast model costs fewer appends. The first token is sent at once. Those that
    /// follow within `window` are held, merged by the [rule](Dialect::delta) of the dialect that starts the run, and sent as one
    /// when the window ends, which opens the next one. It is off by default; 40 milliseconds can't be seen.
    ///
    /// Nothing is reordered: before any other event, what is held is sent. It is also sent before the outcome, however the run
    /// ends. If the process dies, it is lost.
    ///
    /// [`Writer::send`] returns before an event that is held was sent. If the store does not answer, sending is tried again until
    /// it does. If the event is refused, the next `send` returns the error. If there is none, the run has
    /// [failed](Outcome::Failed), although its producer returned `Ok`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::{Publisher, runs::{AiSdk, Runs}};
    ///
    /// let runs = Runs::new(Publisher::new(), AiSdk).roll_up(Duration::from_millis(40));
    /// ```
    pub fn roll_up(mut self, window: Duration) -> Self {
        Arc::make_mut(&mut self.settings).roll_up = Some(window).filter(|window| !window.is_zero());
        self
    }

    /// Sets what readers may be told of the error that a producer returned. By default they are only told that the
    /// run failed, because errors tend to have details that readers should not see.
    pub fn explain(mut self, explain: impl Fn(&ProducerError) -> Option<String> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.settings).explain = Arc::new(explain);
        self
    }

    /// Starts a run, and answers with it from its beginning.
    ///
    /// The producer is a task of its own: it goes on if the reader leaves, and if the returned future is dropped once the run
    /// has begun. The run ends when the producer returns. If it returns an error or panics, the run has
    /// [failed](Outcome::Failed).
    ///
    /// The answer is a 409 if the run was started before, or if another run of its thread is active and the settings
    /// [say so](Self::conflict). It is a 400 for an id that is not valid, and a 503 if the node drains, has reached a limit, or
    /// can't reach its backend. [`spawn`](Self::spawn) returns these as errors.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn start<F, P>(&self, new: New, producer: F) -> Response<SseBody>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        match self.begin_first(new, producer).await {
            Ok(run) => answer::run(&self.local, self.dialect.clone(), &run, None).await,
            Err(error) => answer::refused(&self.local, &error),
        }
    }

    /// Starts a run without an answer, and returns its id.
    ///
    /// # Errors
    ///
    /// Returns an error if the run was started before or another one of its thread is active, an id is not valid, the node is
    /// draining, a limit is reached, or a remote backend does not answer. See the predicates of [`RunError`].
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn spawn<F, P>(&self, new: New, producer: F) -> Result<String, RunError>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        let run = self.begin_first(new, producer).await?;
        Ok(names::run_in(&run).to_owned())
    }

    async fn begin_first<F, P>(&self, new: New, producer: F) -> Result<ChannelName, RunError>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        let run = names::of_run(&new.id)?;
        let thread = new.thread.as_deref().map(names::of_thread).transpose()?;
        self.begin(run, Beginning::First(thread), producer).await
    }

    pub(super) async fn begin<F, P>(
        &self,
        run: ChannelName,
        beginning: Beginning,
        producer: F,
    ) -> Result<ChannelName, RunError>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        let (local, settings, name) = (self.local.clone(), self.settings.clone(), run.clone());
        let (begun, told) = oneshot::channel();
        // A task, so that a client that goes away does not leave a run without a producer.
        tokio::spawn(async move {
            let mut begun = begun;
            // Boxed, as the ends are, so that a run that goes on does not carry them.
            match Box::pin(begin(&local, &settings, Rule::of::<D>(), &name, beginning, &mut begun)).await {
                Err(error) => drop(begun.send(Err(error))),
                Ok(duty) => {
                    let writer = Writer::new(duty.run.clone());
                    let _ = begun.send(Ok(()));
                    // What `producer` does before its future is polled may panic, too.
                    duty.produce(settings, async move { producer(writer).await }).await;
                }
            }
        });
        match told.await {
            Ok(result) => result.map(|()| run),
            // The runtime shuts down.
            Err(_) => Err(super::error::Kind::Draining.into()),
        }
    }

    /// Answers with a run: from its beginning, or after the last event that the client says it has. It does not matter on
    /// which node the run is.
    ///
    /// The answer is a 204 if the run has ended and the client has all of it. If there is no such run, it is what the dialect
    /// [says](Dialect::absent). If events that the client needs are no longer held, it is a 410, or a `gap` event for an
    /// `EventSource`.
    ///
    /// Anyone who knows an id can read the run: decide before this call whether the client may.
    pub async fn attach(&self, run: &str, parts: &Parts) -> Response<SseBody> {
        match names::of_run(run) {
            Ok(run) => self.answer(&run, parts).await,
            Err(_) => answer::absent(&self.dialect),
        }
    }

    /// Answers with the active run of a thread, as [`attach`](Self::attach) does. If none is active, the answer is what the
    /// dialect [says](Dialect::absent).
    pub async fn attach_thread(&self, thread: &str, parts: &Parts) -> Response<SseBody> {
        let Ok(thread) = names::of_thread(thread) else { return answer::absent(&self.dialect) };
        match thread::active(&self.local, &thread).await {
            Ok(Some(active)) => self.answer(&active.run, parts).await,
            Ok(None) => answer::absent(&self.dialect),
            Err(error) => answer::refused(&self.local, &error),
        }
    }

    async fn answer(&self, run: &ChannelName, parts: &Parts) -> Response<SseBody> {
        let mut dialect = self.dialect.clone();
        let last_event_id = match dialect.seeks(parts) {
            false => dialect.last_event_id(parts),
            true => match answer::seek(&self.local, &mut dialect, run).await {
                Ok(id) => id.map(|id| id.to_string().into_bytes()),
                Err(error) => return answer::refused(&self.local, &error),
            },
        };
        answer::run(&self.local, dialect, run, last_event_id.as_deref()).await
    }

    pub(super) fn spoken(&self) -> &D {
        &self.dialect
    }

    /// Answers with why there is no run.
    pub(super) fn refused(&self, error: &RunError) -> Response<SseBody> {
        answer::refused(&self.local, error)
    }

    /// Asks the producer of a run to end, on whichever node it is. Its [`send`](Writer::send) fails from now on,
    /// [`stopped`](Writer::stopped) resolves, and after the [grace](Self::grace) it is dropped. The run has the outcome
    /// [stopped](Outcome::Stopped) then, for all of its readers.
    ///
    /// This returns once the request is on its way; [`ended`](Self::ended) waits for the end. Nothing happens if there is no
    /// such run, or if it has ended. Decide before this call whether the client may stop the run.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    pub async fn stop(&self, run: &str) -> Result<(), RunError> {
        match names::of_run(run) {
            Ok(run) => handover::stop(&self.local, &run).await,
            Err(_) => Ok(()),
        }
    }

    /// Asks the active run of a thread to end, as [`stop`](Self::stop) does. Nothing happens if none is active.
    ///
    /// # Errors
    ///
    /// The same as [`stop`](Self::stop).
    pub async fn stop_thread(&self, thread: &str) -> Result<(), RunError> {
        let Ok(thread) = names::of_thread(thread) else { return Ok(()) };
        match thread::active(&self.local, &thread).await? {
            Some(active) => handover::stop(&self.local, &active.run).await,
            None => Ok(()),
        }
    }

    /// Returns the status of a run, on whichever node it is, or `None` if there is no such run or it is no longer held.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    pub async fn status(&self, run: &str) -> Result<Option<Status>, RunError> {
        match names::of_run(run) {
            Ok(run) => status::status(&self.local, &run).await,
            Err(_) => Ok(None),
        }
    }

    /// Waits until a run has ended, and returns how; `None` if there is no such run. If the node of its producer dies, this
    /// notices by the [lease](Self::lease).
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails, or if the hub shuts down.
    pub async fn ended(&self, run: &str) -> Result<Option<Outcome>, RunError> {
        let Ok(run) = names::of_run(run) else { return Ok(None) };
        let _watch = answer::watch(&self.local, &run).await?;
        status::ended(&self.local, &run).await
    }

    /// Returns how many runs are active in this process.
    pub fn active(&self) -> usize {
        self.local.len()
    }

    /// Returns the hub's publisher.
    pub fn publisher(&self) -> &Publisher {
        &self.local.publisher
    }
}

impl<D> fmt::Debug for Runs<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").field("active", &self.local.len()).field("settings", &self.settings).finish()
    }
}
