//! Finds a text in an event that is a JSON object, without parsing the rest of it. JSON that is not valid has no text.

use std::{borrow::Cow, ops::Range};

use super::Delta;

/// Returns the delta of an event whose text is the string at `path`. The text is as it stands in the JSON, escapes and all:
/// such texts can be put together like any others. The event's other members have to be those of the event before it, but
/// for those named in `varies`, whose values are that event's own.
pub(super) fn delta<'a>(json: &'a str, path: &[&str], varies: &[&str]) -> Option<Delta<'a>> {
    let text = string_at(json, path)?;
    let mut of = String::with_capacity(json.len() - text.len());
    if varies.is_empty() {
        of += &json[..text.start];
        of += &json[text.end..];
        return Some(Delta::new(of, &json[text]));
    }
    let mut cuts: Vec<_> = varies.iter().filter_map(|key| value_at(json, &[key])).chain([text.clone()]).collect();
    cuts.sort_unstable_by_key(|cut| cut.start);
    let mut kept = 0;
    for cut in cuts {
        of += json.get(kept..cut.start)?;
        kept = cut.end;
    }
    of += &json[kept..];
    Some(Delta::new(of, &json[text]))
}

/// Returns `json` with another text, in the form of [`delta`], at `path`.
pub(super) fn with_text<'a>(json: &'a str, path: &[&str], text: &str) -> Cow<'a, str> {
    match string_at(json, path) {
        Some(old) => [&json[..old.start], text, &json[old.end..]].concat().into(),
        None => json.into(),
    }
}

/// Returns the string at `path`, as it stands in the JSON.
pub(super) fn string<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    string_at(json, path).map(|found| &json[found])
}

/// Returns the value at `path`, as it stands in the JSON.
pub(super) fn value<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    value_at(json, path).map(|found| &json[found])
}

/// Whether the object at `path` has members, and none but these.
pub(super) fn has_only(json: &str, path: &[&str], members: &[&str]) -> bool {
    let bytes = json.as_bytes();
    let Some(object) = value_at(json, path).filter(|object| bytes[object.start] == b'{') else { return false };
    let mut at = object.start + 1;
    while let Some((key, _, end)) = member(bytes, at)
        && members.iter().any(|member| member.as_bytes() == key)
    {
        if bytes[end] == b'}' {
            return true;
        }
        at = end + 1;
    }
    false
}

/// Whether the array at `path` has one element.
pub(super) fn has_one(json: &str, path: &[&str]) -> bool {
    let bytes = json.as_bytes();
    let end = |at| skip_value(bytes, skip_space(bytes, at));
    value_at(json, path).is_some_and(|value| {
        bytes[value.start] == b'[' && end(value.start + 1).is_some_and(|end| skip_space(bytes, end) + 1 == value.end)
    })
}

/// Returns where the string at `path` is, without its quotes. A step of the path is the key of an object, or `0` for the
/// first element of an array.
fn string_at(json: &str, path: &[&str]) -> Option<Range<usize>> {
    let value = value_at(json, path)?;
    json[value.clone()].starts_with('"').then(|| value.start + 1..value.end - 1)
}

fn value_at(json: &str, path: &[&str]) -> Option<Range<usize>> {
    let bytes = json.as_bytes();
    let at = path.iter().try_fold(skip_space(bytes, 0), |at, step| match bytes.get(at)? {
        b'{' => find(bytes, at + 1, step.as_bytes()),
        b'[' if *step == "0" => Some(skip_space(bytes, at + 1)),
        _ => None,
    })?;
    Some(at..skip_value(bytes, at)?)
}

/// Returns where the value of a key is. `at` is right after the object's brace.
fn find(bytes: &[u8], mut at: usize, wanted: &[u8]) -> Option<usize> {
    loop {
        let (key, value, end) = member(bytes, at)?;
        if key == wanted {
            return Some(value);
        }
        at = (bytes[end] == b',').then_some(end + 1)?;
    }
}

/// Returns a member of an object: its key, where its value is, and where the comma or the brace after it is.
fn member(bytes: &[u8], at: usize) -> Option<(&[u8], usize, usize)> {
    let at = skip_space(bytes, at);
    let end = skip_string(bytes, at)?;
    let colon = skip_space(bytes, end);
    let value = skip_space(bytes, (bytes.get(colon)? == &b':').then_some(colon + 1)?);
    let after = skip_space(bytes, skip_value(bytes, value)?);
    matches!(bytes.get(after)?, b',' | b'}').then_some((&bytes[at + 1..end - 1], value, after))
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    bytes[at.min(bytes.len())..].iter().position(|byte| !byte.is_ascii_whitespace()).map_or(bytes.len(), |n| at + n)
}

/// Returns where the value ends that begins at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => skip_nested(bytes, at),
        b',' | b'}' | b']' | b':' => None,
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            Some(bytes[at..].iter().position(ends).map_or(bytes.len(), |n| at + n))
        }
    }
}

fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Returns where the string ends that begins with the quote at `at`, after its last quote.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = (bytes.get(at)? == &b'"').then_some(at + 1)?;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_where_the_path_leads() {
        let json = r#" { "a" : [ { "b" : "\"}" , "text" : "x\\" } , 7 ], "n": -1.5e3 ,"s":"" }"#;
        let text = |path: &[&str]| string_at(json, path).map(|found| &json[found]);
        assert_eq!(text(&["a", "0", "b"]), Some(r#"\"}"#));
        assert_eq!(text(&["a", "0", "text"]), Some(r"x\\"));
        assert_eq!(text(&["s"]), Some(""));
        for path in [&["a"][..], &["n"], &["none"], &["a", "1"], &["s", "0"], &["a", "0", "none"], &[]] {
            assert_eq!(text(path), None, "{path:?}");
        }
    }

    #[test]
    fn an_object_has_only_the_members_that_are_named() {
        let json = r#"{ "a" : [ { "b" : 1 , "c" : "}" } ] , "d" : {} }"#;
        let only = |path: &[&str], members: &[&str]| has_only(json, path, members);
        assert!(only(&["a", "0"], &["c", "b", "x"]) && only(&[], &["a", "d"]));
        assert!(!only(&["a", "0"], &["b"]) && !only(&[], &["a"]) && !only(&["a"], &["0"]) && !only(&["x"], &["x"]));
        assert!(!only(&["d"], &[]) && !has_only(r#"{"a":1 "b":2}"#, &[], &["a"]));
    }

    #[test]
    fn an_array_has_one_element() {
        let json = r#"{ "one" : [ { "a" : [ 1 , 2 ] } ] , "two" : [1,2], "none": [ ], "number": 1 }"#;
        let one = |path: &[&str]| has_one(json, path);
        assert!(one(&["one"]) && has_one("[[]]", &[]));
        assert!(!one(&["two"]) && !one(&["none"]) && !one(&["number"]) && !one(&["x"]) && !one(&["one", "0", "a"]));
    }

    #[test]
    fn json_that_is_cut_off_anywhere_has_no_text_after_that() {
        let json = r#"{"a":[{"b":"\"}"}],"c":{"d":"text"}}"#;
        assert!(string_at(json, &["c", "d"]).is_some());
        for end in 0..json.len() - 2 {
            let found = string_at(&json[..end], &["c", "d"]);
            assert!(found.is_none(), "{}", &json[..end]);
        }
        for json in
            ["", "{", "]", "{}", "{]", "[", "\"", "{\"c\"", "{\"c\"}", "{\"c\":}", "{,", "null", "{\"c\":{\"d\":\"\\"]
        {
            assert!(string_at(json, &["c", "d"]).is_none() && value_at(json, &["c", "d"]).is_none(), "{json}");
        }
    }

    #[test]
    fn a_delta_is_of_what_its_other_members_say_but_for_those_that_vary() {
        let of = |json| delta(json, &["delta"], &["n"]).map(|delta| (delta.of.into_owned(), delta.text.into_owned()));
        let first = of(r#"{"n":1,"delta":"a\n","id":7}"#).unwrap();
        assert_eq!(first.1, r"a\n");
        assert_eq!(first.0, of(r#"{"n":22,"delta":"","id":7}"#).unwrap().0);
        assert_ne!(first.0, of(r#"{"n":1,"delta":"a\n","id":8}"#).unwrap().0);
        assert_eq!(with_text(r#"{"n":22,"delta":"b"}"#, &["delta"], r"a\nb"), r#"{"n":22,"delta":"a\nb"}"#);
    }
}
