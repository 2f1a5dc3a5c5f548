//! What a body does with what its subscription reads, if it does not just send it: it filters, maps, names channels, and
//! breaks off where a strict body has to.

use std::{
    fmt,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    incomplete::Incomplete,
    output::{Control, Output},
    transform::{Pass, Transform},
};
use crate::{
    error::BoxError,
    hub::{Ending, Run, Subscription, Turn},
    sync::unlocked,
    trace::debug,
    wire::{
        encoded::EncodedEvent,
        notice::{EndReason, Gap},
    },
};

/// What is sent next.
pub(super) struct Next {
    /// Empty only if this is the end.
    pub(super) bytes: Bytes,
    /// How the body ends after that, if it does.
    pub(super) over: Option<Over>,
}

/// How a body ends.
#[derive(Debug)]
pub(super) enum Over {
    Complete,
    /// Its time is over.
    Elapsed,
    BrokenOff(BoxError),
}

impl Over {
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Complete => Ending::Completed,
            Self::Elapsed => Ending::Elapsed,
            Self::BrokenOff(error) => {
                error.downcast_ref().map_or(Ending::BrokenOff, |incomplete: &Incomplete| incomplete.ending())
            }
        }
    }
}

type Keep = dyn FnMut(&EncodedEvent) -> bool + Send;

/// The shape of a stream. The application's closures are in a mutex only so that a body is `Sync` whatever they are:
/// nothing ever locks it.
pub(super) struct Shape {
    filter: Option<Box<Mutex<Keep>>>,
    transform: Box<Mutex<dyn Transform>>,
    output: Output,
    /// What comes after that which the transform has kept back: a gap or the end.
    turn: Option<Box<Turn>>,
    strict: bool,
    began: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            filter: None,
            transform: Box::new(Mutex::new(Pass)),
            output: Output::default(),
            turn: None,
            strict: false,
            began: false,
        }
    }
}

impl Shape {
    /// Sends only events for which `keep` and every earlier filter say so.
    pub(super) fn add_filter(&mut self, mut keep: impl FnMut(&EncodedEvent) -> bool + Send + 'static) {
        self.filter = Some(match self.filter.take() {
            None => Box::new(Mutex::new(keep)),
            Some(mut earlier) => {
                Box::new(Mutex::new(move |event: &EncodedEvent| unlocked(&mut earlier)(event) && keep(event)))
            }
        });
    }

    #[cfg(feature = "runs")]
    pub(super) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn set_transform(&mut self, transform: impl Transform) {
        self.transform = Box::new(Mutex::new(transform));
    }

    pub(super) fn set_strict(&mut self) {
        self.strict = true;
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn show_channel(&mut self, show: bool) {
        self.output.show_channel(show);
    }

    /// What goes before everything else. Empty but for the first time.
    pub(super) fn begin(&mut self) -> Next {
        if !std::mem::replace(&mut self.began, true) {
            unlocked(&mut self.transform).begin(&mut self.output);
        }
        self.next(None)
    }

    pub(super) fn poll(&mut self, subscription: &mut Subscription, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            let turn = match self.turn.take() {
                Some(turn) => Poll::Ready(*turn),
                None => subscription.poll_run(cx),
            };
            let next = match turn {
                Poll::Ready(Turn::Run(run)) => self.events(run, subscription),
                turn => {
                    let kept_back = self.level();
                    if !kept_back.bytes.is_empty() || kept_back.over.is_some() {
                        if let Poll::Ready(turn) = turn {
                            self.turn = Some(Box::new(turn));
                        }
                        return Poll::Ready(kept_back);
                    }
                    match ready!(turn) {
                        Turn::Run(run) => self.events(run, subscription),
                        Turn::Gap(gap) => self.gap(gap),
                        Turn::End(reason, notice) => self.end(reason, notice),
                    }
                }
            };
            // Nothing is left of what was read, if all of it was filtered out.
            if !next.bytes.is_empty() || next.over.is_some() {
                return Poll::Ready(next);
            }
        }
    }

    fn events(&mut self, mut run: Run, subscription: &mut Subscription) -> Next {
        if let Some(filter) = &mut self.filter {
            run.retain(unlocked(filter));
        }
        subscription.delivered(run.as_slice().len());
        if let Run::Many { chunk, .. } = &run {
            self.output.set_chunk(chunk);
        }
        if !run.as_slice().is_empty() {
            unlocked(&mut self.transform).events(run.as_slice(), &mut self.output);
        }
        self.next(None)
    }

    fn level(&mut self) -> Next {
        unlocked(&mut self.transform).level(&mut self.output);
        self.next(None)
    }

    fn gap(&mut self, gap: Gap) -> Next {
        self.output.begin_anew();
        self.output.set_notice((!self.strict).then(|| gap.encode()));
        unlocked(&mut self.transform).gap(&gap, &mut self.output);
        let breaks_off = self.strict && !self.output.goes_on();
        self.next(breaks_off.then(|| broken_off(Incomplete::gap(gap))))
    }

    fn end(&mut self, reason: EndReason, notice: Option<Bytes>) -> Next {
        self.output.set_notice(notice.filter(|_| !self.strict));
        unlocked(&mut self.transform).end(reason, &mut self.output);
        let complete = !self.strict || reason == EndReason::Finished;
        let usual = if complete { Over::Complete } else { broken_off(Incomplete::end(reason)) };
        self.next(Some(usual))
    }

    /// What was put out, and how the body goes on after it: as `usual`, unless the transform says something else.
    fn next(&mut self, usual: Option<Over>) -> Next {
        let (bytes, control) = self.output.take();
        let over = match control {
            Control::Usual | Control::GoOn => usual,
            Control::Finish => Some(Over::Complete),
            Control::BreakOff(error) => Some(Over::BrokenOff(error)),
        };
        Next { bytes, over }
    }
}

fn broken_off(incomplete: Incomplete) -> Over {
    debug!("a strict stream is broken off", reason = incomplete);
    Over::BrokenOff(incomplete.into())
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("output", &self.output).field("strict", &self.strict).finish_non_exhaustive()
    }
}
