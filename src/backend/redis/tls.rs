//! What TLS needs besides the client, which does not bring it along.

/// Chooses the provider of cryptography, if the application has not. rustls does so by itself only if it was built with
/// one provider, and panics if another crate of the application adds a second one.
#[cfg(feature = "redis-tls")]
pub(super) fn choose_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that a provider was installed meanwhile, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "redis-tls"))]
pub(super) fn choose_provider() {}

/// Returns whether the URL asks for TLS while the feature `redis-tls` is off. The client's own error does not name our
/// feature.
pub(super) fn is_missing_for(url: &str) -> bool {
    let scheme = url.split([':', '+']).next().unwrap_or_default();
    !cfg!(feature = "redis-tls") && ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls))
}

#[cfg(all(test, feature = "redis-tls"))]
mod tests {
    #[test]
    fn the_provider_of_tls_is_chosen_once() {
        super::choose_provider();
        super::choose_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
