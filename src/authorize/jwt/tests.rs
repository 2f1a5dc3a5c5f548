//! What a hostile token, and a storm of them, does not achieve.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use http::StatusCode;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

use super::*;
use crate::{
    OpenOptions, Publisher, SseBody, Start, Subscription,
    authorize::{Authorizer, Decide, Refusal},
    wire::{
        event::Event,
        name::{ChannelName, ClientId},
    },
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another secret of enough length!";
const SECOND: Duration = Duration::from_secs(1);

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.as_ref().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]))
    });
    digits.collect()
}

/// A token with any header and claims, signed in any way.
fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

fn with_secret(secret: impl AsRef<[u8]>) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), message).as_ref().to_vec()
}

fn hs256(claims: &Value) -> String {
    forge(&json!({ "alg": "HS256", "typ": "JWT" }), claims, with_secret(SECRET))
}

/// Claims that are good for a minute, with these changes.
fn claims(changes: Value) -> Value {
    let mut claims = json!({ "exp": now() + 60, "channels": ["a", "b"], "client": "ana" });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn by_secret() -> Jwt {
    jwt(JwtKeys::secret(SECRET).unwrap())
}

fn request(token: &str) -> AuthorizeRequest {
    let parts =
        http::Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap().into_parts().0;
    AuthorizeRequest::new(parts, ["a", "c"].map(ChannelName::from_static), ClientId::from_static("mallory"))
}

/// The grant, or the status of the denial, or `None` if the authorizer failed.
async fn decide(authorizer: &impl Authorizer, token: &str) -> Result<Grant, Option<StatusCode>> {
    Decide::new(authorizer, request(token)).await.map_err(|refusal| match refusal {
        Refusal::Denied(denied) => Some(denied.status()),
        Refusal::Failed => None,
    })
}

#[track_caller]
fn granted(decided: Result<Grant, Option<StatusCode>>) -> Grant {
    decided.expect("a grant")
}

#[track_caller]
fn assert_granted(decided: Result<Grant, Option<StatusCode>>) {
    drop(granted(decided));
}

const UNAUTHORIZED: Option<StatusCode> = Some(StatusCode::UNAUTHORIZED);
const FORBIDDEN: Option<StatusCode> = Some(StatusCode::FORBIDDEN);

async fn assert_unauthorized(authorizer: &Jwt, token: &str) {
    assert_eq!(decide(authorizer, token).await.unwrap_err(), UNAUTHORIZED, "{token}");
}

/// A pair of keys: the public one as a JWK, and a signer for an algorithm.
struct Pair {
    jwk: Value,
    sign: Box<Sign>,
}

type Sign = dyn Fn(&str, &[u8]) -> Vec<u8>;

fn rsa(id: &str) -> Pair {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("test_rsa.pk8")).unwrap();
    let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let sign = move |algorithm: &str, message: &[u8]| {
        let padding: &dyn signature::RsaEncoding = match algorithm {
            "RS256" => &signature::RSA_PKCS1_SHA256,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            _ => &signature::RSA_PSS_SHA512,
        };
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signed).unwrap();
        signed
    };
    Pair { jwk: json!({ "kty": "RSA", "kid": id, "n": b64(n), "e": b64(e) }), sign: Box::new(sign) }
}

fn ec(id: &str, curve: &str) -> Pair {
    let how = if curve == "P-256" { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    let jwk = json!({ "kty": "EC", "kid": id, "crv": curve, "x": b64(x), "y": b64(y) });
    Pair { jwk, sign: Box::new(move |_, message| pair.sign(&random, message).unwrap().as_ref().to_vec()) }
}

fn ed(id: &str) -> Pair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": b64(pair.public_key()) });
    Pair { jwk, sign: Box::new(move |_, message| pair.sign(message).as_ref().to_vec()) }
}

impl Pair {
    fn token(&self, algorithm: &str, id: Option<&str>, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": id });
        forge(&header, claims, |message| (self.sign)(algorithm, message))
    }
}

fn set(keys: &[&Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into()
}

fn by_jwks(keys: &[&Value]) -> Jwt {
    jwt(JwtKeys::jwks(set(keys)).unwrap())
}

// What is granted

#[tokio::test]
async fn a_valid_token_grants_the_channels_it_names_for_its_client_until_it_expires() {
    let grant = granted(decide(&by_secret(), &hs256(&claims(json!({})))).await);
    assert_eq!(grant.channels(), ["a"].map(ChannelName::from_static), "those that were asked for, too");
    assert_eq!(grant.client_id().unwrap(), &"ana", "and not the one in the URL");
    let left = grant.expires.unwrap() - tokio::time::Instant::now();
    assert!(left > 65 * SECOND && left <= 70 * SECOND, "its time and the leeway: {left:?}");
}

#[tokio::test]
async fn the_claims_of_mercure_are_understood_and_a_token_that_names_nothing_grants_nothing() {
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
async fn a_client_that_no_connection_can_have_is_denied() {
    let client = async |changes: Value| decide(&by_secret(), &hs256(&claims(changes))).await.map(|grant| grant.client);
    assert_eq!(client(json!({ "client": "bo", "sub": "ana" })).await.unwrap().unwrap(), "bo");
    for bad in [json!(7), json!(""), json!("a\nb"), json!(null), json!("x".repeat(256))] {
        assert_eq!(client(json!({ "client": bad, "sub": "ana" })).await.unwrap_err(), FORBIDDEN, "{bad}");
    }
    let token = hs256(&json!({ "exp": now() + 60, "channels": ["a"], "sub": "ana" }));
    assert_eq!(granted(decide(&by_secret(), &token).await).client_id().unwrap(), &"ana");
}

#[tokio::test]
async fn a_mapping_of_your_own_narrows_and_the_token_still_limits_the_time() {
    let teams = by_secret().claims(|claims: std::collections::HashMap<String, Value>, request: &AuthorizeRequest| {
        let grant = request.grant().only(|channel| claims.get("team").is_some_and(|team| team == channel.as_str()));
        Ok(grant.expires_in(3600 * SECOND))
    });
    let grant = granted(decide(&teams, &hs256(&claims(json!({ "team": "c" })))).await);
    assert_eq!(grant.channels(), ["c"].map(ChannelName::from_static));
    assert!(grant.expires.unwrap() - tokio::time::Instant::now() <= 70 * SECOND);
    let typed = by_secret().claims(|(): (), request: &AuthorizeRequest| Ok(request.grant()));
    assert_eq!(decide(&typed, &hs256(&claims(json!({})))).await.unwrap_err(), FORBIDDEN);
}

// Attacks on a token

#[tokio::test]
async fn a_token_without_a_signature_is_refused_whatever_it_calls_that() {
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS0", "HS256"] {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        assert_unauthorized(&by_secret(), &forge(&header, &claims(json!({})), |_| Vec::new())).await;
    }
    let header = json!({ "typ": "JWT" });
    assert_unauthorized(&by_secret(), &forge(&header, &claims(json!({})), with_secret(SECRET))).await;
}

#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let pair = rsa("1");
    let keys = by_jwks(&[&pair.jwk]);
    let der = signature::KeyPair::public_key(&RsaKeyPair::from_pkcs8(include_bytes!("test_rsa.pk8")).unwrap())
        .as_ref()
        .to_vec();
    let modulus = pair.jwk["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [der, modulus, pair.jwk.to_string().into(), set(&[&pair.jwk]), Vec::new()] {
        for header in [json!({ "alg": "HS256", "kid": "1" }), json!({ "alg": "HS256" })] {
            assert_unauthorized(&keys, &forge(&header, &claims(json!({})), with_secret(&secret))).await;
        }
    }
    assert_unauthorized(&by_secret(), &pair.token("RS256", None, &claims(json!({})))).await;
}

#[tokio::test]
async fn a_key_is_for_the_algorithms_of_its_type_and_only_for_its_own_if_it_names_one() {
    let (rsa, p256, p384, ed) = (rsa("r"), ec("p256", "P-256"), ec("p384", "P-384"), ed("ed"));
    let keys = by_jwks(&[&rsa.jwk, &p256.jwk, &p384.jwk, &ed.jwk]);
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert_granted(decide(&keys, &rsa.token(algorithm, Some("r"), &claims(json!({})))).await);
        assert_granted(decide(&keys, &rsa.token(algorithm, None, &claims(json!({})))).await);
    }
    for (pair, algorithm, id) in [(&p256, "ES256", "p256"), (&p384, "ES384", "p384"), (&ed, "EdDSA", "ed")] {
        assert_granted(decide(&keys, &pair.token(algorithm, Some(id), &claims(json!({})))).await);
        for other in ["ES256", "ES384", "EdDSA", "RS256", "HS256"].into_iter().filter(|other| *other != algorithm) {
            assert_unauthorized(&keys, &pair.token(other, Some(id), &claims(json!({})))).await;
        }
    }
    let mut pinned = rsa.jwk.clone();
    pinned["alg"] = "RS512".into();
    assert_granted(decide(&by_jwks(&[&pinned]), &rsa.token("RS512", Some("r"), &claims(json!({})))).await);
    assert_unauthorized(&by_jwks(&[&pinned]), &rsa.token("RS256", Some("r"), &claims(json!({})))).await;
}

#[tokio::test]
async fn a_key_that_the_token_brings_itself_is_not_used() {
    let (mine, theirs) = (ec("1", "P-256"), ec("1", "P-256"));
    let header = json!({ "alg": "ES256", "kid": "1", "jwk": theirs.jwk, "jku": "https://evil.example/jwks.json" });
    let token = forge(&header, &claims(json!({})), |message| (theirs.sign)("ES256", message));
    assert_unauthorized(&by_jwks(&[&mine.jwk]), &token).await;
}

#[tokio::test]
async fn an_extension_that_must_be_understood_and_is_not_is_refused() {
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
async fn an_odd_time_is_refused_or_far_away_and_never_a_panic() {
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
    assert!(!changed(&by_secret(), json!({ "aud": "chat" })).await, "nobody said that chat is who is asked");
}

#[tokio::test]
async fn a_token_for_another_channel_is_forbidden_whatever_the_url_says() {
    let token = hs256(&claims(json!({ "channels": ["b", "a/{x}", "A", "c{x}"] })));
    assert_eq!(decide(&by_secret(), &token).await.unwrap_err(), FORBIDDEN);
}

#[tokio::test]
async fn no_bytes_in_place_of_a_token_are_anything_but_unauthorized() {
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

#[test]
fn keys_that_are_not_safe_or_of_no_use_are_errors() {
    assert!(JwtKeys::secret("short").unwrap_err().is_short_secret());
    assert!(JwtKeys::secrets::<&str>([]).unwrap_err().is_key_set());
    let (mut encrypts, mut signs) = (rsa("1").jwk, rsa("1").jwk);
    encrypts["use"] = "enc".into();
    signs["key_ops"] = json!(["sign"]);
    let short = json!({ "kty": "oct", "k": b64("short") });
    let other = ["P-521", "Ed25519", "X"].map(|curve| json!({ "kty": "EC", "crv": curve, "x": "AA", "y": "AA" }));
    for key in
        [&encrypts, &signs, &short, &other[0], &other[1], &other[2], &json!({}), &json!(7), &json!({ "kty": "X" })]
    {
        assert!(JwtKeys::jwks(set(&[key])).unwrap_err().is_key_set(), "{key}");
        assert!(JwtKeys::jwks(set(&[key, &rsa("1").jwk])).is_ok(), "the others count");
    }
    for document in ["", "7", "{}", "[]", "{\"keys\":7}", "{\"keys\":[]}"] {
        assert!(JwtKeys::jwks(document).unwrap_err().is_key_set(), "{document}");
    }
    let many = json!({ "keys": vec![rsa("1").jwk; 65] }).to_string();
    assert!(JwtKeys::jwks(many).unwrap_err().is_key_set());
    assert!(!format!("{:?}", by_secret()).contains(SECRET));
}

// Keys that come and go

/// An issuer whose key set can be changed, and that counts how often it was asked.
#[derive(Clone, Default)]
struct Issuer {
    asked: Arc<AtomicUsize>,
    /// `None` if it can't be reached.
    document: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Issuer {
    fn publish(&self, keys: &[&Value]) {
        *self.document.lock().unwrap() = Some(set(keys));
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn keys(&self) -> JwtKeys {
        let issuer = self.clone();
        JwtKeys::fetched(move || {
            issuer.asked.fetch_add(1, SeqCst);
            let document = issuer.document.clone();
            async move {
                tokio::time::sleep(SECOND / 10).await;
                document.lock().unwrap().clone().ok_or_else(|| io::Error::other("unreachable"))
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_unknown_key_ids_has_the_keys_fetched_once_in_an_interval() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    issuer.publish(&[&pair.jwk]);
    let authorizer = jwt(issuer.keys());
    for round in 1..=3 {
        let storm: Vec<_> =
            (0..1000).map(|n| pair.token("ES256", Some(&format!("{round} {n}")), &claims(json!({})))).collect();
        let decided = join_all(storm.iter().map(|token| decide(&authorizer, token))).await;
        assert!(
            decided.iter().all(|decided| matches!(decided, Err(Some(StatusCode::UNAUTHORIZED)))),
            "they waited for it"
        );
        assert_eq!(issuer.asked(), round);
        let late = decide(&authorizer, &pair.token("ES256", Some(&format!("late {round}")), &claims(json!({})))).await;
        assert_eq!((late.unwrap_err(), issuer.asked()), (None, round), "it may be a new key: the client comes back");
        let again = join_all(storm.iter().map(|token| decide(&authorizer, token))).await;
        let known = again.iter().filter(|decided| matches!(decided, Err(Some(_)))).count();
        assert_eq!((known, issuer.asked()), (256, round), "so many ids are remembered as unknown");
        assert_granted(decide(&authorizer, &pair.token("ES256", Some("1"), &claims(json!({})))).await);
        tokio::time::advance(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_key_id_that_no_key_has_signed_is_refused_at_once_if_the_keys_are_fresh() {
    let (issuer, mine, other) = (Issuer::default(), ec("1", "P-256"), ec("2", "P-256"));
    let [by_other, by_nobody] =
        [&other, &ec("3", "P-256")].map(|pair| pair.token("ES256", None, &claims(json!({ "exp": now() + 3600 }))));
    let authorizer = jwt(issuer.keys());
    issuer.publish(&[&mine.jwk]);
    for _ in 0..3 {
        assert_unauthorized(&authorizer, &by_other).await;
        assert_eq!(issuer.asked(), 1);
    }
    tokio::time::advance(10 * SECOND).await;
    issuer.publish(&[&mine.jwk, &other.jwk]);
    assert_granted(decide(&authorizer, &by_other).await);
    assert_unauthorized(&authorizer, &by_nobody).await;
    assert_eq!(issuer.asked(), 2);
    // A fetch that fails says nothing about which keys there are.
    *issuer.document.lock().unwrap() = None;
    tokio::time::advance(10 * SECOND).await;
    for _ in 0..2 {
        assert_eq!((decide(&authorizer, &by_nobody).await.unwrap_err(), issuer.asked()), (None, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_does_not_have_the_keys_fetched() {
    let issuer = Issuer::default();
    let authorizer = jwt(issuer.keys());
    assert_unauthorized(&authorizer, "a.b.c").await;
    assert_unauthorized(&authorizer, &forge(&json!({ "alg": "none", "kid": "1" }), &claims(json!({})), |_| Vec::new()))
        .await;
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_a_token_names_it_and_a_removed_one_goes_with_the_next_fetch() {
    let (issuer, old, new) = (Issuer::default(), ec("old", "P-256"), ec("new", "P-256"));
    let authorizer = jwt(issuer.keys());
    let [by_old, by_new] = [(&old, "old"), (&new, "new")]
        .map(|(pair, id)| pair.token("ES256", Some(id), &claims(json!({ "exp": now() + 3600 }))));
    issuer.publish(&[&old.jwk]);
    assert_granted(decide(&authorizer, &by_old).await);
    tokio::time::advance(11 * SECOND).await;
    issuer.publish(&[&new.jwk]);
    assert_granted(decide(&authorizer, &by_old).await);
    assert_granted(decide(&authorizer, &by_new).await);
    assert_unauthorized(&authorizer, &by_old).await;
    // Not only because a token names a key that is not there.
    issuer.publish(&[&old.jwk]);
    tokio::time::advance(300 * SECOND).await;
    assert_granted(decide(&authorizer, &by_new).await);
    tokio::time::sleep(SECOND).await;
    assert_granted(decide(&authorizer, &by_old).await);
    assert_unauthorized(&authorizer, &by_new).await;
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_leaves_the_old_keys_and_is_no_denial() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    let authorizer = jwt(issuer.keys());
    let [known, unknown] = ["1", "2"].map(|id| pair.token("ES256", Some(id), &claims(json!({ "exp": now() + 3600 }))));
    assert_eq!(decide(&authorizer, &known).await.unwrap_err(), None, "before the first fetch that succeeds");
    assert_eq!((decide(&authorizer, &known).await.unwrap_err(), issuer.asked()), (None, 1));
    tokio::time::advance(10 * SECOND).await;
    issuer.publish(&[&pair.jwk]);
    assert_granted(decide(&authorizer, &known).await);
    for bad in [None, Some(b"<html>".to_vec()), Some(b"{\"keys\":[]}".to_vec())] {
        *issuer.document.lock().unwrap() = bad;
        tokio::time::advance(400 * SECOND).await;
        assert_eq!(decide(&authorizer, &unknown).await.unwrap_err(), None);
        assert_granted(decide(&authorizer, &known).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_or_panics_is_no_denial_and_the_next_one_runs() {
    let (asked, pair) = (Arc::new(AtomicUsize::new(0)), ec("1", "P-256"));
    let (count, document) = (asked.clone(), set(&[&pair.jwk]));
    let authorizer = jwt(JwtKeys::fetched(move || {
        let (n, document) = (count.fetch_add(1, SeqCst), document.clone());
        assert_ne!(n, 0, "a bug before the future");
        async move {
            match n {
                1 => panic!("a bug in the future"),
                2 => std::future::pending().await,
                _ => Ok::<_, io::Error>(document),
            }
        }
    }));
    let token = pair.token("ES256", Some("1"), &claims(json!({ "exp": now() + 3600 })));
    for n in 1..=3 {
        assert_eq!(decide(&authorizer, &token).await.unwrap_err(), None);
        assert_eq!(asked.load(SeqCst), n);
        tokio::time::advance(10 * SECOND).await;
    }
    assert_granted(decide(&authorizer, &token).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_does_not_cancel_the_fetch_for_the_others() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    issuer.publish(&[&pair.jwk]);
    let authorizer = jwt(issuer.keys());
    let token = pair.token("ES256", Some("1"), &claims(json!({})));
    let impatient = tokio::time::timeout(SECOND / 100, decide(&authorizer, &token)).await;
    assert!(impatient.is_err());
    assert_granted(decide(&authorizer, &token).await);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_rotated_out_ends_no_stream_and_its_reader_comes_back_with_a_new_token_and_misses_nothing() {
    let (publisher, keys) = (Publisher::new(), JwtKeys::secret(SECRET).unwrap());
    let authorizer = jwt(keys.clone());
    let token = hs256(&claims(json!({ "exp": now() + 60 })));
    let grant = granted(decide(&authorizer, &token).await);
    let subscription = OpenOptions::new().start(Start::Earliest).open(&publisher, grant, None).await.unwrap();
    let chat = publisher.channel("a");
    chat.send(Event::text("1")).await.unwrap();
    keys.replace(&JwtKeys::secret(OTHER).unwrap());
    chat.send(Event::text("2")).await.unwrap();
    assert_unauthorized(&authorizer, &token).await;

    let reading = tokio::spawn(http_body_util::BodyExt::collect(SseBody::<crate::NoBody>::new(subscription)));
    tokio::task::yield_now().await;
    tokio::time::advance(71 * SECOND).await;
    let bytes = reading.await.unwrap().unwrap().to_bytes();
    let read = std::str::from_utf8(&bytes).unwrap();
    assert!(read.contains("data: 1\n") && read.contains("data: 2\n"), "{read}");
    let (_, end) = read.rsplit_once("\n\n").unwrap();
    assert!(end.contains("retry: "), "it is told when to come back: {read}");

    chat.send(Event::text("3")).await.unwrap();
    let last = read.rsplit_once("id: ").unwrap().1.lines().next().unwrap();
    let fresh = forge(&json!({ "alg": "HS256" }), &claims(json!({})), with_secret(OTHER));
    let grant = granted(decide(&authorizer, &fresh).await);
    let mut back = OpenOptions::new().open(&publisher, grant, Some(last.as_bytes())).await.unwrap();
    assert_eq!(next(&mut back).await, "3");
}

async fn next(reader: &mut Subscription) -> String {
    match futures_util::StreamExt::next(reader).await {
        Some(crate::Delivery::Event(event)) => event.data(),
        other => panic!("{other:?}"),
    }
}

// Links

fn links() -> Links {
    Links::new(SECRET).unwrap()
}

fn link(channels: &[&'static str]) -> Grant {
    Grant::new(channels.iter().map(|name| ChannelName::from_static(name))).client(ClientId::from_static("ana"))
}

#[tokio::test]
async fn a_link_grants_its_channels_and_its_client_for_its_time() {
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
        // Tokens for something else with the same secret.
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
async fn a_name_in_a_link_is_no_pattern() {
    let token = links().sign(&link(&["*", "{x}"]), 60 * SECOND).unwrap();
    assert_eq!(decide(&links().authorizer(), &token).await.unwrap_err(), FORBIDDEN);
}

#[tokio::test]
async fn the_secret_of_links_can_be_rotated_and_a_link_has_a_longest_length() {
    let old = links().sign(&link(&["a"]), 60 * SECOND).unwrap();
    let new = Links::new(OTHER).unwrap();
    assert_unauthorized(&new.authorizer(), &old).await;
    let both = new.also_accept(SECRET).unwrap();
    assert_granted(decide(&both.authorizer(), &old).await);
    assert_granted(decide(&both.authorizer(), &both.sign(&link(&["a"]), SECOND).unwrap()).await);
    let many = (0..1000).map(|n| ChannelName::try_from(format!("channel {n}")).unwrap());
    assert!(both.sign(&Grant::new(many), SECOND).unwrap_err().is_long_link());
    let longest = both.sign(&link(&["a"]), Duration::MAX).unwrap();
    assert_granted(decide(&both.authorizer(), &longest).await);
    assert!(!format!("{both:?}").contains(OTHER));
}

// Publishing

#[cfg(feature = "publish")]
#[tokio::test]
async fn a_token_allows_to_publish_to_the_channels_it_names_for_that_and_to_no_others() {
    use crate::authorize::{Asking, PublishRequest};

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
