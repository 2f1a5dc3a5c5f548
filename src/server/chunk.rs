//! The bytes of a body on the wire: chunks, and what remains of them when the socket is full.

use std::io::IoSlice;

use bytes::{Buf, BufMut};
use tokio::io::ReadBuf;

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A piece of a body.
pub(super) struct Piece<D> {
    /// `None` if only the end is left.
    pub(super) data: Option<D>,
    /// Whether nothing follows.
    pub(super) end: bool,
}

impl<D: Buf> Piece<D> {
    /// Copies the piece as it is sent. Returns `false` if it does not fit, or if its data is in several parts.
    #[inline]
    pub(super) fn copy_into(&self, framing: Framing, into: &mut ReadBuf<'_>) -> bool {
        let data = self.data.as_ref().map_or(&b""[..], Buf::chunk);
        let (size, tail) = framing.around(data.len(), self.end);
        let (size, is_whole) = (size.rest(), self.data.as_ref().is_none_or(|all| all.remaining() == data.len()));
        let fits = is_whole && size.len() + data.len() + tail.len() <= into.remaining();
        if fits {
            [size, data, tail].into_iter().for_each(|part| into.put_slice(part));
        }
        fits
    }
}

impl Framing {
    /// Returns what comes before and after this many bytes of the body, which are the last ones if `end` is set.
    #[inline]
    fn around(self, bytes: usize, end: bool) -> (Size, &'static [u8]) {
        match self {
            Self::Chunked if bytes == 0 => (Size::empty(), if end { b"0\r\n\r\n" } else { b"" }),
            Self::Chunked if end => (Size::of(bytes), b"\r\n0\r\n\r\n"),
            Self::Chunked => (Size::of(bytes), b"\r\n"),
            Self::Close => (Size::empty(), b""),
        }
    }
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

    /// A piece of the body.
    #[inline]
    pub(super) fn of(framing: Framing, piece: Piece<D>) -> Self {
        let Piece { data, end } = piece;
        let (size, tail) = framing.around(data.as_ref().map_or(0, Buf::remaining), end);
        Self::chunk(size, data, tail)
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

    /// The rest of what comes before the chunk.
    #[inline]
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
        let mut size = Self::empty();
        size.at -= 2;
        size.line[size.at..].copy_from_slice(b"\r\n");
        loop {
            size.at -= 1;
            size.line[size.at] = b"0123456789ABCDEF"[bytes & 15];
            bytes >>= 4;
            if bytes == 0 {
                return size;
            }
        }
    }

    #[inline]
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

    fn data(framing: Framing, data: &'static str, end: bool) -> Unsent<Bytes> {
        Unsent::of(framing, Piece { data: Some(data.into()), end })
    }

    fn end(framing: Framing) -> Unsent<Bytes> {
        Unsent::of(framing, Piece { data: None, end: true })
    }

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
            let chunk = || data(Framing::Chunked, "seventeen letters", false);
            assert_eq!(bytes(chunk(), step), "11\r\nseventeen letters\r\n");
            let last = || data(Framing::Chunked, "last", true);
            assert_eq!(bytes(last(), step), "4\r\nlast\r\n0\r\n\r\n");
            let all = || joined(Unsent::head("head\r\n".into()), [chunk(), chunk(), last()]);
            let twice = "11\r\nseventeen letters\r\n".repeat(2);
            assert_eq!(bytes(all(), step), format!("head\r\n{twice}4\r\nlast\r\n0\r\n\r\n"));
            let mut part = all();
            part.advance(3);
            part.join();
            assert_eq!(part.chunk().len(), part.remaining());
            assert_eq!(bytes(part, step), format!("d\r\n{twice}4\r\nlast\r\n0\r\n\r\n"));
            let ended = joined(Unsent::head("head".into()), [end(Framing::Chunked)]);
            assert_eq!(bytes(ended, step), "head0\r\n\r\n");
            let raw = data(Framing::Close, "raw", true);
            assert_eq!(bytes(raw, step), "raw");
            assert_eq!(bytes(end(Framing::Close), step), "");
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
        let mut unsent = Unsent::of(Framing::Chunked, Piece { data: Some(OneByOne("abc".into())), end: false });
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
    fn a_piece_is_copied_whole_or_not_at_all() {
        fn copied<D: Buf>(piece: &Piece<D>, framing: Framing, room: usize) -> Option<String> {
            let mut into = vec![0; room];
            let mut into = ReadBuf::new(&mut into);
            let is_copied = piece.copy_into(framing, &mut into);
            let copied = String::from_utf8(into.filled().to_vec()).unwrap();
            assert!(is_copied || copied.is_empty());
            is_copied.then_some(copied)
        }
        for framing in [Framing::Chunked, Framing::Close] {
            for end in [true, false] {
                for data in [Some(Bytes::from("seventeen letters")), None] {
                    let piece = || Piece { data: data.clone(), end };
                    let expected = bytes(Unsent::of(framing, piece()), 99);
                    assert_eq!(copied(&piece(), framing, expected.len()).as_ref(), Some(&expected));
                    if let Some(room) = expected.len().checked_sub(1) {
                        assert_eq!(copied(&piece(), framing, room), None);
                    }
                }
            }
        }
        let in_parts = Bytes::from("a").chain(Bytes::from("b"));
        assert_eq!(copied(&Piece { data: Some(in_parts), end: false }, Framing::Close, 99), None);
    }

    #[test]
    fn the_size_of_a_chunk_is_in_hexadecimal() {
        for bytes in [1, 9, 10, 15, 16, 255, 256, 0xABCD_EF01, usize::MAX] {
            assert_eq!(Size::of(bytes).rest(), format!("{bytes:X}\r\n").as_bytes());
        }
    }
}
