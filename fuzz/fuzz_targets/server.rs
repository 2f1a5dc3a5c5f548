//! Any bytes, split anywhere, get the answers that hyper alone gives, however many streams leave it in between.
#![no_main]

#[path = "../../tests/server/app.rs"]
mod app;
#[path = "../../tests/server/same.rs"]
mod same;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// The lengths of the pieces that the bytes are cut into, used repeatedly.
    pieces: Vec<u8>,
    bytes: &'a [u8],
}

/// What the application does differently on purpose, or what hyper checks only in debug builds.
const LEFT_OUT: [&[u8]; 5] = [b"panic", b"always", b"break", b"much", b"exact"];

fuzz_target!(|input: Input| {
    if LEFT_OUT.iter().any(|word| input.bytes.windows(word.len()).any(|bytes| bytes == *word))
        || input.bytes.starts_with(b"PRI")
    {
        return;
    }
    let mut lengths = input.pieces.iter().map(|length| usize::from(*length) + 1).cycle();
    let (mut pieces, mut rest) = (Vec::new(), input.bytes);
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(lengths.next().unwrap_or(rest.len()).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(same::assert_same(&pieces));
});
