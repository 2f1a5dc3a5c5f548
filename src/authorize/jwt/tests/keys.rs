//! What a key is good for.

use ring::signature::{KeyPair as _, RsaKeyPair};
use serde_json::json;

use super::helpers::*;
use crate::authorize::jwt::JwtKeys;

#[tokio::test]
async fn a_public_key_is_never_used_as_a_secret() {
    let pair = rsa("1");
    let keys = by_jwks(&[&pair.jwk]);
    let der = RsaKeyPair::from_pkcs8(RSA).unwrap().public_key().as_ref().to_vec();
    let modulus = pair.jwk["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [der, modulus, pair.jwk.to_string().into(), set(&[&pair.jwk]), Vec::new()] {
        for header in [json!({ "alg": "HS256", "kid": "1" }), json!({ "alg": "HS256" })] {
            assert_unauthorized(&keys, &forge(&header, &claims(json!({})), with_secret(&secret))).await;
        }
    }
    assert_unauthorized(&by_secret(), &pair.token("RS256", None, &claims(json!({})))).await;
}

#[tokio::test]
async fn a_key_verifies_the_algorithms_of_its_type_or_only_the_one_that_it_names() {
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

#[test]
fn unsafe_and_unusable_keys_are_errors() {
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
