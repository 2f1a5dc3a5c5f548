//! Streams that parsers get wrong, and what they mean by the standard
//! ([9.2.6](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)): the cases of
//! the web-platform-tests' `eventsource/format-*` and `event-data`, in streams of our own.

/// What the case is about, the stream, and its events: name, data, last event id.
pub type Case = (&'static str, &'static [u8], &'static [(&'static str, &'static str, &'static str)]);

pub const CASES: &[Case] = &[
    (
        "one byte order mark at the start is dropped, one later is part of a field's name",
        b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n",
        &[("message", "a", ""), ("message", "c", "")],
    ),
    (
        "of two byte order marks the second is part of a field's name",
        b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
        &[("message", "b", "")],
    ),
    ("a byte order mark in data stays", b"data: \xef\xbb\xbfa\n\n", &[("message", "\u{feff}a", "")]),
    (
        "comments are nothing, whatever they hold and end in",
        b"data: a\r:\0\n:\r\ndata: b\n: data: no\r:data: no\ndata: c\n\n",
        &[("message", "a\nb\nc", "")],
    ),
    ("lines end in CR, LF and CRLF", b"data: a\r\ndata\ndata: b\r\n\r", &[("message", "a\n\nb", "")]),
    ("CRLF is one end and not two", b"data: a\r\n\r\ndata: b\r\n\r\n", &[("message", "a", ""), ("message", "b", "")]),
    (
        "an empty data line is data, and so is one without a colon",
        b"data:\n\ndata\ndata\n\ndata: a\n\n",
        &[("message", "", ""), ("message", "\n", ""), ("message", "a", "")],
    ),
    (
        "one space after the colon is dropped, and no tab",
        b"data:  a\ndata:\tb\ndata: \n\n",
        &[("message", " a\n\tb\n", "")],
    ),
    (
        "names of fields are compared exactly",
        b"Data: no\ndata\0: no\n data: no\ndata_: no\nda-ta: no\ndata : no\ndata: a\n\n",
        &[("message", "a", "")],
    ),
    ("unknown fields are nothing", b"data: a\nfoo: b\nbar\n:\ndata: c\n\n", &[("message", "a\nc", "")]),
    ("NUL is data like any other", b"data: \0\n\n\n\n", &[("message", "\0", "")]),
    (
        "a name is for one event, and the last one counts",
        b"event: x\nevent: y\ndata: a\n\ndata: b\n\n",
        &[("y", "a", ""), ("message", "b", "")],
    ),
    ("an empty name is none", b"event: x\nevent: \ndata: a\n\n", &[("message", "a", "")]),
    (
        "a block without data is no event, and its name is forgotten",
        b"event: x\n\ndata: a\n\n",
        &[("message", "a", "")],
    ),
    (
        "an id stays until there is another, and an empty one ends it",
        b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid: 2\n\ndata: d\n\n",
        &[("message", "a", "1"), ("message", "b", "1"), ("message", "c", ""), ("message", "d", "2")],
    ),
    ("an id with NUL is none", b"id: 1\nid: 2\x003\ndata: a\n\n", &[("message", "a", "1")]),
    ("an id is not trimmed", "id:  é \ndata: a\n\n".as_bytes(), &[("message", "a", " é ")]),
    ("a retry that is no number is nothing", b"retry: 1\nretry: 1000x\nretry:\ndata: a\n\n", &[("message", "a", "")]),
    ("the encoding is UTF-8", "data: é 🦀 …\n\n".as_bytes(), &[("message", "é 🦀 …", "")]),
    ("what is no UTF-8 is replaced", b"data: \xff\xc3(\n\n", &[("message", "\u{fffd}\u{fffd}(", "")]),
    ("what has no blank line at the end is no event", b"data: a\n\nid: 1\ndata: b\n", &[("message", "a", "")]),
];
