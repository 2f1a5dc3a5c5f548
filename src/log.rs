//! STUB
/// Retention
#[derive(Debug, Clone, Default)]
pub struct Retention {}
impl Retention {
    /// At most so many events (default 1,000).
    pub fn events(self, _max: usize) -> Self {
        todo!()
    }
    /// At most so many bytes (default 4 MiB).
    pub fn bytes(self, _max: usize) -> Self {
        todo!()
    }
    /// At most this old (default one hour).
    pub fn age(self, _max: std::time::Duration) -> Self {
        todo!()
    }
}
