//! Promise 2, one interleaving at a time: a reader that resumes gets each event once. `races.rs` has the others.

mod common;

use common::*;
use tower_sse::{Publisher, Retention};

#[test]
fn resuming_from_any_id_gives_each_later_event_once() {
    let publisher = Publisher::new();
    let ids: Vec<_> = (0..50)
        .map(|n| if n % 3 == 0 { send_to(&publisher, "a", "ana", n) } else { send(&publisher, "a", n) })
        .collect();
    for (n, id) in ids.iter().enumerate() {
        let rest: Vec<_> = (n + 1..50).map(|n| n.to_string()).collect();
        assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", id)), rest);
        let rest: Vec<_> = rest.into_iter().filter(|n| n.parse::<usize>().unwrap() % 3 != 0).collect();
        assert_eq!(texts(&mut resume(&publisher, &["a"], "", id)), rest);
    }
    assert_eq!(publisher.stats().gaps, 0);
}

#[test]
fn a_reader_that_reconnects_after_every_event_misses_none() {
    let publisher = Publisher::new();
    let mut id = live(&publisher, &["a", "b"], "ana").cursor().to_string();
    let mut seen = Vec::new();
    for n in 0..60 {
        send_to(&publisher, "b", "ana", format!("b{n}"));
        let mut reader = resume(&publisher, &["a", "b"], "ana", &id);
        send(&publisher, "a", format!("a{n}"));
        if n % 2 == 0 {
            let std::task::Poll::Ready(Some(delivery)) = poll(&mut reader) else { panic!("nothing to read") };
            seen.push(text(&delivery));
            id = common::id(&delivery);
        }
    }
    seen.extend(texts(&mut resume(&publisher, &["a", "b"], "ana", &id)));
    let expected: Vec<_> = (0..60).flat_map(|n| [format!("b{n}"), format!("a{n}")]).collect();
    assert_eq!(seen, expected);
}

#[test]
fn replay_turns_live_without_a_seam() {
    let publisher = Publisher::new();
    let id = send(&publisher, "a", "read");
    send(&publisher, "a", "held");
    let mut reader = resume(&publisher, &["a"], "", id);
    send(&publisher, "a", "between opening and reading");
    assert_eq!(texts(&mut reader), ["held", "between opening and reading"]);
    send(&publisher, "a", "live");
    assert_eq!(texts(&mut reader), ["live"]);
    assert_eq!(texts(&mut reader), [""; 0]);
}

#[test]
fn an_event_published_after_opening_is_delivered_however_late_it_is_read() {
    let publisher = Publisher::builder().retention(Retention::new().events(100)).build();
    let mut one = live(&publisher, &["a"], "");
    let mut many = live(&publisher, &["a", "b"], "");
    (0..100).for_each(|n| drop(send(&publisher, "a", n)));
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!((texts(&mut one), texts(&mut many)), (expected.clone(), expected));
}

#[test]
fn the_cursor_of_a_reader_that_read_nothing_resumes_too() {
    let publisher = Publisher::new();
    let fresh = live(&publisher, &["a"], "").cursor().to_string();
    send(&publisher, "a", "first");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", fresh)), ["first"]);
}
