//! Sequences of requests that are put together at random and split at random, against hyper.

use crate::same::assert_same;

/// Random numbers that a seed determines: xorshift.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).unwrap_or_default() % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn request(&mut self) -> String {
        let method = self.pick(&["GET", "GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "CONNECT"]);
        let path =
            self.pick(&["/one", "/one/later/two", "/later/later/x", "/", "/empty/a/b/c", "/one/wait", "/a/trailers/b"]);
        let query = self.pick(&[
            "",
            "",
            "",
            "?read=",
            "?read=",
            "?read=",
            "?read=",
            "?half=",
            "?plain=",
            "?plain=&read=",
            "?status=404",
            "?status=204",
            "?exact=",
            "?connection=close",
            "?trailer=x",
            "?transfer-encoding=gzip",
            "?version=1.0",
            "?version=1.0&read=",
        ]);
        let version = self.pick(&["1.1", "1.1", "1.1", "1.1", "1.0"]);
        let connection = self.pick(&[
            "",
            "",
            "",
            "connection: close\r\n",
            "connection: keep-alive\r\n",
            "connection: x\r\nupgrade: y\r\n",
            "expect: 100-continue\r\n",
            "te: trailers\r\n",
        ]);
        let body = self.pick(&[
            "\r\n",
            "\r\n",
            "\r\n",
            "\r\n",
            "\r\n",
            "content-length: 5\r\n\r\nhello",
            "content-length: 0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-sum: 1\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "content-length: 5\r\n\r\nhel",
            "transfer-encoding: chunked\r\n\r\nnonsense",
            "bad header\r\n\r\n",
        ]);
        format!("{method} {path}{query} HTTP/{version}\r\n{connection}{body}")
    }
}

const CASES: u64 = 200;

/// Cuts bytes into pieces: whole, a few, or many.
fn cut<'a>(random: &mut Random, mut rest: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let most = [rest.len(), rest.len() / 2 + 1, 20, 3][random.below(4)];
    while !rest.is_empty() {
        let (piece, left) = rest.split_at((1 + random.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}

fn requests(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.below(4);
    (0..count).map(|_| random.request()).collect::<String>().into_bytes()
}

#[tokio::test(start_paused = true)]
async fn any_sequence_of_requests_gets_the_answers_that_hyper_gives() {
    let (mut detached, mut by_hyper, mut several) = (0, 0, 0);
    for seed in 1..=CASES {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let bytes = requests(&mut random);
        let (_, stats) = assert_same(&cut(&mut random, &bytes)).await;
        detached += stats.detached;
        by_hyper += stats.by_hyper;
        several += u64::from(stats.detached > 1);
    }
    assert!(detached > 50 && by_hyper > 50 && several > 5, "{detached}, {by_hyper}, {several}");
}

#[tokio::test(start_paused = true)]
async fn requests_with_a_wrong_byte_get_the_answers_that_hyper_gives() {
    let mut detached = 0;
    for seed in 1..=CASES {
        let mut random = Random(0x2545_F491_4F6C_DD1D_u64.wrapping_mul(seed));
        let mut bytes = requests(&mut random);
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n :0/?="[random.below(8)]),
            }
        }
        let (_, stats) = assert_same(&cut(&mut random, &bytes)).await;
        detached += stats.detached;
    }
    assert!(detached > 20, "{detached}");
}
