//! Reads what the head of a response, as hyper wrote it, says about its connection.

/// Whether the connection ends with this response, because a `connection` header has the token `close`.
pub(super) fn asks_to_close(head: &[u8]) -> bool {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    lines
        .filter_map(connection)
        .any(|value| value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close")))
}

/// Returns the value of a line if its name is `connection`.
fn connection(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked("connection:".len())?;
    name.eq_ignore_ascii_case(b"connection:").then_some(value)
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
