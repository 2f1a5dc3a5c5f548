//! Promise 4: a targeted event reaches the connections of its client and nobody else, whatever others ask for.

mod common;

use common::*;
use tower_sse::{CustomId, Event, GapReason, OpenOptions, Publisher, Retention, Start};

#[test]
fn a_live_targeted_event_reaches_every_connection_of_its_client_and_no_other() {
    let publisher = Publisher::new();
    let mut readers: Vec<_> = ["ana", "ana", "bob", ""].map(|client| live(&publisher, &["a"], client)).into();
    let mut many: Vec<_> = ["ana", "bob", ""].map(|client| live(&publisher, &["a", "b"], client)).into();
    let sent = try_send(&publisher, "a", Some("ana"), "secret").unwrap();
    assert_eq!(sent.reached, 3);
    let read: Vec<_> = readers.iter_mut().map(|reader| texts(reader).len()).collect();
    assert_eq!(read, [1, 1, 0, 0]);
    let read: Vec<_> = many.iter_mut().map(|reader| texts(reader).len()).collect();
    assert_eq!(read, [1, 0, 0]);
}

#[test]
fn a_replayed_targeted_event_reaches_its_client_only() {
    let publisher = Publisher::new();
    let before = live(&publisher, &["a"], "").cursor().to_string();
    send_to(&publisher, "a", "ana", "secret");
    let id = send(&publisher, "a", "all");
    for client in ["bob", "", "Ana", "ana ", "an"] {
        assert_eq!(texts(&mut resume(&publisher, &["a"], client, &before)), ["all"], "{client:?}");
        assert_eq!(texts(&mut resume(&publisher, &["b", "a"], client, &before)), ["all"], "{client:?}");
        assert_eq!(texts(&mut earliest(&publisher, &["a"], client)), ["all"], "{client:?}");
        assert_eq!(texts(&mut resume(&publisher, &["a"], client, with_offset(&id, 1))), ["all"], "its own id");
        assert_eq!(texts(&mut resume(&publisher, &["a"], client, "garbage")), ["gap:unknown-id", "all"]);
    }
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", &before)), ["secret", "all"]);
}

#[test]
fn a_start_at_the_last_n_does_not_count_the_events_of_others() {
    let publisher = Publisher::new();
    send(&publisher, "a", "all");
    (0..5).for_each(|_| drop(send_to(&publisher, "a", "ana", "secret")));
    let last =
        |client| ready(OpenOptions::new().start(Start::Last(2)).open(&publisher, grant(&["a"], client), None)).unwrap();
    assert_eq!(texts(&mut last("bob")), ["all"]);
    assert_eq!(texts(&mut last("ana")), ["secret", "secret"]);
}

#[test]
fn recent_leaves_out_targeted_events_of_others() {
    let publisher = Publisher::new();
    let channel = publisher.channel("a");
    send(&publisher, "a", "all");
    send_to(&publisher, "a", "ana", "secret");
    let data = |events: Vec<tower_sse::EncodedEvent>| events.iter().map(|event| event.data()).collect::<Vec<_>>();
    assert_eq!(data(channel.recent(10)), ["all"]);
    assert_eq!(data(channel.recent_for("bob", 10)), ["all"]);
    assert_eq!(data(channel.recent_for("ana", 10)), ["all", "secret"]);
    assert_eq!(data(channel.recent_for("ana", 1)), ["secret"]);
}

#[test]
fn the_custom_id_of_anothers_event_resolves_to_nothing() {
    let publisher = Publisher::new();
    let id = CustomId::from_static("order-1");
    let first = send(&publisher, "a", "all");
    ready(publisher.channel("a").send_to("ana", Event::text("secret").id(id))).unwrap();
    for client in ["bob", ""] {
        let mut reader = resume(&publisher, &["a"], client, "order-1");
        // The same answer as for an id that does not exist, so that nobody learns whether it does.
        assert_gap(&gap(&mut reader), GapReason::UnknownId, Some("order-1"), Some(&first));
        assert_eq!(texts(&mut reader), ["all"]);
    }
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", "order-1")), [""; 0]);
}

#[test]
fn a_reused_lane_keeps_nothing_of_its_former_client() {
    let publisher = Publisher::builder().retention(Retention::new().events(1)).build();
    for n in 0..20 {
        let (client, other) = (format!("client{n}"), format!("client{}", n + 1));
        send_to(&publisher, "a", &client, &client);
        assert_eq!(texts(&mut earliest(&publisher, &["a"], &client)), [client.as_str()]);
        assert_eq!(texts(&mut earliest(&publisher, &["a"], &other)), [""; 0]);
        send(&publisher, "a", "evicts it");
    }
}
