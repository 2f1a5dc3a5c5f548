//! The cryptography of tokens: what `jsonwebtoken` asks of a backend, answered by ring.
//!
//! ring is one crate and is what TLS to Redis uses too. It verifies every algorithm. It signs with secrets only, since
//! this crate signs nothing else.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{self, ErrorKind},
    signature::{Error, Signer, Verifier},
};
use ring::{
    hmac,
    signature::{self as public, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm},
};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: new_signer,
    verifier_factory: new_verifier,
    // Only for thumbprints and for keys made from private keys, of which there are none here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes sure that there is a backend: without one, `jsonwebtoken` panics. One that the application has chosen, by a
/// feature of `jsonwebtoken` or by installing it, stays.
pub(super) fn install() {
    if CryptoProvider::try_get_default().is_none() {
        // Fails only if somebody else has installed one in the meantime.
        let _ = RING.install_default();
    }
}

/// A secret for one algorithm.
struct Secret {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Secret {
    fn new(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Self { algorithm, key: hmac::Key::new(hash, secret) })
    }
}

impl Signer<Vec<u8>> for Secret {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

impl JwtSigner for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Secret {
    /// Compares in constant time.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        hmac::verify(&self.key, message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A public key for one algorithm.
struct Public {
    algorithm: Algorithm,
    how: How,
    key: DecodingKey,
}

enum How {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let verified = match (self.key.kind(), &self.how) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, How::Rsa(how)) => {
                RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (DecodingKeyKind::SecretOrDer(key), How::Rsa(how)) => {
                UnparsedPublicKey::new(*how, key).verify(message, signature)
            }
            (DecodingKeyKind::SecretOrDer(key), How::Curve(how)) => {
                UnparsedPublicKey::new(*how, key).verify(message, signature)
            }
            (DecodingKeyKind::RsaModulusExponent { .. }, How::Curve(_)) => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn new_signer(algorithm: &Algorithm, key: &EncodingKey) -> errors::Result<Box<dyn JwtSigner>> {
    is_for(key.family() == algorithm.family())?;
    match Secret::new(*algorithm, key.as_bytes()) {
        Some(secret) => Ok(Box::new(secret)),
        None => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

fn new_verifier(algorithm: &Algorithm, key: &DecodingKey) -> errors::Result<Box<dyn JwtVerifier>> {
    // A public key is never used as a secret, whatever the token says.
    is_for(key.family() == algorithm.family())?;
    if let Ok(bytes) = key.try_get_as_bytes()
        && let Some(secret) = Secret::new(*algorithm, bytes)
    {
        return Ok(Box::new(secret));
    }
    let how = match algorithm {
        Algorithm::RS256 => How::Rsa(&public::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => How::Rsa(&public::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => How::Rsa(&public::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => How::Rsa(&public::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => How::Rsa(&public::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => How::Rsa(&public::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => How::Curve(&public::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => How::Curve(&public::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => How::Curve(&public::ED25519),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(Public { algorithm: *algorithm, how, key: key.clone() }))
}

fn is_for(same_family: bool) -> errors::Result<()> {
    if same_family { Ok(()) } else { Err(ErrorKind::InvalidKeyFormat.into()) }
}
