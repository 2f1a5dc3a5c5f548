//! What a deploy does with the runs of a node.

use std::{sync::Arc, time::Duration};

use super::{
    active::Why,
    dialect::Dialect,
    error::RunError,
    handle::Runs,
    names,
    settings::{OnDrain, ProducerError},
    starting::Beginning,
    writer::Writer,
};

impl<D: Dialect> Runs<D> {
    /// Sets what becomes of runs that are active when the time to [drain](Self::drain) is over. By default they end.
    ///
    /// With [`HandOver`](OnDrain::HandOver), they wait for another node to [take them over](Self::take_over). Their readers stay
    /// connected to the nodes that go on.
    pub fn on_drain(mut self, on_drain: OnDrain) -> Self {
        Arc::make_mut(&mut self.settings).on_drain = on_drain;
        self
    }

    /// Sets how long a run that was handed over waits for another node. After that it ends as
    /// [drained](super::Outcome::Drained): at once if somebody reads it or asks for it, and otherwise once somebody does. The
    /// default is one minute. The setting of the node that hands over counts.
    pub fn take_over_within(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.settings).take_over_within = time;
        self
    }

    /// Gets this node ready to go: starts no more runs, gives those that are active the time to end, and then ends the others
    /// as [drained](super::Outcome::Drained), or [hands them over](Self::on_drain). Returns how many those were.
    ///
    /// Call it before [`Publisher::shutdown`](crate::Publisher::shutdown), so that readers are told in their protocol. It takes
    /// as long as `grace`, and a few seconds more if a remote backend does not answer.
    pub async fn drain(&self, grace: Duration) -> usize {
        let why = match self.settings.on_drain {
            OnDrain::End => Why::Drain,
            OnDrain::HandOver => Why::HandOver,
        };
        self.local.drain(grace, why).await
    }

    /// Goes on with a run that another node has [handed over](Self::on_drain). Of several nodes that try, one succeeds. Its
    /// producer writes under a higher fence, and the run keeps its id, its thread and its readers.
    ///
    /// Readers get the events of the new producer after those of the old one. What the old one has sent can be read from the
    /// run's [channel](super#channels), so that the new one can go on where it stopped. [`Writer::attempt`] counts the producers.
    ///
    /// # Errors
    ///
    /// Returns a [conflict](RunError::is_conflict) if the run was not handed over, or if another node was first, and otherwise
    /// the errors of [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn take_over<F, P>(&self, run: &str, producer: F) -> Result<(), RunError>
    where
        F: FnOnce(Writer) -> P + Send + 'static,
        P: Future<Output = Result<(), ProducerError>> + Send,
    {
        self.begin(names::of_run(run)?, Beginning::Next, producer).await.map(drop)
    }
}
