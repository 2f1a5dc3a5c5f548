//! The request that an authorizer decides on.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Uri, request::Parts};

use crate::{
    hub::Grant,
    wire::name::{ChannelName, ClientId},
};

/// A request for a stream: the parts of the HTTP request, the channels that it names, and the client that it claims to
/// be.
///
/// ```
/// use tower_sse::{AuthorizeRequest, ChannelName, ClientId, Denied, Grant};
///
/// /// The user, whom a middleware around the layer has put into the extensions.
/// #[derive(Clone)]
/// struct User(ClientId);
///
/// fn decide(request: &AuthorizeRequest) -> Result<Grant, Denied> {
///     let User(id) = request.extensions().get().ok_or(Denied::unauthorized())?;
///     Ok(request.grant().only(|channel| channel.as_str().starts_with("public-")).client(id.clone()))
/// }
///
/// let mut parts = http::Request::get("/sse/public-1").body(()).unwrap().into_parts().0;
/// parts.extensions.insert(User(ClientId::from_static("ana")));
/// let request = AuthorizeRequest::new(parts, [ChannelName::from_static("public-1")], None);
/// assert_eq!(decide(&request).unwrap().client_id().unwrap(), &"ana");
/// ```
#[derive(Clone)]
pub struct AuthorizeRequest {
    /// Boxed to keep whatever holds a request small while it is decided on. The server keeps the box of that future for
    /// as long as the connection is open.
    parts: Box<Parts>,
    /// Without duplicates.
    channels: Arc<[ChannelName]>,
    client: Option<ClientId>,
}

impl AuthorizeRequest {
    /// Creates a request, as the layer does from an HTTP request. Use it to test your authorizer, or to call the
    /// authorizer from a handler. A channel that is named twice counts once.
    pub fn new(
        parts: Parts,
        channels: impl IntoIterator<Item = ChannelName>,
        client: impl Into<Option<ClientId>>,
    ) -> Self {
        Self::of(parts, Grant::new(channels).channels.into(), client.into())
    }

    /// Like `new`, for channels that are known to be unique.
    pub(crate) fn of(parts: Parts, channels: Arc<[ChannelName]>, client: Option<ClientId>) -> Self {
        Self { parts: Box::new(parts), channels, client }
    }

    /// Returns the method: `GET` or `HEAD`.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Returns the request's URI.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// Returns the request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Returns the request's extensions, as the middleware around the layer left them.
    pub fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }

    /// Returns the request's extensions mutably, for middleware around the authorizer that passes something to it.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.parts.extensions
    }

    /// Converts this into the parts of the HTTP request. They don't include the channels and the client.
    pub fn into_parts(self) -> Parts {
        *self.parts
    }

    /// Returns the requested channels, without duplicates.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// Returns the client that the URL names, or `None` if it names none. This is only a claim: anybody can write it.
    pub fn client(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Returns a grant for all requested channels, without a client and without an expiry. You can
    /// [narrow](Grant::only) the grant, but channels that the request does not name have no effect.
    ///
    /// The grant, not the URL, decides which client the connection is. Bind the client that the credentials prove with
    /// [`Grant::client`]; otherwise targeted events won't arrive.
    pub fn grant(&self) -> Grant {
        Grant::of(self.channels.to_vec())
    }

    pub(crate) fn shared_channels(&self) -> Arc<[ChannelName]> {
        self.channels.clone()
    }
}

/// Leaves out headers, query and extensions, because they contain credentials.
impl fmt::Debug for AuthorizeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeRequest")
            .field("method", &self.parts.method)
            .field("path", &self.parts.uri.path())
            .field("channels", &self.channels)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_credentials() {
        let request = http::Request::get("/sse/a?access_token=secret").header("authorization", "Bearer secret");
        let parts = request.body(()).unwrap().into_parts().0;
        let request = AuthorizeRequest::new(parts, [ChannelName::from_static("a")], None);
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn the_client_in_the_url_is_not_granted_by_default() {
        let parts = http::Request::get("/").body(()).unwrap().into_parts().0;
        let channels = ["a", "b", "a"].map(ChannelName::from_static);
        let request = AuthorizeRequest::new(parts, channels, ClientId::from_static("ana"));
        assert_eq!(request.client().unwrap(), &"ana");
        let grant = request.grant();
        assert_eq!(grant.channels(), ["a", "b"].map(ChannelName::from_static));
        assert!(grant.client_id().is_none());
    }
}
