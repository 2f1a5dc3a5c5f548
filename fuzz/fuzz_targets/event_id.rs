//! Each event id has exactly one text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_sse::EventId;

fuzz_target!(|bytes: &[u8]| {
    let Some(id) = EventId::parse(bytes) else { return };
    let text = id.to_string();
    assert_eq!(text.as_bytes(), bytes);
    assert!(text.len() < 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
    assert!(id.cursor().is_none() || id.custom().is_none());
    if let Some(cursor) = id.cursor() {
        assert_eq!(EventId::from(cursor), id);
    }
});
