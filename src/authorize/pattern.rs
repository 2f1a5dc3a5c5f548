//! Which channels a token names: a name, every channel, or a template.

#[cfg(feature = "publish")]
use super::reserved;
use crate::wire::name::ChannelName;

/// Whether `pattern` matches the channel: it is the channel's name, it is `*`, or it is a template that can expand to the
/// name.
///
/// In a template, `{name}` stands for one or more characters, none of which is reserved in a URI ([RFC 6570,
/// 3.2.2](https://www.rfc-editor.org/rfc/rfc6570#section-3.2.2), with the values unencoded). No other expression has a
/// meaning: a pattern with one matches only a channel of exactly that name, as does one with a brace too many.
pub(crate) fn matches(pattern: &str, channel: &ChannelName) -> bool {
    let name = channel.as_str();
    pattern == "*" || pattern == name || parts(pattern).is_some_and(|parts| expands_to(&parts, name))
}

/// Whether `pattern` allows to publish to the channel. It has to [match](matches), and only the exact name matches a channel
/// in which the crate itself writes: an event there may tell a node what to do.
#[cfg(feature = "publish")]
pub(crate) fn allows_to_publish(pattern: &str, channel: &ChannelName) -> bool {
    pattern == channel.as_str() || (!reserved::is_reserved(channel) && matches(pattern, channel))
}

enum Part<'a> {
    Literal(&'a str),
    Variable,
}

/// Returns `None` if the pattern is not a template, or has an expression without a meaning.
fn parts(pattern: &str) -> Option<Vec<Part<'_>>> {
    let (mut parts, mut rest) = (Vec::new(), pattern);
    while let Some((literal, after)) = rest.split_once('{') {
        let (variable, after) = after.split_once('}')?;
        let is_name = !variable.is_empty() && variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || literal.contains('}') {
            return None;
        }
        parts.extend([Part::Literal(literal), Part::Variable]);
        rest = after;
    }
    parts.push(Part::Literal(rest));
    (parts.len() > 1 && !rest.contains('}')).then_some(parts)
}

/// Follows all ways to match at once: `reached` has the places in `name` that the parts so far can end at. So the work is
/// bounded by the product of the lengths, whatever the pattern.
fn expands_to(parts: &[Part<'_>], name: &str) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; name.len() + 1];
        match part {
            Part::Literal(literal) => {
                for at in (0..=name.len()).filter(|at| reached[*at]) {
                    if name.as_bytes()[at..].starts_with(literal.as_bytes()) {
                        next[at + literal.len()] = true;
                    }
                }
            }
            Part::Variable => {
                let mut is_inside = false;
                for (at, character) in name.char_indices() {
                    is_inside = (is_inside || reached[at]) && !is_reserved(character);
                    next[at + character.len_utf8()] = is_inside;
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

/// "reserved = gen-delims / sub-delims" ([RFC 3986, 2.2](https://www.rfc-editor.org/rfc/rfc3986#section-2.2)), and braces.
fn is_reserved(character: char) -> bool {
    ":/?#[]@!$&'()*+,;={}".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_a_name_every_name_or_what_its_template_expands_to() {
        let matches = |pattern: &str, name: &str| matches(pattern, &ChannelName::try_from(name).unwrap());
        for (pattern, name) in [
            ("room/1", "room/1"),
            ("*", "room/1"),
            ("room/{id}", "room/1"),
            ("room/{id}", "room/é ü-._~%2F"),
            ("{a}", "x"),
            ("{a}-{b}", "x-y-z"),
            ("{a}{b}", "xy"),
            ("{a}x/{b}", "yxx/z"),
            ("room/{id}/in", "room/in/in"),
            ("room/{+id}", "room/{+id}"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("room/1", "room/12"),
            ("Room/1", "room/1"),
            ("room/*", "room/1"),
            ("**", "room"),
            ("room/{id}", "room/"),
            ("room/{id}", "room/1/admin"),
            ("room/{id}", "room/1:admin"),
            ("room/{id}", "a room/1"),
            ("{a}{b}", "x"),
            ("{a}/{b}", "x/y/z"),
            ("room/{+id}", "room/1"),
            ("room/{id*}", "room/1"),
            ("room/{id,x}", "room/1"),
            ("room/{}", "room/1"),
            ("room/{id", "room/1"),
            ("room/id}", "room/1"),
            ("room/{{id}}", "room/1"),
            ("room/{id}}", "room/1}"),
            ("", "room"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[cfg(feature = "publish")]
    #[test]
    fn only_the_exact_name_of_a_channel_of_runs_allows_to_publish_to_it() {
        let allows = |pattern: &str, name: &str| allows_to_publish(pattern, &ChannelName::try_from(name).unwrap());
        for name in ["runs", "run/1", "run/a/b", "thread/1"] {
            for pattern in ["*", "{a}", "run/{id}", "run/{a}/{b}", "thread/{id}", "r{x}", "{a}/{b}"] {
                assert!(!allows(pattern, name), "{pattern} {name}");
            }
            assert!(allows(name, name), "{name}");
            assert!(matches("*", &ChannelName::try_from(name).unwrap()), "it can be read: {name}");
        }
        for name in ["runs/1", "run", "running", "thread", "threads", "a/run/1"] {
            assert!(allows("*", name), "{name}");
        }
        assert!(allows("room/{id}", "room/1") && !allows("room/{id}", "hall/1"));
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_work() {
        let (pattern, name) = ("{a}".repeat(2000) + "/", "x".repeat(255));
        assert!(!matches(&pattern, &ChannelName::try_from(name).unwrap()));
    }
}
