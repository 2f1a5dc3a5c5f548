//! How many streams are open here under an allowance, for the store, which adds up those of all nodes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use super::link::Link;
use crate::{
    backend::Streams,
    hub::allowance::{Allowance, Allowances},
    sync::unlocked,
};

/// A question to the store: may a stream open that has its place on this node?
///
/// The mutex is never locked. It makes the future `Sync`, as all futures of the layer are.
pub(crate) struct Asking(Mutex<Pin<Box<dyn Future<Output = bool> + Send>>>);

impl Asking {
    /// While the store does not answer, each node limits its own streams.
    pub(crate) fn new(all: &Arc<Allowances>, link: &Arc<Link>, Allowance { holder, max }: Allowance) -> Self {
        let (all, link, rank) = (all.clone(), link.clone(), all.open_of(&holder));
        Self(Mutex::new(Box::pin(async move {
            let open = all.open_of(&holder);
            // Those that came later must not be the reason to refuse this one.
            let later = open.saturating_sub(rank);
            let streams = Streams::new(link.node, holder, open, Some(max.saturating_add(later)));
            link.within("count", link.backend.count(streams)).await.unwrap_or(true)
        })))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        unlocked(&mut self.0).as_mut().poll(cx)
    }
}

/// Tells the store of everybody who has fewer streams. What does not arrive is in the next report.
pub(crate) fn tell(all: Arc<Allowances>, link: Arc<Link>) -> impl Future<Output = ()> + Send {
    // Made here, so that another task may begin even if the runtime drops this one before it runs.
    let telling = Telling { link, done: false };
    async move {
        let mut telling = telling;
        let link = &telling.link;
        while let Some(holder) = link.untold.next() {
            let streams = Streams::new(link.node, holder.clone(), all.open_of(&holder), None);
            let _ = link.within("count", link.backend.count(streams)).await;
        }
        telling.done = true;
    }
}

/// A task that tells the store.
struct Telling {
    link: Arc<Link>,
    /// Whether it has told everything. From then on, another task may be telling.
    done: bool,
}

impl Drop for Telling {
    /// Lets another task begin if this one ends early, with its runtime.
    fn drop(&mut self) {
        if !self.done {
            self.link.untold.broke_off();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::silent::Silent;

    #[test]
    fn a_task_that_never_runs_lets_another_one_tell() {
        let all = Arc::new(Allowances::new(Arc::default(), None));
        let link = Arc::new(Link::new(Arc::new(Silent), Duration::from_secs(5), false));
        let holder = "ana".into();
        assert!(link.untold.add(&holder) && !link.untold.add(&holder));
        // What a runtime does that has shut down.
        drop(tell(all, link.clone()));
        assert!(link.untold.add(&holder));
    }
}
