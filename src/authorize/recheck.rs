//! A grant that can be decided anew while its reader is connected.

use super::denied::Denied;
use crate::{
    error::BoxError,
    hub::{
        Grant,
        grant::{Deciding, Recheck, Verdict},
    },
    trace::debug,
};

impl Grant {
    /// Sets how to decide anew about the connection when the application asks for it with
    /// [`Publisher::reauthorize`](crate::Publisher::reauthorize). By default there is no way, and the connection ends and
    /// reconnects through the authorizer.
    ///
    /// While the future is pending, the reader gets nothing. Then:
    ///
    /// - With a grant, the stream goes on with those of its channels that the new grant also has, until the new grant
    ///   expires. A grant without any of them ends the stream as [revoked](crate::EndReason::Revoked), and one for another
    ///   client makes the reader [reconnect](crate::EndReason::Reauthorize).
    /// - A [`Denied`] ends the stream as [revoked](crate::EndReason::Revoked).
    /// - With any other error or a panic, the reader gets nothing more, and has to
    ///   [reconnect](crate::EndReason::Reauthorize).
    ///
    /// The closure is kept as long as the connection. It should hold what identifies the user, and nothing of the request:
    /// a header would keep the whole read buffer of the connection in memory. Put a timeout into the future if it may take
    /// long.
    ///
    /// ```
    /// use tower_sse::{AuthorizeRequest, ChannelName, ClientId, Denied, Grant, authorizer_fn};
    ///
    /// /// Asks the database which of these channels a user may read.
    /// async fn decide(user: ClientId, asked: Vec<ChannelName>) -> Result<Grant, Denied> {
    ///     let allowed = |channel: &ChannelName| channel.as_str().starts_with("public-") || user == "ana";
    ///     Ok(Grant::new(asked).only(allowed).client(user))
    /// }
    ///
    /// let authorizer = authorizer_fn(|request: AuthorizeRequest| async move {
    ///     // Look up the user in the session here.
    ///     let (user, asked) = (ClientId::from_static("ana"), request.channels().to_vec());
    ///     let grant = decide(user.clone(), asked.clone()).await?;
    ///     Ok::<_, Denied>(grant.recheck(move || decide(user.clone(), asked.clone())))
    /// });
    /// # fn check<A: tower_sse::Authorizer>(_: A) {}
    /// # check(authorizer);
    /// ```
    pub fn recheck<F, Fut, E>(mut self, decide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Self, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.recheck = Some(Recheck::new(move || {
            let deciding = decide();
            let deciding: Deciding = Box::pin(async move { judge(deciding.await.map_err(Into::into)) });
            deciding
        }));
        self
    }
}

fn judge(decided: Result<Grant, BoxError>) -> Verdict {
    match decided {
        Ok(grant) => Verdict::Granted(grant),
        Err(error) if Denied::find(&*error).is_some() => Verdict::Denied,
        Err(error) => {
            debug!("it could not be decided anew about a reader", error = error);
            Verdict::Failed
        }
    }
}
