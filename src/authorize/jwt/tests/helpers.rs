//! Tokens with any content, keys to sign them with, and what an authorizer decides.

use std::time::{Duration, SystemTime};

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

use crate::{
    ChannelName, ClientId, Grant,
    authorize::{
        AuthorizeRequest, Authorizer, Decide, Refusal,
        jwt::{Jwt, JwtKeys, Links, jwt},
    },
};

/// A private RSA key, in PKCS #8.
pub(super) const RSA: &[u8] = include_bytes!("../test_rsa.pk8");
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const OTHER: &str = "another secret of enough length!";
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.as_ref().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]))
    });
    digits.collect()
}

/// A token with this header and these claims, signed by `sign`.
pub(super) fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

pub(super) fn with_secret(secret: impl AsRef<[u8]>) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), message).as_ref().to_vec()
}

pub(super) fn hs256(claims: &Value) -> String {
    forge(&json!({ "alg": "HS256", "typ": "JWT" }), claims, with_secret(SECRET))
}

/// Claims that are valid for a minute, with these changes.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({ "exp": now() + 60, "channels": ["a", "b"], "client": "ana" });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

pub(super) fn by_secret() -> Jwt {
    jwt(JwtKeys::secret(SECRET).unwrap())
}

pub(super) fn request(token: &str) -> AuthorizeRequest {
    let parts =
        http::Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap().into_parts().0;
    AuthorizeRequest::new(parts, ["a", "c"].map(ChannelName::from_static), ClientId::from_static("mallory"))
}

/// The grant, or the status of the denial, or `None` if the authorizer failed.
pub(super) async fn decide(authorizer: &impl Authorizer, token: &str) -> Result<Grant, Option<StatusCode>> {
    Decide::new(authorizer, request(token)).await.map_err(|refusal| match refusal {
        Refusal::Denied(denied) => Some(denied.status()),
        Refusal::Failed | Refusal::Limited(_) => None,
    })
}

#[track_caller]
pub(super) fn granted(decided: Result<Grant, Option<StatusCode>>) -> Grant {
    decided.expect("a grant")
}

#[track_caller]
pub(super) fn assert_granted(decided: Result<Grant, Option<StatusCode>>) {
    drop(granted(decided));
}

pub(super) const UNAUTHORIZED: Option<StatusCode> = Some(StatusCode::UNAUTHORIZED);
pub(super) const FORBIDDEN: Option<StatusCode> = Some(StatusCode::FORBIDDEN);

pub(super) async fn assert_unauthorized(authorizer: &Jwt, token: &str) {
    assert_eq!(decide(authorizer, token).await.unwrap_err(), UNAUTHORIZED, "{token}");
}

/// A key pair: the public key as a JWK, and a signer for any algorithm of its type.
pub(super) struct Pair {
    pub(super) jwk: Value,
    pub(super) sign: Box<Sign>,
}

pub(super) type Sign = dyn Fn(&str, &[u8]) -> Vec<u8>;

pub(super) fn rsa(id: &str) -> Pair {
    let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
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

pub(super) fn ec(id: &str, curve: &str) -> Pair {
    let how = if curve == "P-256" { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    let jwk = json!({ "kty": "EC", "kid": id, "crv": curve, "x": b64(x), "y": b64(y) });
    Pair { jwk, sign: Box::new(move |_, message| pair.sign(&random, message).unwrap().as_ref().to_vec()) }
}

pub(super) fn ed(id: &str) -> Pair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": b64(pair.public_key()) });
    Pair { jwk, sign: Box::new(move |_, message| pair.sign(message).as_ref().to_vec()) }
}

impl Pair {
    pub(super) fn token(&self, algorithm: &str, id: Option<&str>, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": id });
        forge(&header, claims, |message| (self.sign)(algorithm, message))
    }
}

pub(super) fn set(keys: &[&Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into()
}

pub(super) fn by_jwks(keys: &[&Value]) -> Jwt {
    jwt(JwtKeys::jwks(set(keys)).unwrap())
}

pub(super) fn links() -> Links {
    Links::new(SECRET).unwrap()
}

pub(super) fn link(channels: &[&'static str]) -> Grant {
    Grant::new(channels.iter().map(|name| ChannelName::from_static(name))).client(ClientId::from_static("ana"))
}
