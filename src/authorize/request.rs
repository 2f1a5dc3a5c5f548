//! What an authorizer is asked.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Uri, request::Parts};

use crate::{
    hub::Grant,
    wire::name::{ChannelName, ClientId},
};

/// A request for a stream: the request's own parts, the channels it names and the client it says it is.
///
/// ```
/// use tower_sse::{AuthorizeRequest, ChannelName, ClientId, Denied, Grant};
///
/// /// The user that a middleware in front of the layer has put into the extensions.
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
    /// Boxed, for whatever holds a request while it is decided on: the box of the future that a server keeps for as long as
    /// the connection is open.
    parts: Box<Parts>,
    /// Each once.
    channels: Arc<[ChannelName]>,
    client: Option<ClientId>,
}

impl AuthorizeRequest {
    /// What the layer makes of a request. An application needs it to test its authorizer, and to ask it from a handler.
    pub fn new(
        parts: Parts,
        channels: impl IntoIterator<Item = ChannelName>,
        client: impl Into<Option<ClientId>>,
    ) -> Self {
        Self::of(parts, Grant::new(channels).channels.into(), client.into())
    }

    /// Of channels that are known to be unique.
    pub(crate) fn of(parts: Parts, channels: Arc<[ChannelName]>, client: Option<ClientId>) -> Self {
        Self { parts: Box::new(parts), channels, client }
    }

    /// `GET`, or `HEAD`.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Where the request went.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What middlewares in front of the layer have left.
    pub fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }

    /// The same, for middlewares around the authorizer that leave something for it.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.parts.extensions
    }

    /// The request's parts.
    pub fn into_parts(self) -> Parts {
        *self.parts
    }

    /// The channels that are asked for, each once.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// The client that the URL names: a wish, which anybody can write.
    pub fn client(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Grants the channels that are asked for, to a reader without a client. It can be [narrowed](Grant::only); channels
    /// that are not asked for can't be added.
    ///
    /// The grant, and not the URL, decides who the connection is: bind the client that the credentials prove with
    /// [`Grant::client`], or targeted events won't arrive.
    pub fn grant(&self) -> Grant {
        Grant { channels: self.channels.to_vec(), client: None, expires: None }
    }

    pub(crate) fn shared_channels(&self) -> Arc<[ChannelName]> {
        self.channels.clone()
    }
}

/// Without headers, query and extensions: that is where credentials are.
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
    fn the_urls_client_is_not_granted_by_itself() {
        let parts = http::Request::get("/").body(()).unwrap().into_parts().0;
        let channels = ["a", "b", "a"].map(ChannelName::from_static);
        let request = AuthorizeRequest::new(parts, channels, ClientId::from_static("ana"));
        assert_eq!(request.client().unwrap(), &"ana");
        let grant = request.grant();
        assert_eq!(grant.channels(), ["a", "b"].map(ChannelName::from_static));
        assert!(grant.client_id().is_none());
    }
}
