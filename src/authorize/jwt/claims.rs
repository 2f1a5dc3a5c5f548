//! What a valid token allows, if the application does not say so itself.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    authorize::{denied::Denied, pattern, request::AuthorizeRequest},
    hub::Grant,
    wire::name::ClientId,
};

/// The channels of the request that the token names, for the token's client.
pub(super) fn grant(claims: &Value, request: &AuthorizeRequest) -> Result<Grant, Denied> {
    let client = client(claims)?;
    let lists = [claims.get("channels"), claims.get("mercure").and_then(|mercure| mercure.get("subscribe"))];
    Ok(request
        .grant()
        .only(|channel| lists.iter().flatten().any(|list| any(list, |pattern| pattern::matches(pattern, channel))))
        .client(client))
}

/// Whether a list has a pattern that `allows` the channel in question. Anything but a list has none.
pub(super) fn any(list: &Value, allows: impl Fn(&str) -> bool) -> bool {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).any(allows)
}

/// A client that no connection can have is not the same as none.
pub(super) fn client(claims: &Value) -> Result<Option<ClientId>, Denied> {
    match claims.get("client").or_else(|| claims.get("sub")) {
        None => Ok(None),
        Some(Value::String(client)) => ClientId::try_from(client).map(Some).map_err(|_| incomplete()),
        Some(_) => Err(incomplete()),
    }
}

/// The claims as a type of the application.
pub(super) fn read<C: DeserializeOwned>(claims: Value) -> Result<C, Denied> {
    serde_json::from_value(claims).map_err(|_| incomplete())
}

/// The denial of a valid token whose claims can't be understood.
pub(super) fn incomplete() -> Denied {
    Denied::forbidden().detail("the token's claims are not those that are expected")
}
