//! What a token allows a client to publish.

use serde_json::{Value, json};

use super::helpers::*;
use crate::{
    ChannelName,
    authorize::{Asking, PublishRequest, jwt::Jwt},
};

#[tokio::test]
async fn a_token_allows_publishing_only_to_the_channels_that_it_names_for_it() {
    let decide_on = async |authorizer: &Jwt, token: &str, channels: Vec<ChannelName>| {
        let request = http::Request::post("/").header("authorization", format!("Bearer {token}"));
        let parts = request.body(()).unwrap().into_parts().0;
        let grant = Asking::new(authorizer, PublishRequest::new(parts, channels)).await;
        grant.map(|grant| grant.channels().iter().map(ToString::to_string).collect::<Vec<_>>()).ok()
    };
    let decide = async |authorizer: &Jwt, token: &str| {
        decide_on(authorizer, token, ["a", "c"].map(ChannelName::from_static).into()).await
    };
    let token = |changes| hs256(&claims(changes));
    assert_eq!(decide(&by_secret(), &token(json!({ "publish": ["c"] }))).await.unwrap(), ["c"]);
    assert_eq!(decide(&by_secret(), &token(json!({ "mercure": { "publish": ["*"] } }))).await.unwrap(), ["a", "c"]);
    for reads_only in [json!({}), json!({ "mercure": { "subscribe": ["*"] } }), json!({ "publish": "*" })] {
        assert_eq!(decide(&by_secret(), &token(reads_only)).await.unwrap(), [""; 0]);
    }
    let runs = ["runs", "run/1", "thread/1", "c"].map(ChannelName::from_static);
    let granted =
        async |patterns: Value| decide_on(&by_secret(), &token(json!({ "publish": patterns })), runs.to_vec()).await;
    assert_eq!(granted(json!(["*", "run/{id}", "thread/{id}", "{x}"])).await.unwrap(), ["c"]);
    assert_eq!(granted(json!(["run/1"])).await.unwrap(), ["run/1"]);
    assert!(decide(&by_secret(), &token(json!({ "publish": ["*"], "exp": now() - 60 }))).await.is_none());
    let link = links().sign(&link(&["a", "c"]), 60 * SECOND).unwrap();
    assert_eq!(decide(&links().authorizer(), &link).await.unwrap(), [""; 0], "a link is for reading");
}
