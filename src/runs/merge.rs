//! Merging: events of a run that follow each other become one, by the rule of a dialect.

use std::borrow::Cow;

use super::dialect::{Delta, Dialect};
use crate::wire::{event::Event, name::EventName, parts::Parts};

/// The rule of a dialect. It belongs to the dialect's type.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    delta: for<'a> fn(Option<&str>, &'a str) -> Option<Delta<'a>>,
    with_text: for<'a> fn(&'a str, &str) -> Cow<'a, str>,
}

impl Rule {
    pub(super) fn of<D: Dialect>() -> Self {
        Self { delta: D::delta, with_text: D::with_text }
    }
}

/// A text that events have in common which follow each other.
pub(super) struct Merged {
    rule: Rule,
    name: Option<Box<str>>,
    of: String,
    pub(super) text: String,
    /// How many events it is made of.
    pub(super) count: usize,
}

/// Whether an event belongs to a merged text.
pub(super) enum Belongs {
    /// It does, and its text was added.
    Yes,
    /// It begins another one.
    Anew(Merged),
    /// It can't be merged with others.
    Never,
}

impl Merged {
    /// Begins with an event, if others can be merged with it.
    pub(super) fn begin(rule: Rule, parts: &Parts<'_>) -> Option<Self> {
        let Delta { of, text } = (rule.delta)(parts.name, &parts.data)?;
        Some(Self { rule, name: parts.name.map(Into::into), of: of.into_owned(), text: text.into_owned(), count: 1 })
    }

    /// Adds an event, if it belongs to the same text, and if that stays below `limit` bytes.
    pub(super) fn add(&mut self, parts: &Parts<'_>, limit: usize) -> Belongs {
        let Some(Delta { of, text }) = (self.rule.delta)(parts.name, &parts.data) else { return Belongs::Never };
        if of == self.of && parts.name == self.name.as_deref() && self.text.len() + text.len() <= limit {
            self.text += &text;
            self.count += 1;
            return Belongs::Yes;
        }
        let name = parts.name.map(Into::into);
        Belongs::Anew(Self { rule: self.rule, name, of: of.into_owned(), text: text.into_owned(), count: 1 })
    }

    /// Makes the event with the whole text. `last` is the last of those that it is made of.
    pub(super) fn event(&self, last: &Parts<'_>) -> Event {
        let event = Event::text((self.rule.with_text)(&last.data, &self.text));
        match self.name.as_deref().map(EventName::try_from) {
            Some(Ok(name)) => event.name(name),
            // It was a name before.
            Some(Err(_)) | None => event,
        }
    }
}
