//! How long a reader has access: until its grant expires, unless its access is decided anew while it is connected.

use std::{
    collections::HashSet,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    Subscription,
    aside::Aside,
    expiry::{Expiry, Rechecked},
};
use crate::{
    hub::{
        grant::{Grant, Recheck, Verdict},
        recheck::Access,
    },
    trace::debug,
    wire::notice::EndReason,
};

impl Subscription {
    /// Lets `recheck` decide anew about the reader's access. Call it before the reader takes a place.
    pub(crate) fn set_recheck(&mut self, recheck: Recheck) {
        self.seat.open_access();
        self.change_aside(|aside| {
            let expires = std::mem::take(&mut aside.expires);
            let access = Some(Access::new(recheck));
            aside.expires = Expiry::Rechecked(Box::new(Rechecked { access, expires }));
        });
    }

    /// Ready once the grant expires.
    #[inline]
    pub(super) fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.aside.as_mut().map_or(Poll::Pending, |aside| aside.expires.poll(cx))
    }

    fn rechecked(&mut self) -> Option<&mut Rechecked> {
        match self.aside.as_deref_mut() {
            Some(Aside { expires: Expiry::Rechecked(rechecked), .. }) => Some(rechecked),
            _ => None,
        }
    }

    /// Returns whether the reader may continue and, if not, why it ends. A reader that was called gets nothing until
    /// its access is decided anew.
    #[inline]
    pub(super) fn poll_access(&mut self, cx: &mut Context<'_>) -> Poll<Option<EndReason>> {
        let Some(rechecked) = self.rechecked() else { return Poll::Ready(None) };
        let is_deciding = rechecked.access.as_ref().is_some_and(Access::is_deciding);
        if !is_deciding && !self.seat.is_called() {
            return Poll::Ready(None);
        }
        let Some(access) = self.rechecked().and_then(|rechecked| rechecked.access.take()) else {
            return Poll::Ready(None);
        };
        self.poll_decision(access, cx)
    }

    fn poll_decision(&mut self, mut access: Access, cx: &mut Context<'_>) -> Poll<Option<EndReason>> {
        let mut end = Poll::Ready(None);
        // A call that comes during a decision asks for another decision.
        while matches!(end, Poll::Ready(None)) && (access.is_deciding() || self.seat.answer_call()) {
            end = match access.poll(cx) {
                Poll::Ready(verdict) => Poll::Ready(self.judge(&mut access, verdict)),
                Poll::Pending if self.hub.is_shutting_down() => Poll::Ready(Some(EndReason::Shutdown)),
                Poll::Pending => Poll::Pending,
            };
        }
        if end.is_pending() {
            // Park, so that the reader is woken if it is ended in the meantime.
            self.positions.park(cx);
        }
        if let Some(rechecked) = self.rechecked() {
            rechecked.access = Some(access);
        }
        end
    }

    /// Applies a decision. Returns why the reader ends, if it does.
    fn judge(&mut self, access: &mut Access, verdict: Verdict) -> Option<EndReason> {
        let Grant { channels, client, expires, recheck, toll: _, allowance: _ } = match verdict {
            Verdict::Granted(grant) => grant,
            Verdict::Denied => return Some(EndReason::Revoked),
            Verdict::Failed => return Some(EndReason::Reauthorize),
        };
        if client != self.positions.client() {
            // From here on, the reader would get the events of another client.
            return Some(EndReason::Reauthorize);
        }
        if expires.is_some_and(|at| at <= Instant::now()) {
            return Some(EndReason::Expired);
        }
        let channels: HashSet<_> = channels.into_iter().collect();
        self.positions.retain(&self.hub, |channel| channels.contains(channel));
        self.in_span(|| debug!("a reader was authorized anew", channels = self.positions.as_slice().len()));
        if self.positions.as_slice().is_empty() {
            return Some(EndReason::Revoked);
        }
        self.change_aside(|aside| {
            if let Expiry::Rechecked(rechecked) = &mut aside.expires {
                rechecked.expires = expires.map_or(Expiry::Never, Expiry::At);
            }
        });
        if let Some(recheck) = recheck {
            *access = Access::new(recheck);
        }
        None
    }
}
