//! A query names the channels and the id that an independent parser finds in it.
#![no_main]

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use http::{HeaderMap, Request, StatusCode, Uri};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower::ServiceExt;
use tower_sse::{AuthorizeRequest, ChannelName, Denied, Grant, Publisher, SseLayer, authorizer_fn, last_event_id};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut target = b"/q?".to_vec();
    target.extend_from_slice(bytes);
    let Ok(uri) = Uri::try_from(target) else { return Corpus::Reject };
    let query = uri.query().unwrap_or_default();

    // The other parser keeps invalid encodings as they are, and replaces invalid UTF-8. There the answer is an error,
    // or the parameter is not one of ours.
    let sound = |text: &str| {
        let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        text.bytes().enumerate().all(|(at, byte)| byte != b'%' || (hex(at + 1) && hex(at + 2)))
    };
    let pairs = || {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(key, _)| sound(key)).map(|(key, value)| (decode(key), value))
    };
    let values = |name: &'static str| pairs().filter(move |(key, _)| key == name).map(|(_, value)| value);

    let id = last_event_id(&HeaderMap::new(), &uri);
    let spelt = |key: &str| key.replace(['-', '_'], "").eq_ignore_ascii_case("lasteventid");
    match pairs().filter(|(key, value)| spelt(key) && !value.is_empty()).last() {
        // In the page's own parameter, a goodbye's id stands for the position that it contains.
        Some((key, last)) if sound(last) => {
            let id = String::from_utf8_lossy(id.as_deref().unwrap_or_default()).into_owned();
            let reopened = key == "last_event_id" && format!("{id}-end") == decode(last);
            assert!(id == decode(last) || reopened, "{id:?} for {last:?}");
        }
        Some(_) => {}
        None => assert_eq!(id, None),
    }

    let asked = Arc::new(Mutex::new(None));
    let seen = asked.clone();
    let authorizer = authorizer_fn(move |request: AuthorizeRequest| {
        *seen.lock().unwrap() = Some(request.channels().to_vec());
        async { Err::<Grant, _>(Denied::forbidden()) }
    });
    let layer = SseLayer::new(Publisher::new()).route("/q").unwrap().authorizer(authorizer);
    let request = Request::get(uri.clone()).body(()).unwrap();
    let answer: Result<_, Infallible> = layer.into_service().oneshot(request).now_or_never().expect("nothing waits");
    let status = answer.unwrap().status();

    let named: Vec<&str> = values("channel").collect();
    let names: Option<Vec<ChannelName>> = named
        .iter()
        .map(|value| {
            let name = decode(value).into_owned();
            (sound(value) && is_utf8(value)).then(|| ChannelName::try_from(name).ok()).flatten()
        })
        .collect();
    match names {
        // A name that occurs twice counts once.
        Some(mut names) if !names.is_empty() => {
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
            if names.len() > 100 {
                assert_eq!(status, StatusCode::BAD_REQUEST);
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN);
                assert_eq!(asked.lock().unwrap().take(), Some(names));
            }
        }
        _ => assert_eq!(status, StatusCode::BAD_REQUEST),
    }
    Corpus::Keep
});

/// Decodes a text of `application/x-www-form-urlencoded`.
fn decode(text: &str) -> Cow<'_, str> {
    // The text has no `&`. As the value of an empty name it is not split at a `=`.
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    let Some((key, value)) = pair else { return "".into() };
    if text.contains('=') { Cow::Owned(format!("{key}={value}")) } else { key }
}

/// Whether the bytes that a valid encoding stands for are UTF-8.
fn is_utf8(text: &str) -> bool {
    let mut bytes = text.bytes();
    let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16)).unwrap_or_default();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => u8::try_from(hex(bytes.next()) * 16 + hex(bytes.next())).expect("two digits"),
            byte => byte,
        });
    }
    std::str::from_utf8(&decoded).is_ok()
}
