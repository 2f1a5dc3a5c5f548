//! Reading without a subscription, and what a reader is told when it opens one.

use tower_sse::{
    ChannelState, CustomId, EndReason, Event, EventId, GapReason, OpenOptions, Page, Publisher, PublisherBuilder,
    Resumed, Retention, Start,
};

use crate::{
    reader::*,
    store::{Store, defaults},
};

fn five_events(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(5))
}

fn texts(page: &Page) -> Vec<String> {
    page.events.iter().map(|event| event.data()).collect()
}

async fn read(node: &Publisher, after: impl Into<Option<EventId>>, limit: usize) -> Page {
    node.channel("a").read(after, limit).await.unwrap()
}

fn gap(page: &Page) -> Option<GapReason> {
    page.gap.as_ref().map(|gap| gap.reason)
}

pub async fn a_node_that_never_opened_a_channel_reads_all_of_it(store: impl Store) {
    for count in [0, 1, 20, 300] {
        let channel = format!("of {count}");
        let writer = store.node(defaults);
        let sent: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        for text in &sent {
            send(&writer, &channel, text).await;
        }
        let fresh = store.node(defaults);
        let page = fresh.channel(channel.as_str()).read(None, 1_000).await.unwrap();
        assert_eq!((texts(&page), page.caught_up, page.finished, gap(&page)), (sent, true, false, None));
        send(&writer, &channel, "next").await;
        let next = fresh.channel(channel.as_str()).read(page.next, 1_000).await.unwrap();
        assert_eq!((texts(&next), gap(&next)), (vec!["next".to_owned()], None));
        let mut reader = resume(&fresh, &[&channel], "", &page.next.to_string()).await;
        assert_eq!(reader.text().await, "next", "a subscription goes on where the page ends");
    }
}

pub async fn pages_follow_each_other_to_the_end(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    for n in 0..50 {
        match n % 5 {
            4 => send_to(&one, "a", "bo", n).await,
            3 => send_to(&one, "a", "ana", n).await,
            _ => send(&one, "a", n).await,
        };
    }
    one.channel("a").finish(Event::text("last")).await.unwrap();
    let visible = |client: &str, n: &usize| match n % 5 {
        4 => client == "bo",
        3 => client == "ana",
        _ => true,
    };
    for (client, limit) in [("", 7), ("ana", 7), ("bo", 1), ("cyd", 100), ("ana", 2), ("bo", 41)] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let page = other.channel("a").read_for(client, after, limit).await.unwrap();
            assert!(page.finished && page.gap.is_none() && page.events.len() <= limit);
            assert!(page.caught_up || page.events.len() == limit, "a page is as long as it may be");
            got.extend(texts(&page));
            after = Some(page.next.into());
            if page.caught_up {
                break;
            }
        }
        let sent = (0..50).filter(|n| visible(client, n)).map(|n| n.to_string()).chain(["last".to_owned()]);
        assert_eq!(got, sent.collect::<Vec<_>>());
    }
    let none = read(&other, None, 0).await;
    assert_eq!((none.events.len(), none.caught_up), (0, false));
    assert_eq!(texts(&read(&other, none.next, 1).await), ["0"]);
}

pub async fn a_page_says_what_is_missing_before_it_and_nothing_else(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    send_to(&one, "a", "ana", "for ana").await;
    let first = send(&one, "a", 0).await;
    for n in 1..=5 {
        send(&one, "a", n).await;
    }
    let after = |id: &str| EventId::parse(id.as_bytes());
    let held = ["1", "2", "3", "4", "5"];
    let whole = read(&other, None, 3).await;
    assert_eq!(
        (texts(&whole), gap(&whole)),
        (held[..3].iter().map(|s| s.to_string()).collect(), Some(GapReason::Evicted))
    );
    assert_eq!(gap(&read(&other, whole.next, 9).await), None);
    // What is gone after its event was for somebody else.
    let rest = read(&other, after(&first), 9).await;
    assert_eq!((texts(&rest), gap(&rest)), (held.map(String::from).to_vec(), None));
    send_to(&one, "a", "bo", "pushes one out").await;
    assert_eq!(gap(&read(&other, after(&first), 9).await), Some(GapReason::Evicted));
    assert_eq!(gap(&other.channel("a").read_for("bo", whole.next, 9).await.unwrap()), None);
    let unknown = ["0123456789ab-1", "nothing"].map(after);
    for (id, reason) in unknown.into_iter().zip([GapReason::OtherEpoch, GapReason::UnknownId]) {
        let page = read(&other, id, 9).await;
        assert_eq!((texts(&page), gap(&page)), (held[1..].iter().map(|s| s.to_string()).collect(), Some(reason)));
        assert!(page.gap.unwrap().first.is_some());
    }
    let custom = CustomId::from_static("my-own");
    one.channel("a").send(Event::text("with an id").id(custom.clone())).await.unwrap();
    send(&one, "a", "after it").await;
    let page = read(&other, EventId::from(custom), 9).await;
    assert_eq!((texts(&page), gap(&page)), (vec!["after it".to_owned()], None));
}

/// Reads page by page until all is read: the first page with one limit, the others with another one. Returns what the
/// pages hold, and the gap of each page that has one, with the page's number.
async fn read_all(
    node: &Publisher,
    client: &str,
    after: Option<EventId>,
    limits: [usize; 2],
) -> (Vec<String>, Vec<(usize, GapReason)>) {
    let (mut all, mut gaps, mut after) = (Vec::new(), Vec::new(), after);
    for number in 0.. {
        let page = node.channel("a").read_for(client, after, limits[number.min(1)]).await.unwrap();
        all.extend(texts(&page));
        gaps.extend(gap(&page).map(|reason| (number, reason)));
        after = Some(page.next.into());
        if page.caught_up {
            break;
        }
    }
    (all, gaps)
}

pub async fn only_one_page_reports_a_gap(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    let first = send(&one, "a", "evicted").await;
    send_to(&one, "a", "ana", "evicted").await;
    for n in 0..3 {
        send_to(&one, "a", "ana", n).await;
    }
    for n in 3..5 {
        send(&one, "a", n).await;
    }
    let before = EventId::parse(first.as_bytes()).unwrap().cursor().unwrap();
    let before = format!("{}-{}", &first[..12], before.offset.get() - 1);
    let ids = [
        ("", GapReason::Evicted),
        (&before, GapReason::Evicted),
        ("0123456789ab-1", GapReason::OtherEpoch),
        ("nothing", GapReason::UnknownId),
    ];
    for (client, from) in [("ana", 0), ("bo", 3)] {
        let held: Vec<_> = (from..5).map(|n| n.to_string()).collect();
        for (id, reason) in ids {
            for limits in [[9, 9], [0, 9], [0, 1], [1, 1], [2, 1], [1, 9]] {
                let got = read_all(&other, client, EventId::parse(id.as_bytes()), limits).await;
                assert_eq!(got, (held.clone(), vec![(0, reason)]), "{client} after {id:?}, {limits:?}");
            }
        }
    }
}

pub async fn no_page_of_a_channel_that_begins_anew_has_a_gap(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    send(&one, "a", "before").await;
    one.channel("a").close().await.unwrap();
    for n in 0..3 {
        send_to(&one, "a", "ana", n).await;
    }
    send(&one, "a", 3).await;
    for limits in [[0, 9], [0, 1], [1, 1], [1, 9], [9, 9]] {
        let got = read_all(&other, "bo", None, limits).await;
        assert_eq!(got, (vec!["3".to_owned()], vec![]), "{limits:?}");
    }
}

pub async fn a_clients_page_says_that_its_own_events_are_gone(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    send_to(&one, "a", "ana", "for ana").await;
    for n in 0..5 {
        send(&one, "a", n).await;
    }
    for node in [&one, &other] {
        let page = node.channel("a").read_for("ana", None, 9).await.unwrap();
        assert_eq!((page.events.len(), gap(&page)), (5, Some(GapReason::Evicted)));
        assert_eq!(gap(&node.channel("a").read_for("bo", None, 9).await.unwrap()), None);
        assert_eq!(gap(&read(node, None, 9).await), None);
    }
}

pub async fn a_page_of_a_closed_channel_begins_anew(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let before = send(&one, "a", "before").await;
    one.channel("a").close().await.unwrap();
    let fresh = read(&other, None, 9).await;
    assert_eq!((fresh.events.len(), fresh.finished, gap(&fresh)), (0, false, None));
    send(&one, "a", "after").await;
    let fresh = read(&other, None, 9).await;
    assert_eq!((texts(&fresh), gap(&fresh)), (vec!["after".to_owned()], None));
    let earlier = EventId::parse(before.as_bytes()).unwrap().cursor().unwrap().offset.get() - 1;
    let earlier = EventId::parse(format!("{}-{earlier}", before.split('-').next().unwrap()).as_bytes());
    assert_eq!(gap(&read(&other, earlier, 9).await), Some(GapReason::Evicted));
}

pub async fn info_says_how_a_channel_is(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    let info = async || other.channel("a").info().await.unwrap();
    let absent = info().await;
    assert_eq!((absent.state, absent.events, absent.bytes), (ChannelState::Absent, 0, 0));
    assert!(absent.first.is_none() && absent.last.is_none() && absent.last_event.is_none());
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(send(&one, "a", n).await);
    }
    ids.push(send_to(&one, "a", "ana", "secret").await);
    let open = info().await;
    assert_eq!((open.state, open.events), (ChannelState::Open, 5));
    assert_eq!((open.first.unwrap().to_string(), open.last.unwrap().to_string()), (ids[4].clone(), ids[8].clone()));
    assert_eq!(open.last_event.unwrap().data(), "7", "the last one for everybody");
    assert!(open.bytes > 5 * 20);
    let last = one.channel("a").finish(Event::text("end")).await.unwrap().id.to_string();
    let finished = info().await;
    assert_eq!((finished.state, finished.last.unwrap().to_string()), (ChannelState::Finished, last));
    one.channel("a").close().await.unwrap();
    assert_eq!((info().await.state, info().await.last), (ChannelState::Absent, None));
}

pub async fn a_channel_that_never_was_is_refused_if_it_has_to_exist(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let existing = OpenOptions::new().existing(true).start(Start::Earliest);
    let open = async |channels: &[&str]| try_open(&other, existing.clone(), channels, "ana", None).await;
    let _reader = live(&other, &["a"], "").await;
    assert!(open(&["a"]).await.err().unwrap().is_absent(), "a reader makes no channel");
    send_to(&one, "a", "bo", "not for ana").await;
    let mut reader = open(&["a"]).await.ok().unwrap();
    reader.nothing_before(&one, "a").await;
    assert!(open(&["a", "b"]).await.err().unwrap().is_absent());
    one.channel("b").finish(Event::text("all of it")).await.unwrap();
    assert_eq!(open(&["b"]).await.ok().unwrap().text().await, "all of it");
    one.channel("b").close().await.unwrap();
    eventually(async || open(&["b"]).await.is_err_and(|error| error.is_absent())).await;
}

pub async fn a_fresh_reader_of_the_whole_channel_is_told_if_its_beginning_is_gone(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    let whole = OpenOptions::new().start(Start::Whole);
    let open = async |client: &str| try_open(&other, whole.clone(), &["a"], client, None).await.unwrap();
    for n in 0..5 {
        send(&one, "a", n).await;
    }
    let mut all = open("").await;
    assert_eq!((all.subscription.resumed(), all.texts(5).await.len()), (Resumed::Fresh, 5));
    send_to(&one, "a", "ana", "pushes the first out").await;
    for client in ["", "ana"] {
        // As soon as the node that has the channel for its readers knows.
        eventually(async || open(client).await.subscription.resumed() != Resumed::Fresh).await;
        let mut rest = open(client).await;
        assert_eq!(rest.subscription.resumed(), Resumed::Gap(GapReason::Evicted));
        assert_eq!(rest.gap(GapReason::Evicted).await.requested, None);
        assert_eq!(rest.text().await, "1");
    }
    one.channel("a").close().await.unwrap();
    all.until_the_end(EndReason::Closed).await;
    send(&one, "a", "anew").await;
    let mut anew = open("").await;
    assert_eq!((anew.subscription.resumed(), anew.text().await), (Resumed::Fresh, "anew".to_owned()));
}

pub async fn a_subscription_says_what_its_resume_found(store: impl Store) {
    let [one, other] = store.nodes(five_events);
    let first = send(&one, "a", 0).await;
    let found = async |id: &str| resume(&other, &["a"], "", id).await.subscription.resumed();
    assert_eq!(live(&other, &["a"], "").await.subscription.resumed(), Resumed::Fresh);
    assert_eq!(found(&first).await, Resumed::Exact);
    assert_eq!(found("nothing").await, Resumed::Gap(GapReason::UnknownId));
    assert_eq!(found("0123456789ab-1").await, Resumed::Gap(GapReason::OtherEpoch));
    for n in 1..=6 {
        send(&one, "a", n).await;
    }
    eventually(async || found(&first).await == Resumed::Gap(GapReason::Evicted)).await;
}
