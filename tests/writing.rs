//! Several events in one step, conditions and ends, as far as they are a matter of one process. What holds for every
//! backend is in `tests/backend`.

mod common;

use common::*;
use tower_sse::{Batch, Event, IdempotencyKey, Limits, Publisher, Retention};

fn keyed(n: usize) -> Event {
    Event::text("x").idempotency_key(IdempotencyKey::try_from(n.to_string()).unwrap())
}

#[test]
fn a_key_is_known_however_many_came_after_it_as_long_as_its_event_is_held() {
    let publisher = Publisher::builder().retention(Retention::new().events(20_000)).build();
    let (a, b) = (publisher.channel("a"), publisher.channel("b"));
    let first = ready(a.send(keyed(0))).unwrap();
    for n in 0..19_999 {
        ready(b.send(keyed(n))).unwrap();
    }
    let again = ready(a.send(keyed(0))).unwrap();
    assert_eq!((again.repeated, again.cursor), (true, first.cursor));
    assert!(ready(b.send(keyed(0))).unwrap().repeated);
    // With the events go the keys.
    let full = publisher.stats().held_bytes;
    close(&publisher, "b");
    assert!(publisher.stats().held_bytes < full * 2 / 3, "{} of {full}", publisher.stats().held_bytes);
}

#[test]
fn a_batch_for_too_many_clients_is_refused_as_a_whole() {
    let publisher = Publisher::builder().limits(Limits::new().lanes(3)).build();
    let channel = publisher.channel("a");
    let to =
        |clients: &[&str]| clients.iter().fold(Batch::new(), |batch, client| batch.event_to(*client, Event::text("x")));
    ready(channel.send_to("ana", Event::text("x"))).unwrap();
    assert!(ready(channel.send_all(to(&["ana", "bob", "cyd", "dan"]))).unwrap_err().is_limit());
    assert!(channel.recent_for("bob", 9).is_empty() && channel.recent_for("ana", 9).len() == 1);
    ready(channel.send_all(to(&["ana", "bob", "cyd", "bob"]))).unwrap();
    assert_eq!((channel.recent_for("bob", 9).len(), publisher.stats().published), (2, 5));
}

#[test]
fn a_batch_with_nothing_but_a_client_id_that_is_not_valid_is_refused() {
    let publisher = Publisher::new();
    let batch = Batch::new().event_to("two\nlines", Event::text("x"));
    assert!(ready(publisher.channel("a").send_all(batch)).unwrap_err().is_invalid_text());
    assert_eq!(publisher.stats().publish_refused, 1);
}

#[test]
fn an_ephemeral_event_is_only_sent_by_itself() {
    let publisher = Publisher::new();
    let channel = publisher.channel("a").fence(2);
    let typing = || Event::text("typing").ephemeral();
    let mut reader = live(&publisher, &["a"], "");
    assert!(ready(channel.send_all([Event::text("x"), typing()])).unwrap_err().is_ephemeral());
    assert!(ready(channel.send_if(None, typing())).unwrap_err().is_ephemeral());
    ready(channel.send(Event::text("1"))).unwrap();
    // It is not appended, and so not checked.
    ready(publisher.channel("a").fence(1).send(typing())).unwrap();
    ready(channel.send_all(Batch::from([Event::text("2"), typing()]).finish())).unwrap();
    let texts: Vec<_> = std::iter::from_fn(|| match poll(&mut reader) {
        std::task::Poll::Ready(delivery) => delivery.map(|delivery| text(&delivery)),
        std::task::Poll::Pending => panic!("it ends"),
    })
    .collect();
    assert_eq!(texts, ["1", "typing", "2", "typing"]);
    assert_eq!(channel.recent(9).len(), 3);
}

#[test]
fn a_channel_is_finished_outside_of_a_runtime() {
    let publisher = Publisher::new();
    publisher.channel("a").finish_detached(Event::text("done")).unwrap();
    publisher.channel("b").end_detached().unwrap();
    for channel in ["a", "b"] {
        assert!(ready(publisher.channel(channel).send(Event::text("x"))).unwrap_err().is_finished());
        // It is finished already.
        publisher.channel(channel).finish_detached(Event::text("again")).unwrap();
    }
    assert_eq!(publisher.channel("a").recent(9).len(), 1);
    assert!(publisher.channel("").end_detached().unwrap_err().is_invalid_text());
}

#[test]
fn batches_keep_the_hub_within_its_limit() {
    let limits = Limits::new().hub_bytes(1 << 20).event_bytes(10_000);
    let publisher = Publisher::builder().retention(Retention::new().events(100_000)).limits(limits).build();
    for n in 0..200 {
        let batch: Batch = (0..40).map(|_| Event::text("x".repeat(900))).collect();
        ready(publisher.channel(format!("channel{}", n % 7)).send_all(batch)).unwrap();
        assert!(publisher.stats().held_bytes <= 1 << 20, "{}", publisher.stats().held_bytes);
    }
}
