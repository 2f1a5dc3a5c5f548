//! What TLS takes besides the client, which brings none.

/// Chooses who encrypts, if the application has not: rustls does so by itself only where it was built with one provider,
/// and panics where another crate of the application has brought it a second one.
#[cfg(feature = "redis-tls")]
pub(super) fn choose_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else was quicker, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "redis-tls"))]
pub(super) fn choose_provider() {}

/// Whether the URL asks for TLS and the feature `redis-tls` is off. The client's own error names no feature of ours.
pub(super) fn is_missing_for(url: &str) -> bool {
    let scheme = url.split([':', '+']).next().unwrap_or_default();
    !cfg!(feature = "redis-tls") && ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls))
}

#[cfg(all(test, feature = "redis-tls"))]
mod tests {
    #[test]
    fn who_encrypts_is_chosen_once() {
        super::choose_provider();
        super::choose_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
