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

#[tokio::test]
async fn a_mapping_of_the_claims_decides_what_may_be_published_and_not_what_may_be_read() {
    let shops = by_secret().publish_claims(|shop: Shop, request: &PublishRequest| {
        Ok(request.grant().only(|channel| *channel == *shop.shop).max_bytes(10))
    });
    let publish = async |token: &str| {
        let request = http::Request::post("/").header("authorization", format!("Bearer {token}"));
        let parts = request.body(()).unwrap().into_parts().0;
        Asking::new(&shops, PublishRequest::new(parts, ["a", "c"].map(ChannelName::from_static))).await
    };
    let token = hs256(&claims(json!({ "shop": "c", "publish": ["*"] })));
    let grant = publish(&token).await.unwrap();
    assert_eq!((grant.channels(), grant.limit()), (&["c"].map(ChannelName::from_static)[..], 10));
    assert_eq!(granted(decide(&shops, &token).await).channels(), ["a"].map(ChannelName::from_static));
    assert!(publish(&hs256(&claims(json!({ "publish": ["*"] })))).await.is_err(), "it lacks the claim");
}

#[derive(serde::Deserialize)]
struct Shop {
    shop: String,
}
