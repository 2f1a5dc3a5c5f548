//! The data of each event: padding, and a mark at its end that tells a reader which event it is and when it was sent.

/// The length of a mark: `~` stream `.` number `.` nanoseconds.
pub const LEN: usize = 1 + 6 + 1 + 8 + 1 + 16;

/// What an event says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The channel's number, or the client's if the event is for one.
    pub stream: u32,
    /// Its number in the stream, counted from 0.
    pub number: u32,
    /// When it was published.
    pub at: u64,
}

impl Mark {
    /// Data of `size` bytes, but at least as long as the mark.
    pub fn data(&self, size: usize) -> String {
        let mut data = String::with_capacity(size.max(LEN));
        data.extend(std::iter::repeat_n('x', size.saturating_sub(LEN)));
        let mut mark = *b"~......................................";
        decimal(&mut mark[1..7], self.stream);
        decimal(&mut mark[8..16], self.number);
        for (index, byte) in mark[17..33].iter_mut().enumerate() {
            *byte = b"0123456789abcdef"[(self.at >> (60 - 4 * index) & 15) as usize];
        }
        data.push_str(std::str::from_utf8(&mark[..LEN]).unwrap_or_default());
        data
    }

    /// Parses the bytes after a `~`.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            bytes.get(range)?.iter().try_fold(0_u32, |sum, byte| {
                let digit = byte.wrapping_sub(b'0');
                (digit < 10).then(|| sum * 10 + u32::from(digit))
            })
        };
        let at = bytes.get(16..32)?.iter().try_fold(0_u64, |sum, byte| {
            let digit = char::from(*byte).to_digit(16)?;
            Some(sum << 4 | u64::from(digit))
        })?;
        Some(Self { stream: number(0..6)?, number: number(7..15)?, at })
    }
}

fn decimal(out: &mut [u8], mut number: u32) {
    for byte in out.iter_mut().rev() {
        *byte = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

/// Finds the marks in a stream that arrives in pieces.
#[derive(Default)]
pub struct Scanner {
    /// The beginning of a mark whose end has not arrived yet.
    cut: Vec<u8>,
}

impl Scanner {
    pub fn scan(&mut self, mut piece: &[u8], mut found: impl FnMut(Mark)) {
        if !self.cut.is_empty() {
            let (end, rest) = piece.split_at(piece.len().min(LEN - self.cut.len()));
            self.cut.extend_from_slice(end);
            piece = rest;
            if self.cut.len() < LEN {
                return;
            }
            Mark::read(&self.cut[1..]).into_iter().for_each(&mut found);
            self.cut = Vec::new();
        }
        while let Some(at) = memchr::memchr(b'~', piece) {
            let Some(mark) = piece.get(at..at + LEN) else {
                self.cut.extend_from_slice(&piece[at..]);
                return;
            };
            Mark::read(&mark[1..]).into_iter().for_each(&mut found);
            piece = &piece[at + LEN..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_however_they_are_cut() {
        let marks: Vec<_> = (0..5).map(|n| Mark { stream: n * 1000, number: n, at: u64::from(n) << 60 | 77 }).collect();
        let text: String = marks.iter().map(|mark| format!("data: {}\nid: 5\n\n", mark.data(100))).collect();
        for size in 1..text.len() {
            let (mut scanner, mut found) = (Scanner::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| scanner.scan(piece, |mark| found.push(mark)));
            assert_eq!(found, marks, "{size}");
        }
        assert_eq!(marks[0].data(100).len(), 100);
    }
}
