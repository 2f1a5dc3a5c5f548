//! Reads what the head of a response, as hyper wrote it, says about its connection.

use memchr::{memchr, memchr_iter};

/// Whether the connection ends with this response, because a `connection` header has the token `close`.
pub(super) fn asks_to_close(head: &[u8]) -> bool {
    // The first line has no header.
    memchr_iter(b'\n', head)
        .filter_map(|end| connection(&head[end + 1..]))
        .any(|value| value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close")))
}

/// Returns the value of the line at the beginning if its name is `connection`.
fn connection(lines: &[u8]) -> Option<&[u8]> {
    let (name, value) = lines.split_at_checked("connection:".len())?;
    let is_connection = name.eq_ignore_ascii_case(b"connection:");
    is_connection.then(|| &value[..memchr(b'\n', value).unwrap_or(value.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_in_the_header_of_that_name_closes() {
        for closes in ["close", " Close", "x, close", "keep-alive,CLOSE , y"] {
            let head = format!("HTTP/1.1 200 OK\r\nx: y\r\nConnection:{closes}\r\ndate: z\r\n\r\n");
            assert!(asks_to_close(head.as_bytes()), "{head}");
        }
        for stays in
            ["connection: keep-alive", "connection: closed", "x-connection: close", "x: connection: close", "c"]
        {
            let head = format!("HTTP/1.1 200 OK\r\n{stays}\r\n\r\n");
            assert!(!asks_to_close(head.as_bytes()), "{head}");
        }
    }
}
