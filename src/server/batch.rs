//! What is sent in one go: small chunks are joined, large ones stay where they are.

use std::io::IoSlice;

use bytes::Buf;

use super::chunk::Unsent;

/// Chunks in their order, and the head before them if it was not sent yet.
#[derive(Debug)]
pub(super) struct Batch<D> {
    first: Unsent<D>,
    /// Empty unless the one before is a large one.
    more: Vec<Unsent<D>>,
}

/// Data of more bytes than this is not copied to be joined with what follows.
const LARGE: usize = 4 << 10;

impl<D: Buf> Batch<D> {
    pub(super) fn new(first: Unsent<D>) -> Self {
        Self { first, more: Vec::new() }
    }

    /// Adds a chunk.
    pub(super) fn push(&mut self, next: Unsent<D>) {
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        if last.data_len() > LARGE {
            self.more.push(next);
        } else {
            last.append(next);
        }
    }

    /// Makes one piece of everything, for I/O that writes only one at a time.
    pub(super) fn join(&mut self) {
        self.more.drain(..).for_each(|next| self.first.append(next));
        self.first.join();
    }

    fn parts(&self) -> impl Iterator<Item = &Unsent<D>> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// The parts in their order, of which some are empty.
impl<D: Buf> Buf for Batch<D> {
    fn remaining(&self) -> usize {
        self.first.remaining() + self.more.iter().map(Buf::remaining).sum::<usize>()
    }

    fn chunk(&self) -> &[u8] {
        self.parts().map(Buf::chunk).find(|chunk| !chunk.is_empty()).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut n = 0;
        for part in self.parts() {
            let from = n;
            n += part.chunks_vectored(&mut into[n..]);
            // There was no more room, or the part does not give all of its pieces at once.
            if into[from..n].iter().map(|slice| slice.len()).sum::<usize>() < part.remaining() {
                break;
            }
        }
        n
    }

    fn advance(&mut self, sent: usize) {
        let mut left = sent;
        while left > 0 {
            let part = left.min(self.first.remaining());
            self.first.advance(part);
            left -= part;
            if self.first.has_remaining() || self.more.is_empty() {
                break;
            }
            // Frees what was sent. There are few parts.
            self.first = self.more.remove(0);
        }
        assert_eq!(left, 0, "more was sent than there was");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        super::chunk::{Framing, Piece},
        *,
    };

    fn chunk(byte: u8, len: usize, end: bool) -> Unsent<Bytes> {
        Unsent::of(Framing::Chunked, Piece { data: Some(vec![byte; len].into()), end })
    }

    fn framed(byte: u8, len: usize) -> Vec<u8> {
        [format!("{len:X}\r\n").into_bytes(), vec![byte; len], b"\r\n".to_vec()].concat()
    }

    /// All of it, in pieces of `step` bytes.
    fn bytes(mut batch: Batch<Bytes>, step: usize, room: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while batch.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 24];
            let n = batch.chunks_vectored(&mut slices[..room]);
            let all: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(all.starts_with(batch.chunk()) && !batch.chunk().is_empty());
            sent.extend_from_slice(&all[..step.min(all.len())]);
            batch.advance(step.min(all.len()));
        }
        sent
    }

    #[test]
    fn chunks_of_any_size_are_sent_in_order_wherever_they_are_split() {
        let expected = [
            b"head\r\n".to_vec(),
            framed(b'a', 10),
            framed(b'b', 9_000),
            framed(b'c', 3),
            framed(b'd', 5_000),
            framed(b'e', 7_000),
            b"0\r\n\r\n".to_vec(),
        ];
        for step in [1, 7, 4_096, 10_000, 100_000] {
            for room in [1, 2, 5, 24] {
                let mut batch = Batch::new(Unsent::head(b"head\r\n".to_vec()));
                for (byte, len) in [(b'a', 10), (b'b', 9_000), (b'c', 3), (b'd', 5_000), (b'e', 7_000)] {
                    batch.push(chunk(byte, len, false));
                }
                batch.push(Unsent::of(Framing::Chunked, Piece { data: None, end: true }));
                assert!(bytes(batch, step, room) == expected.concat(), "{step} {room}");
            }
        }
    }

    #[test]
    fn only_small_chunks_are_copied() {
        let mut batch = Batch::new(chunk(b'a', 10, false));
        batch.push(chunk(b'b', 10, false));
        assert!(batch.more.is_empty());
        batch.push(chunk(b'c', LARGE + 1, false));
        batch.push(chunk(b'd', LARGE + 1, false));
        batch.push(chunk(b'e', 1, true));
        assert_eq!(batch.more.len(), 2);
        let len = batch.remaining();
        batch.join();
        assert_eq!((batch.chunk().len(), batch.more.len()), (len, 0));
    }
}
