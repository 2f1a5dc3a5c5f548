//! The examples say how to try them, and it is true: each line that they print is a request that works as it says.

#[path = "common/example.rs"]
mod example;

use std::{env, fs, io::BufRead as _, process};

use example::{Example, request};
use hyper::Request;

/// The next line that the example prints as a request, and the status that its comment names, or 200.
async fn try_next_line(example: &mut Example) {
    let mut line = String::new();
    example.output.read_line(&mut line).unwrap();
    let (command, comment) = line.split_once("  # ").unwrap_or((&line, ""));
    let expected = comment.trim().parse::<u16>().unwrap_or(200);
    let mut words = words(command.trim().strip_prefix("curl ").unwrap_or_else(|| panic!("{line:?}"))).into_iter();
    let (mut builder, mut body) = (Request::builder(), String::new());
    while let Some(word) = words.next() {
        builder = match word.as_str() {
            "-N" | "-i" => builder,
            "-d" => {
                body = words.next().unwrap();
                builder.method("POST")
            }
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                builder.header(name, value)
            }
            _ => builder.uri(word),
        };
    }
    assert_eq!(request(builder, body).await.status().as_u16(), expected, "{line}");
}

/// Splits a command as a shell does, as far as the examples need it: at spaces that are not in quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (n, part) in command.split('\'').enumerate() {
        if n % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (n, word) in part.split(' ').enumerate() {
            if n > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test]
async fn every_command_that_an_example_prints_works() {
    let folder = env::temp_dir().join(format!("tower-sse-examples-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let with_server: &[_] = if cfg!(feature = "server") { &[("minimal", 1), ("hardened", 1)] } else { &[] };
    for (name, commands) in [("hyper", 2), ("authorize", 4), ("file_backend", 2)].iter().chain(with_server) {
        // `file_backend` keeps its file there.
        let mut example = Example::start(name, &[("TMPDIR", folder.to_str().unwrap())]);
        for _ in 0..*commands {
            try_next_line(&mut example).await;
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}
