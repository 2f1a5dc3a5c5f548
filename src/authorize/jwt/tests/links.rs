//! What a signed link grants, and for how long.

use std::time::Duration;

use serde_json::json;

use super::helpers::*;
use crate::{
    ChannelName, Grant,
    authorize::{AuthorizeRequest, Decide, jwt::Links},
};

#[tokio::test]
async fn a_link_grants_its_channels_to_its_client_until_it_expires() {
    let token = links().sign(&link(&["a", "b"]), 60 * SECOND).unwrap();
    let parts = http::Request::get(format!("/?token={token}")).body(()).unwrap().into_parts().0;
    let request = AuthorizeRequest::new(parts, ["a", "c"].map(ChannelName::from_static), None);
    let grant = Decide::new(&links().authorizer(), request).await.unwrap();
    assert_eq!(
        (grant.channels(), grant.client_id().unwrap().as_str()),
        (&["a"].map(ChannelName::from_static)[..], "ana")
    );
    let left = grant.expires.unwrap() - tokio::time::Instant::now();
    assert!(left > 55 * SECOND && left <= 60 * SECOND, "{left:?}");
    let short = links().sign(&link(&["a"]).expires_in(30 * SECOND), 60 * SECOND).unwrap();
    let grant = granted(decide(&links().authorizer(), &short).await);
    assert!(grant.expires.unwrap() - tokio::time::Instant::now() <= 30 * SECOND, "no longer than the grant");
    let nobody = links().sign(&link(&["a"]).client(None), 60 * SECOND).unwrap();
    assert!(granted(decide(&links().authorizer(), &nobody).await).client_id().is_none());
}

#[tokio::test]
async fn a_forged_link_is_refused() {
    let token = links().sign(&link(&["b"]), 60 * SECOND).unwrap();
    assert_eq!(decide(&links().authorizer(), &token).await.unwrap_err(), FORBIDDEN, "for another channel");
    let parts: Vec<_> = token.split('.').collect();
    let wider = json!({ "aud": "tower-sse link", "exp": now() + 60, "channels": ["a"] });
    for forged in [
        [parts[0], &b64(wider.to_string()), parts[2]].join("."),
        [&b64(json!({ "alg": "none" }).to_string()), &*b64(wider.to_string()), ""].join("."),
        Links::new(OTHER).unwrap().sign(&link(&["a"]), 60 * SECOND).unwrap(),
        // Tokens for another purpose, signed with the same secret.
        hs256(&claims(json!({}))),
        hs256(&claims(json!({ "aud": "chat" }))),
    ] {
        assert_unauthorized(&links().authorizer(), &forged).await;
    }
    let own = links().sign(&link(&["a"]), 60 * SECOND).unwrap();
    assert_unauthorized(&by_secret(), &own).await;
}

#[tokio::test]
async fn a_link_can_be_replayed_until_it_expires_and_not_after() {
    let authorizer = links().authorizer();
    let token = links().sign(&link(&["a"]), 60 * SECOND).unwrap();
    for _ in 0..3 {
        assert_granted(decide(&authorizer, &token).await);
    }
    let late = json!({ "aud": "tower-sse link", "exp": now() - 1, "channels": ["a"] });
    assert_unauthorized(&authorizer, &hs256(&late)).await;
    let endless = json!({ "aud": "tower-sse link", "channels": ["a"] });
    assert_unauthorized(&authorizer, &hs256(&endless)).await;
}

#[tokio::test]
async fn a_channel_name_in_a_link_is_not_a_pattern() {
    let token = links().sign(&link(&["*", "{x}"]), 60 * SECOND).unwrap();
    assert_eq!(decide(&links().authorizer(), &token).await.unwrap_err(), FORBIDDEN);
}

#[tokio::test]
async fn a_link_secret_can_be_rotated_and_a_link_has_a_maximum_length() {
    let old = links().sign(&link(&["a"]), 60 * SECOND).unwrap();
    let new = Links::new(OTHER).unwrap();
    assert_unauthorized(&new.authorizer(), &old).await;
    let both = new.also_accept(SECRET).unwrap();
    assert_granted(decide(&both.authorizer(), &old).await);
    assert_granted(decide(&both.authorizer(), &both.sign(&link(&["a"]), 60 * SECOND).unwrap()).await);
    let many = (0..1000).map(|n| ChannelName::try_from(format!("channel {n}")).unwrap());
    assert!(both.sign(&Grant::new(many), SECOND).unwrap_err().is_long_link());
    let longest = both.sign(&link(&["a"]), Duration::MAX).unwrap();
    assert_granted(decide(&both.authorizer(), &longest).await);
    assert!(!format!("{both:?}").contains(OTHER));
}
