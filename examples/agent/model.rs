//! Stands in for a model: it says what it is told to say, one token after the other.

use std::{env, error::Error, fmt, time::Duration, vec};

use tokio::time::sleep;

/// An answer that is being written.
pub struct Answer {
    tokens: vec::IntoIter<String>,
    pace: Duration,
    fails: bool,
}

/// The model can't go on.
#[derive(Debug)]
pub struct Overloaded;

/// Answers a prompt. One that asks for something long gets something long, and one that asks for a failure gets half an answer.
pub fn answer(prompt: &str) -> Answer {
    let asks_for = |word: &str| prompt.to_lowercase().contains(word);
    let text = if asks_for("long") { story() } else { ABOUT.replace("{prompt}", &start_of(prompt)) };
    let mut tokens = tokens(&text);
    let fails = asks_for("fail");
    if fails {
        tokens.truncate(tokens.len() / 3);
    }
    let pace = env::var("TOKEN_MS").ok().and_then(|millis| millis.parse().ok()).unwrap_or(30);
    Answer { tokens: tokens.into_iter(), pace: Duration::from_millis(pace), fails }
}

impl Answer {
    /// The next token, or why there is none; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<String, Overloaded>> {
        sleep(self.pace).await;
        match self.tokens.next() {
            Some(token) => Some(Ok(token)),
            None if self.fails => Some(Err(Overloaded)),
            None => None,
        }
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The model is overloaded. (You asked it to be.)")
    }
}

impl Error for Overloaded {}

const ABOUT: &str = "\
You asked: “{prompt}” I am only a fake model, so I can’t tell you much about that. But I can tell you how these words reach you.

This answer is a run. It is written by a task on the server, into a channel of its own, and this page is merely one of its \
readers. The run does not notice when a reader leaves, and a reader that comes back gets exactly what it has missed: no token \
is lost, and none comes twice.

So try to lose it. Reload the page while I am still writing. Open the same chat in a second tab, or on your phone: both show \
the same words at the same time. Press Stop over there, and I stop here as well.

You can even kill the server. What a dead server was about to say, nobody knows; but this page will tell you so, instead of \
passing half an answer off as a whole one.";

fn story() -> String {
    let mut story = String::from("A long story, then. You may want to stop me at some point.");
    for day in 1..=400 {
        let happened = HAPPENED[day % HAPPENED.len()];
        story += &format!("\n\nOn day {day} {happened}");
    }
    story
}

const HAPPENED: [&str; 7] = [
    "the lighthouse keeper wrote one sentence into her log, tore out the page, and wrote it again.",
    "a ship passed in the fog. It asked for nothing, and so it got an answer at once.",
    "the wind turned, and with it every weathercock in the village except for the one on the church.",
    "a letter arrived that had been on its way for longer than its sender had lived.",
    "the lamp went out twice. Both times somebody on the water noticed before the keeper did.",
    "three gulls sat on the railing, and none of them knew the other two had been there all morning.",
    "nothing happened at all, which took up most of the day.",
];

/// As models do it: the end of a word may be a token of its own.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for word in text.split_inclusive(' ') {
        let letters: Vec<char> = word.chars().collect();
        tokens.extend(letters.chunks(6).map(String::from_iter));
    }
    tokens
}

fn start_of(prompt: &str) -> String {
    let mut start: String = prompt.chars().take(200).collect();
    if start.len() < prompt.len() {
        start.push('…');
    }
    start
}
