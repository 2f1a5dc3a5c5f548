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

#[cfg(all(test, feature = "redis-tls"))]
mod tests {
    #[test]
    fn who_encrypts_is_chosen_once() {
        super::choose_provider();
        super::choose_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
