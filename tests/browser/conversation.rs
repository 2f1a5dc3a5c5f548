//! What a person does on the pages of the agent examples: asks, watches the answer, reloads the page, and opens it again in a
//! second tab.
//!
//! Each page has its own `last`: a JavaScript expression for its last answer, with the answer's `state` and `text`.

use fantoccini::wd::WindowHandle;
use serde_json::Value;

use crate::driver::Browser;

impl Browser {
    pub async fn ask(&self, prompt: &str) {
        self.fill("prompt", prompt).await;
        self.enter("prompt").await;
    }

    /// Waits until the last answer has this state and at least this length, and returns its text.
    pub async fn until_answer(&self, last: &str, state: &str, length: usize) -> String {
        let seen = format!("((last) => last?.state === '{state}' && last.text.length >= {length} && last)({last})");
        let Value::String(text) = self.until(&seen).await["text"].take() else { panic!("a text") };
        text
    }

    /// Reloads the page three times while an answer streams, and returns the answer once it has its final state and at
    /// least this length. Fails if the page loses something that it had.
    pub async fn until_answer_over_reloads(&self, last: &str, state: &str, length: usize) -> String {
        let mut before = String::new();
        for length in [100, 250, 400] {
            let text = self.until_answer(last, "streaming", length).await;
            assert!(text.starts_with(&before), "{text:?} does not begin with {before:?}");
            before = text;
            self.client.refresh().await.unwrap();
        }
        let text = self.until_answer(last, state, length).await;
        assert!(text.starts_with(&before), "{text:?} does not begin with {before:?}");
        text
    }

    /// Opens the page's address in a second tab and goes there. Returns the first tab and the second.
    pub async fn second_tab(&self) -> [WindowHandle; 2] {
        let (first, url) = (self.client.window().await.unwrap(), self.client.current_url().await.unwrap());
        let second = self.client.new_window(false).await.unwrap().handle;
        self.go_to(&second).await;
        self.open(url.as_str()).await;
        [first, second]
    }

    pub async fn go_to(&self, tab: &WindowHandle) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
    }
}
