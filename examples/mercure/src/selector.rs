//! Topic selectors: `*`, which matches all topics, and the kinds of both versions of the protocol.

use std::{fmt::Write as _, str::FromStr as _};

use regex::{Regex, RegexBuilder};
use url::Url;
use urlpattern::{UrlPattern, UrlPatternInit, UrlPatternMatchInput};

use crate::MAX_TOPICS;

/// What a selector is, other than `*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A topic, or a URI template ([RFC 6570](https://www.rfc-editor.org/rfc/rfc6570)) that can expand to it: all selectors of
    /// version 0.x.
    Template,
    /// A topic.
    Exact,
    /// A [URL Pattern](https://urlpattern.spec.whatwg.org).
    UrlPattern,
}

/// The most bytes that a template takes once it is compiled. A larger one is a topic.
const LARGEST: usize = 1 << 18;
/// The longest URL Pattern.
const LONGEST_PATTERN: usize = 1024;
/// What a relative pattern is resolved against, and a relative topic. Relative ones match each other, wherever the hub is.
const BASE: &str = "https://localhost/.well-known/mercure";
/// The most variables of an expression.
const MAX_VARIABLES: usize = 8;

pub(crate) struct Selectors(Vec<Selector>);

enum Selector {
    All,
    Topic(String),
    Template { text: String, expansions: Regex },
    Pattern(Box<UrlPattern>),
}

impl Selectors {
    /// Fails if there are too many, or if one is malformed.
    pub(crate) fn new(selectors: impl IntoIterator<Item = (Kind, String)>) -> Result<Self, String> {
        let selectors: Vec<_> = selectors.into_iter().take(MAX_TOPICS + 1).collect();
        match selectors.len() {
            ..=MAX_TOPICS => {
                selectors.into_iter().map(|(kind, text)| Selector::new(kind, text)).collect::<Result<_, _>>().map(Self)
            }
            _ => Err(format!("there are more than {MAX_TOPICS} topic selectors")),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|selector| selector.matches(topic))
    }

    pub(crate) fn match_any(&self, topics: &[String]) -> bool {
        topics.iter().any(|topic| self.matches(topic))
    }
}

impl Selector {
    fn new(kind: Kind, text: String) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        Ok(match kind {
            Kind::Exact => Self::Topic(text),
            Kind::Template => match expansions(&text) {
                Some(expansions) => Self::Template { text, expansions },
                None => Self::Topic(text),
            },
            Kind::UrlPattern => Self::Pattern(Box::new(url_pattern(&text)?)),
        })
    }

    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Topic(text) => text == topic,
            // "If the topic selector and the string are exactly the same, the string matches the selector. This allows
            // comparison of a URI Template with another one."
            Self::Template { text, expansions } => text == topic || expansions.is_match(topic),
            // "A topic that cannot be parsed as a URL reference against the hub's URL cannot be matched by a URL pattern."
            Self::Pattern(pattern) => {
                let topic = Url::options().base_url(Url::from_str(BASE).ok().as_ref()).parse(topic);
                topic.is_ok_and(|topic| pattern.test(UrlPatternMatchInput::Url(topic)).unwrap_or(false))
            }
        }
    }
}

fn url_pattern(text: &str) -> Result<UrlPattern, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("a URL Pattern has more than {LONGEST_PATTERN} bytes"));
    }
    let init = UrlPatternInit::parse_constructor_string::<Regex>(text, Url::from_str(BASE).ok());
    let pattern = init.and_then(|init| <UrlPattern>::parse(init, Default::default()));
    pattern.map_err(|error| format!("{text}: {error}"))
}

fn expansions(template: &str) -> Option<Regex> {
    RegexBuilder::new(&pattern(template)?).size_limit(LARGEST).build().ok()
}

/// The expansions of a template as a regular expression, or `None` if it is not a template. Any variable may be undefined.
fn pattern(template: &str) -> Option<String> {
    let (mut pattern, mut rest) = ("^".to_owned(), template);
    while let Some((literal, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}')?;
        if literal.contains('}') {
            return None;
        }
        pattern.push_str(&regex::escape(literal));
        pattern.push_str(&self::expression(expression)?);
        rest = after;
    }
    if rest.contains('}') || pattern.len() == 1 {
        return None;
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    Some(pattern)
}

/// How an operator expands its variables ([RFC 6570, appendix A](https://www.rfc-editor.org/rfc/rfc6570#appendix-A)).
struct Operator {
    first: &'static str,
    separator: &'static str,
    is_named: bool,
    /// Whether `name` stands for an empty value, and not `name=`.
    omits_equals: bool,
    /// What a value consists of.
    value: &'static str,
}

/// "unreserved / pct-encoded"
const UNRESERVED: &str = "(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})";
/// "unreserved / reserved / pct-encoded"
const ANY: &str = r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})";

fn expression(expression: &str) -> Option<String> {
    let simple = Operator { first: "", separator: ",", is_named: false, omits_equals: false, value: UNRESERVED };
    let (operator, variables) = match expression.as_bytes().first()? {
        b'+' => (Operator { value: ANY, ..simple }, &expression[1..]),
        b'#' => (Operator { first: "#", value: ANY, ..simple }, &expression[1..]),
        b'.' => (Operator { first: r"\.", separator: r"\.", ..simple }, &expression[1..]),
        b'/' => (Operator { first: "/", separator: "/", ..simple }, &expression[1..]),
        b';' => {
            (Operator { first: ";", separator: ";", is_named: true, omits_equals: true, ..simple }, &expression[1..])
        }
        b'?' => (Operator { first: r"\?", separator: "&", is_named: true, ..simple }, &expression[1..]),
        b'&' => (Operator { first: "&", separator: "&", is_named: true, ..simple }, &expression[1..]),
        _ => (simple, expression),
    };
    let variables: Vec<_> = variables.split(',').map(|variable| operator.variable(variable)).collect::<Option<_>>()?;
    (variables.len() <= MAX_VARIABLES).then(|| operator.some_of(&variables))
}

impl Operator {
    /// Some of the variables, in their order: those that are defined.
    fn some_of(&self, variables: &[String]) -> String {
        let mut pattern = format!("(?:{}(?:", self.first);
        for (at, variable) in variables.iter().enumerate() {
            let or = if at == 0 { "" } else { "|" };
            pattern += or;
            pattern += variable;
            variables[at + 1..].iter().for_each(|later| _ = write!(pattern, "(?:{}{later})?", self.separator));
        }
        pattern + "))?"
    }

    /// The expansions of one variable: of a string, a list, or an associative array.
    fn variable(&self, variable: &str) -> Option<String> {
        let Self { separator, value, .. } = self;
        let (name, explodes, max) = match (variable.strip_suffix('*'), variable.split_once(':')) {
            (Some(name), _) => (name, true, None),
            (None, Some((name, max))) => (name, false, Some(max.parse::<u16>().ok().filter(|max| *max < 10_000)?)),
            (None, None) => (variable, false, None),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' || byte == b'%';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        Some(match (explodes, max, self.is_named) {
            (false, None, false) => format!("{value}*(?:,{value}*)*"),
            (false, None, true) => self.named(&regex::escape(name), &format!("{value}*(?:,{value}*)*")),
            (false, Some(max), false) => format!("{value}{{0,{max}}}"),
            (false, Some(max), true) => self.named(&regex::escape(name), &format!("{value}{{0,{max}}}")),
            (true, _, false) => format!("{value}*(?:={value}*)?(?:{separator}{value}*(?:={value}*)?)*"),
            (true, _, true) => {
                let pair = self.named(&format!("{value}+"), &format!("{value}*"));
                format!("{pair}(?:{separator}{pair})*")
            }
        })
    }

    fn named(&self, name: &str, value: &str) -> String {
        if self.omits_equals { format!("{name}(?:={value})?") } else { format!("{name}={value}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, topics: &[&str], others: &[&str]) {
        check_kind(Kind::Template, selector, topics, others);
    }

    #[track_caller]
    fn check_kind(kind: Kind, selector: &str, topics: &[&str], others: &[&str]) {
        let selectors = Selectors::new([(kind, selector.to_owned())]).unwrap();
        topics.iter().for_each(|topic| assert!(selectors.matches(topic), "{selector} {topic}"));
        others.iter().for_each(|topic| assert!(!selectors.matches(topic), "{selector} {topic}"));
    }

    #[test]
    fn a_selector_matches_its_own_text_and_the_star_matches_everything() {
        check("*", &["a", "https://example.net/{id}", ""], &[]);
        check("https://example.net/a.b", &["https://example.net/a.b"], &["https://example.net/aXb", "a"]);
        check("/books/{id}", &["/books/{id}"], &["/books/{x}"]);
    }

    #[test]
    fn a_template_matches_what_it_expands_to() {
        check(
            "/books/{id}",
            &["/books/1", "/books/a%20b", "/books/a,b", "/books/"],
            &["/books/1/x", "/books", "x/books/1"],
        );
        check("/{a}-{b}", &["/x-y"], &["/x", "/x/-y"]);
        check("/books{/id}", &["/books", "/books/1"], &["/books1", "/books/1/2"]);
        check("/books{/id*}", &["/books/1/2"], &["/books/1?2"]);
        check("/files/{+path}", &["/files/a/b?c#d"], &["/files/é", "/file"]);
        check("/page{#part}", &["/page#a/b", "/page"], &["/page/a"]);
        check("/x{.kind}", &["/x.json", "/x"], &["/xjson"]);
        check("/x{;a,b}", &["/x;a=1;b=2", "/x;a", "/x;b=2", "/x"], &["/x;b=2;a=1", "/x;c=1"]);
        check(
            "/x/{?topic}",
            &["/x/?topic=https%3A%2F%2Fe", "/x/"],
            &["/x/?topic=a/b", "/x/?other=1", "/x/?topic=a&b=c"],
        );
        check("/x{?a,b}{&c*}", &["/x?a=1&b=2&c=3&d=4", "/x?b=2"], &["/x?b=2&a", "/x?"]);
        check("/{id:3}", &["/abc"], &["/abcd"]);
    }

    #[test]
    fn what_is_not_a_template_is_a_topic() {
        for text in ["{", "}", "{}", "a{b", "a}b", "{a}}", "{{a}}", "{=a}", "{a b}", "{a:0x}", "{a:10000}", "{a:9999}"]
        {
            check(text, &[text], &["", "a", "ab", "x"]);
        }
    }

    #[test]
    fn a_hostile_selector_takes_bounded_memory_and_time() {
        let long = "{a*}".repeat(10_000);
        check(&long, &[&long], &["x"]);
        check("{a}{b}{c}{d}{e}{f}x", &[], &[&"a".repeat(100_000)]);
        let many = vec![(Kind::Exact, "a".to_owned()); MAX_TOPICS + 1];
        assert!(Selectors::new(many).is_err());
    }

    #[test]
    fn an_exact_selector_matches_its_own_text_only() {
        check_kind(Kind::Exact, "/books/{id}", &["/books/{id}"], &["/books/1"]);
        check_kind(Kind::Exact, "/books/:id", &["/books/:id"], &["/books/1"]);
        check_kind(Kind::Exact, "*", &["a"], &[]);
    }

    #[test]
    fn a_url_pattern_matches_urls_and_relative_ones_against_the_same_base() {
        let id = "https://example.com/books/:id";
        check_kind(
            Kind::UrlPattern,
            id,
            &["https://example.com/books/1"],
            &["https://example.com/books/1/x", "/books/1", "1"],
        );
        check_kind(
            Kind::UrlPattern,
            "https://example.com/users/42/*",
            &["https://example.com/users/42/a/b"],
            &["https://example.com/users/43/a"],
        );
        check_kind(
            Kind::UrlPattern,
            "/books/:id",
            &["/books/1"],
            &["https://example.com/books/1", "http://[", "/Books/1"],
        );
        check_kind(Kind::UrlPattern, "*", &["no URL"], &[]);
        for malformed in ["https://example.com/(", "https://example.com/:a:a", &"/x".repeat(1000)] {
            assert!(Selectors::new([(Kind::UrlPattern, malformed.to_owned())]).is_err(), "{malformed}");
        }
    }
}
