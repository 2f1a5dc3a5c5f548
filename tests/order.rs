//! Promise 1: a subscription sees strictly increasing offsets, with broadcast and targeted events in publish order, and
//! one id resumes any set of channels.

mod common;

use common::*;
use tower_sse::{Delivery, Publisher};

/// Publishes forty events on three channels, every third of a channel for Ana, every fourth for Bob. Returns whom each
/// is for, and its id.
fn mixed(publisher: &Publisher) -> Vec<(&'static str, &'static str, String, String)> {
    let mut sent = Vec::new();
    for n in 0..40 {
        let channel = ["a", "b", "c"][(n * n) % 3];
        let client = if n % 4 == 1 { "bob" } else { ["", "", "ana"][n % 3] };
        let text = format!("{channel}{n}{client}");
        let id = match client {
            "" => send(publisher, channel, &text),
            client => send_to(publisher, channel, client, &text),
        };
        sent.push((channel, client, text, id));
    }
    sent
}

#[test]
fn broadcast_and_targeted_events_of_several_channels_come_in_publish_order() {
    let publisher = Publisher::new();
    let channels = ["a", "b", "c"];
    let mut early = live(&publisher, &channels, "ana");
    let sent = mixed(&publisher);
    let mut late = earliest(&publisher, &channels, "ana");

    let meant: Vec<_> = sent.iter().filter(|(_, client, ..)| ["", "ana"].contains(client)).collect();
    let expected: Vec<_> = meant.iter().map(|(_, _, text, _)| text.clone()).collect();
    let deliveries = drain(&mut early);
    assert_eq!(deliveries.iter().map(text).collect::<Vec<_>>(), expected);
    assert_eq!(
        deliveries.iter().map(id).collect::<Vec<_>>(),
        meant.iter().map(|sent| sent.3.clone()).collect::<Vec<_>>()
    );
    assert_eq!(texts(&mut late), expected);
}

#[test]
fn offsets_increase_across_channels() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b", "c"], "bob");
    mixed(&publisher);
    let offsets = drain(&mut reader).into_iter().map(|delivery| match delivery {
        Delivery::Event(event) => event.offset(),
        other => panic!("{other:?}"),
    });
    assert!(offsets.is_sorted_by(|before, after| before < after));
}

#[test]
fn one_id_resumes_any_set_of_channels() {
    let publisher = Publisher::new();
    let sent = mixed(&publisher);
    for channels in [&["a"][..], &["b", "a"], &["c", "b"], &["a", "b", "c"], &["c", "a"]] {
        for client in ["", "ana", "bob"] {
            // This includes ids of channels and events that the reader never saw.
            for (read, (.., id)) in sent.iter().enumerate() {
                let meant = sent[read + 1..]
                    .iter()
                    .filter(|(channel, to, ..)| channels.contains(channel) && (to.is_empty() || *to == client));
                let expected: Vec<_> = meant.map(|(_, _, text, _)| text.clone()).collect();
                assert_eq!(texts(&mut resume(&publisher, channels, client, id)), expected, "{channels:?} after {id}");
            }
        }
    }
}
