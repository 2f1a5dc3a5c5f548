//! What a token grants, and which tokens are refused.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};

use super::helpers::*;
use crate::{
    ChannelName,
    authorize::{AuthorizeRequest, Denied, jwt::Jwt},
};

#[tokio::test]
async fn a_valid_token_grants_the_channels_it_names_for_its_client_until_it_expires() {
    let grant = granted(decide(&by_secret(), &hs256(&claims(json!({})))).await);
    assert_eq!(grant.channels(), ["a"].map(ChannelName::from_static), "only those that were also asked for");
    assert_eq!(grant.client_id().unwrap(), &"ana", "and not the one in the URL");
    let left = grant.expires.unwrap() - tokio::time::Instant::now();
    assert!(left > 65 * SECOND && left <= 70 * SECOND, "until its expiry and the leeway: {left:?}");
}

#[tokio::test]
async fn mercure_claims_are_understood_and_a_token_that_names_no_channel_grants_none() {
    let channels = async |changes: Value| match decide(&by_secret(), &hs256(&claims(changes))).await {
        Ok(grant) => Ok(grant.channels().iter().map(ToString::to_string).collect::<Vec<_>>()),
        Err(status) => Err(status),
    };
    let all = Ok(vec!["a".to_owned(), "c".to_owned()]);
    assert_eq!(channels(json!({ "channels": null, "mercure": { "subscribe": ["*"] } })).await, all);
    assert_eq!(channels(json!({ "channels": ["{x}"], "mercure": 7 })).await, all);
    assert_eq!(channels(json!({ "mercure": { "subscribe": ["c"], "publish": ["*"] } })).await, all);
    for nothing in [json!(null), json!([]), json!("a"), json!("*"), json!({ "a": 1 }), json!([["a"], 7]), json!(["A"])]
    {
        assert_eq!(channels(json!({ "channels": nothing, "mercure": nothing })).await, Err(FORBIDDEN), "{nothing}");
    }
    assert_eq!(channels(json!({ "channels": [], "mercure": { "publish": ["*"] } })).await, Err(FORBIDDEN));
}

#[tokio::test]
async fn a_token_with_an_invalid_client_id_is_denied() {
    let client = async |changes: Value| decide(&by_secret(), &hs256(&claims(changes))).await.map(|grant| grant.client);
    assert_eq!(client(json!({ "client": "bo", "sub": "ana" })).await.unwrap().unwrap(), "bo");
    for bad in [json!(7), json!(""), json!("a\nb"), json!(null), json!("x".repeat(256))] {
        assert_eq!(client(json!({ "client": bad, "sub": "ana" })).await.unwrap_err(), FORBIDDEN, "{bad}");
    }
    let token = hs256(&json!({ "exp": now() + 60, "channels": ["a"], "sub": "ana" }));
    assert_eq!(granted(decide(&by_secret(), &token).await).client_id().unwrap(), &"ana");
}

#[tokio::test]
async fn a_custom_claims_mapping_narrows_the_grant_and_the_token_still_limits_its_time() {
    let teams = by_secret().claims(|claims: HashMap<String, Value>, request: &AuthorizeRequest| {
        let grant = request.grant().only(|channel| claims.get("team").is_some_and(|team| team == channel.as_str()));
        Ok(grant.expires_in(3600 * SECOND))
    });
    let grant = granted(decide(&teams, &hs256(&claims(json!({ "team": "c" })))).await);
    assert_eq!(grant.channels(), ["c"].map(ChannelName::from_static));
    assert!(grant.expires.unwrap() - tokio::time::Instant::now() <= 70 * SECOND);
    let typed = by_secret().claims(|(): (), request: &AuthorizeRequest| Ok(request.grant()));
    assert_eq!(decide(&typed, &hs256(&claims(json!({})))).await.unwrap_err(), FORBIDDEN);
}

#[tokio::test]
async fn a_stream_lasts_no_longer_than_its_token_or_the_longest_stream() {
    let left = async |longest: Duration, exp: u64| {
        let token = hs256(&claims(json!({ "exp": exp })));
        let grant = granted(decide(&by_secret().longest_stream(longest), &token).await);
        grant.expires.unwrap() - tokio::time::Instant::now()
    };
    for _ in 0..100 {
        let time = left(400 * SECOND, now() + 3600).await;
        assert!(time > 299 * SECOND && time <= 400 * SECOND, "in the last quarter: {time:?}");
    }
    for longest in [3600 * SECOND, Duration::MAX] {
        let time = left(longest, now() + 60).await;
        assert!(time > 65 * SECOND && time <= 70 * SECOND, "the token ends before: {time:?}");
    }
    let endless = by_secret().allow_without_expiry().longest_stream(60 * SECOND);
    let grant = granted(decide(&endless, &hs256(&json!({ "channels": ["a"] }))).await);
    assert!(grant.expires.unwrap() - tokio::time::Instant::now() <= 60 * SECOND);
}

#[tokio::test]
async fn a_handler_gets_the_claims_of_a_valid_token_and_learns_that_there_is_none() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Claims {
        client: String,
    }
    let tokens = by_secret().cookie("session");
    let verify = async |header: &'static str, value: String| {
        let parts = http::Request::post("/").header(header, value).body(()).unwrap().into_parts().0;
        tokens.verify::<Claims>(&parts).await.map_err(|error| Denied::find(&*error).map(Denied::status))
    };
    let valid = hs256(&claims(json!({})));
    let ana = Claims { client: "ana".into() };
    assert_eq!(verify("authorization", format!("Bearer {valid}")).await, Ok(Some(ana)));
    assert_eq!(verify("accept", "*/*".into()).await, Ok(None));
    assert_eq!(verify("authorization", "Basic YTpi".into()).await, Ok(None), "it is for somebody else");
    for bad in ["Bearer", "Bearer a b", "Bearer a.b.c", &format!("Bearer {valid}x")] {
        assert_eq!(verify("authorization", bad.into()).await, Err(UNAUTHORIZED), "{bad}");
    }
    let forged = format!("session={valid}");
    assert_eq!(verify("cookie", forged).await, Err(UNAUTHORIZED), "another site may have made the request");
    let other = hs256(&claims(json!({ "client": 7 })));
    assert_eq!(verify("authorization", format!("Bearer {other}")).await, Err(FORBIDDEN));
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_whatever_algorithm_it_names() {
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS0", "HS256"] {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        assert_unauthorized(&by_secret(), &forge(&header, &claims(json!({})), |_| Vec::new())).await;
    }
    let header = json!({ "typ": "JWT" });
    assert_unauthorized(&by_secret(), &forge(&header, &claims(json!({})), with_secret(SECRET))).await;
}

#[tokio::test]
async fn a_token_with_a_critical_extension_is_refused() {
    for extension in [json!({ "crit": ["exp"] }), json!({ "crit": [] }), json!({ "b64": false, "crit": ["b64"] })] {
        let mut header = json!({ "alg": "HS256" });
        header.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        assert_unauthorized(&by_secret(), &forge(&header, &claims(json!({})), with_secret(SECRET))).await;
    }
}

#[tokio::test]
async fn a_token_is_valid_from_its_nbf_to_its_exp_give_or_take_the_leeway() {
    let strict = by_secret().leeway(Duration::ZERO);
    for (changes, by_default, without_leeway) in [
        (json!({ "exp": now() - 5 }), true, false),
        (json!({ "exp": now() - 15 }), false, false),
        (json!({ "nbf": now() + 5 }), true, false),
        (json!({ "nbf": now() + 15 }), false, false),
        (json!({ "nbf": now() - 1, "exp": now() + 30 }), true, true),
    ] {
        let token = hs256(&claims(changes.clone()));
        assert_eq!(decide(&by_secret(), &token).await.is_ok(), by_default, "{changes}");
        assert_eq!(decide(&strict, &token).await.is_ok(), without_leeway, "{changes}");
    }
}

#[tokio::test]
async fn a_token_with_an_odd_time_is_refused_or_lasts_long_and_never_panics() {
    for exp in
        [json!(null), json!("9999999999"), json!(-1), json!([9999999999u64]), json!({}), json!(1e300), json!(-1e300)]
    {
        assert_unauthorized(&by_secret().allow_without_expiry(), &hs256(&claims(json!({ "exp": exp })))).await;
    }
    for exp in [json!(u64::MAX), json!(u64::MAX / 2), json!(1e18), json!(9999999999.5)] {
        assert_granted(decide(&by_secret(), &hs256(&claims(json!({ "exp": exp })))).await);
    }
    for nbf in [json!(u64::MAX), json!(u64::MAX - 5), json!("0"), json!(1e300)] {
        assert_unauthorized(&by_secret().leeway(Duration::MAX), &hs256(&claims(json!({ "nbf": nbf })))).await;
    }
    let endless = hs256(&json!({ "channels": ["a"] }));
    assert_unauthorized(&by_secret(), &endless).await;
    assert!(granted(decide(&by_secret().allow_without_expiry(), &endless).await).expires.is_none());
    for not_claims in [json!([now() + 60, 0, "ana", "x", null]), json!(7), json!("a"), json!(null)] {
        assert_unauthorized(&by_secret(), &hs256(&not_claims)).await;
    }
}

#[tokio::test]
async fn a_token_for_another_audience_or_from_another_issuer_is_refused() {
    let picky = by_secret().audience(["chat", "news"]).issuer(["https://login.example"]);
    let changed = async |authorizer: &Jwt, changes| decide(authorizer, &hs256(&claims(changes))).await.is_ok();
    let issuer = "https://login.example";
    assert!(changed(&picky, json!({ "aud": "chat", "iss": issuer })).await);
    assert!(changed(&picky, json!({ "aud": ["shop", "news"], "iss": issuer })).await);
    for aud in [json!("shop"), json!(["shop"]), json!([]), json!(null), json!(7), json!("chat "), json!({ "chat": 1 })]
    {
        assert!(!changed(&picky, json!({ "aud": aud, "iss": issuer })).await, "{aud}");
    }
    for iss in [json!("https://login.example.evil"), json!(null), json!(7), json!("")] {
        assert!(!changed(&picky, json!({ "aud": "chat", "iss": iss })).await, "{iss}");
    }
    assert!(!changed(&by_secret(), json!({ "aud": "chat" })).await, "no audience is configured, so none matches");
}

#[tokio::test]
async fn a_token_for_another_channel_is_forbidden_whatever_the_url_says() {
    let token = hs256(&claims(json!({ "channels": ["b", "a/{x}", "A", "c{x}"] })));
    assert_eq!(decide(&by_secret(), &token).await.unwrap_err(), FORBIDDEN);
}

#[tokio::test]
async fn a_malformed_token_is_unauthorized() {
    let token = hs256(&claims(json!({})));
    let parts: Vec<_> = token.split('.').collect();
    let mut bad = vec![
        "x".into(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        format!("{token}.x"),
        format!(".{token}"),
    ];
    bad.push([parts[0], parts[1], ""].join("."));
    bad.push([parts[0], "", parts[2]].join("."));
    bad.push([parts[1], parts[0], parts[2]].join("."));
    bad.push(format!("{token}="));
    bad.push(format!("{}.{}", b64("[".repeat(2000)), &parts[1..].join(".")));
    bad.extend((0..token.len()).step_by(7).map(|at| token[..at].to_owned() + "~" + &token[at + 1..]));
    bad.extend((1..token.len()).step_by(11).map(|at| token[..at].to_owned()));
    for token in bad {
        assert_unauthorized(&by_secret(), &token).await;
    }
}
