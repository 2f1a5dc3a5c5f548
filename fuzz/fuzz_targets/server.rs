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

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|input: Input| {
    if LEFT_OUT.iter().any(|word| input.bytes.windows(word.len()).any(|bytes| bytes == *word))
        || input.bytes.starts_with(b"PRI")
    {
        return;
    }
    let mut lengths = input.pieces.iter().map(|length| usize::from(*length) + 1).cycle();
    let (mut pieces, mut rest) = (Vec::new(), input.bytes);
    while !rest.is_empty() {
        let mut length = lengths.next().unwrap_or(rest.len());
        // The server reads on until it knows the protocol, and gives hyper all of that. hyper would parse the beginning alone,
        // and then wait for the end of the head before it parses more, even if what is there is invalid.
        while pieces.is_empty() && length < rest.len() && PREFACE.starts_with(&rest[..length]) {
            length += lengths.next().unwrap_or(rest.len());
        }
        let (piece, left) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(same::assert_same(&pieces));
});
