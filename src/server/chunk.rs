//! The bytes of a body on the wire: chunks, and what remains of them when the socket is full.

use std::io::IoSlice;

use bytes::{Buf, BufMut};

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What to send next: a chunk, and what comes before it, which is the head of the response or earlier chunks.
#[derive(Debug)]
pub(super) struct Unsent<D> {
    before: Vec<u8>,
    /// How much of `before` has been sent.
    sent: usize,
    size: Size,
    data: Option<D>,
    tail: &'static [u8],
}

/// The first line of a chunk, which has its size.
#[derive(Debug)]
struct Size {
    line: [u8; Size::MAX],
    /// Where the rest of the line begins.
    at: usize,
}

impl<D: Buf> Unsent<D> {
    /// The head of a response, with nothing after it.
    pub(super) fn head(head: Vec<u8>) -> Self {
        Self { before: head, ..Self::chunk(Size::empty(), None, b"") }
    }

    /// Bytes of the body, which are the last ones if `end` is set.
    pub(super) fn data(framing: Framing, data: D, end: bool) -> Self {
        let size = data.remaining();
        match framing {
            Framing::Chunked if end => Self::chunk(Size::of(size), Some(data), b"\r\n0\r\n\r\n"),
            Framing::Chunked => Self::chunk(Size::of(size), Some(data), b"\r\n"),
            Framing::Close => Self::chunk(Size::empty(), Some(data), b""),
        }
    }

    /// The end of the body.
    pub(super) fn end(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::chunk(Size::empty(), None, b"0\r\n\r\n"),
            Framing::Close => Self::chunk(Size::empty(), None, b""),
        }
    }

    fn chunk(size: Size, data: Option<D>, tail: &'static [u8]) -> Self {
        Self { before: Vec::new(), sent: 0, size, data, tail }
    }

    /// Adds what follows. Copies the data that is here already.
    pub(super) fn append(&mut self, next: Self) {
        self.join();
        self.before.extend_from_slice(next.rest());
        let Self { size, data, tail, .. } = next;
        (self.size, self.data, self.tail) = (size, data, tail);
    }

    /// How much of the chunk's data is left.
    pub(super) fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, Buf::remaining)
    }

    /// Joins everything into one piece, for I/O that writes only one at a time.
    pub(super) fn join(&mut self) {
        self.before.extend_from_slice(self.size.rest());
        self.size = Size::empty();
        if let Some(data) = self.data.take() {
            self.before.put(data);
        }
        self.before.extend_from_slice(std::mem::take(&mut self.tail));
    }

    /// Copies everything and returns its length. Returns `None` if it does not fit, or if the data is in several pieces.
    pub(super) fn copy_into(&self, into: &mut [u8]) -> Option<usize> {
        let data = self.data.as_ref().map_or(&b""[..], Buf::chunk);
        if data.len() < self.data_len() {
            return None;
        }
        let mut len = 0;
        for part in [self.rest(), self.size.rest(), data, self.tail] {
            into.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        Some(len)
    }

    /// The rest of what comes before the chunk.
    fn rest(&self) -> &[u8] {
        &self.before[self.sent..]
    }
}

/// The parts in order. Some may be empty.
impl<D: Buf> Buf for Unsent<D> {
    fn remaining(&self) -> usize {
        let data = self.data.as_ref().map_or(0, Buf::remaining);
        self.rest().len() + self.size.rest().len() + data + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        let data = self.data.as_ref().map_or(&b""[..], Buf::chunk);
        let parts = [self.rest(), self.size.rest(), data];
        parts.into_iter().find(|part| !part.is_empty()).unwrap_or(self.tail)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut n = 0;
        for part in [self.rest(), self.size.rest()] {
            n += put(&mut into[n..], part);
        }
        if let Some(data) = &self.data {
            let from = n;
            n += data.chunks_vectored(&mut into[n..]);
            // Not every `Buf` returns all of its parts, even if there is room.
            if into[from..n].iter().map(|part| part.len()).sum::<usize>() < data.remaining() {
                return n;
            }
        }
        n + put(&mut into[n..], self.tail)
    }

    fn advance(&mut self, sent: usize) {
        let mut left = sent;
        let mut of = |part: usize| {
            let taken = left.min(part);
            left -= taken;
            taken
        };
        self.sent += of(self.before.len() - self.sent);
        self.size.at += of(self.size.rest().len());
        if let Some(data) = &mut self.data {
            data.advance(of(data.remaining()));
        }
        self.tail.advance(of(self.tail.len()));
        assert_eq!(left, 0, "more was sent than there was");
    }
}

/// Puts a part in front, if there is one and there is room for it. Returns how much room it takes.
fn put<'a>(into: &mut [IoSlice<'a>], part: &'a [u8]) -> usize {
    match into.first_mut().filter(|_| !part.is_empty()) {
        Some(first) => {
            *first = IoSlice::new(part);
            1
        }
        None => 0,
    }
}

impl Size {
    /// The digits of a `usize`, and the end of the line.
    const MAX: usize = usize::BITS as usize / 4 + 2;

    fn of(mut bytes: usize) -> Self {
        let (mut line, mut at) = ([0; Self::MAX], Self::MAX - 2);
        line[at..].copy_from_slice(b"\r\n");
        loop {
            at -= 1;
            line[at] = b"0123456789ABCDEF"[bytes & 15];
            bytes >>= 4;
            if bytes == 0 {
                return Self { line, at };
            }
        }
    }

    fn empty() -> Self {
        Self { line: [0; Self::MAX], at: Self::MAX }
    }

    fn rest(&self) -> &[u8] {
        &self.line[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// All of it, in pieces of `step` bytes.
    fn bytes(mut unsent: Unsent<Bytes>, step: usize) -> String {
        let mut sent = Vec::new();
        while unsent.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 8];
            let n = unsent.chunks_vectored(&mut slices);
            let all: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(all.len(), unsent.remaining());
            assert!(all.starts_with(unsent.chunk()) && !unsent.chunk().is_empty());
            sent.extend_from_slice(&all[..step.min(all.len())]);
            unsent.advance(step.min(all.len()));
        }
        String::from_utf8(sent).unwrap()
    }

    fn joined<const N: usize>(mut first: Unsent<Bytes>, more: [Unsent<Bytes>; N]) -> Unsent<Bytes> {
        more.into_iter().for_each(|next| first.append(next));
        first
    }

    #[test]
    fn a_chunk_has_its_size_in_front_wherever_it_is_split() {
        for step in 1..40 {
            let chunk = || Unsent::data(Framing::Chunked, Bytes::from_static(b"seventeen letters"), false);
            assert_eq!(bytes(chunk(), step), "11\r\nseventeen letters\r\n");
            let last = || Unsent::data(Framing::Chunked, Bytes::from_static(b"last"), true);
            assert_eq!(bytes(last(), step), "4\r\nlast\r\n0\r\n\r\n");
            let all = || joined(Unsent::head("head\r\n".into()), [chunk(), chunk(), last()]);
            let twice = "11\r\nseventeen letters\r\n".repeat(2);
            assert_eq!(bytes(all(), step), format!("head\r\n{twice}4\r\nlast\r\n0\r\n\r\n"));
            let mut part = all();
            part.advance(3);
            part.join();
            assert_eq!(part.chunk().len(), part.remaining());
            assert_eq!(bytes(part, step), format!("d\r\n{twice}4\r\nlast\r\n0\r\n\r\n"));
            let ended = joined(Unsent::head("head".into()), [Unsent::end(Framing::Chunked)]);
            assert_eq!(bytes(ended, step), "head0\r\n\r\n");
            let raw = Unsent::data(Framing::Close, Bytes::from_static(b"raw"), true);
            assert_eq!(bytes(raw, step), "raw");
            assert_eq!(bytes(Unsent::end(Framing::Close), step), "");
        }
    }

    #[test]
    fn a_buffer_that_shows_only_its_first_part_is_sent_in_order() {
        struct OneByOne(Bytes);
        impl Buf for OneByOne {
            fn remaining(&self) -> usize {
                self.0.len()
            }
            fn chunk(&self) -> &[u8] {
                &self.0[..self.0.len().min(1)]
            }
            fn advance(&mut self, n: usize) {
                self.0.advance(n);
            }
        }
        let mut unsent = Unsent::data(Framing::Chunked, OneByOne("abc".into()), false);
        let mut sent = Vec::new();
        while unsent.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 8];
            let n = unsent.chunks_vectored(&mut slices);
            let all: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
            sent.extend_from_slice(&all);
            unsent.advance(all.len());
        }
        assert_eq!(sent, b"3\r\nabc\r\n");
    }

    #[test]
    fn a_chunk_is_copied_whole_or_not_at_all() {
        let chunk = || Unsent::data(Framing::Chunked, Bytes::from_static(b"seventeen letters"), false);
        let mut all = joined(Unsent::head("head\r\n".into()), [chunk(), chunk()]);
        all.advance(2);
        let len = all.remaining();
        let mut into = vec![0; len];
        assert_eq!(all.copy_into(&mut into[..len - 1]), None);
        assert_eq!(all.copy_into(&mut into), Some(len));
        assert_eq!(String::from_utf8(into).unwrap(), bytes(all, len));
        let in_pieces = Unsent::data(Framing::Close, Bytes::from_static(b"a").chain(Bytes::from_static(b"b")), false);
        assert_eq!(in_pieces.copy_into(&mut [0; 99]), None);
    }

    #[test]
    fn the_size_of_a_chunk_is_in_hexadecimal() {
        for bytes in [1, 9, 10, 15, 16, 255, 256, 0xABCD_EF01, usize::MAX] {
            assert_eq!(Size::of(bytes).rest(), format!("{bytes:X}\r\n").as_bytes());
        }
    }
}
