//! An event can exclude a client or a connection: live, in replay, and without a trace for whoever is excluded.

mod common;

use common::*;
use http_body_util::BodyExt;
use tower_sse::{
    ClientId, ConnectionId, CustomId, Event, GapReason, KeepAlive, OpenOptions, Publisher, Retention, Sent, SseBody,
    Start,
};

const ANA: ClientId = ClientId::from_static("ana");
const TAB: ConnectionId = ConnectionId::from_static("tab-1");

fn publish(publisher: &Publisher, event: Event) -> Sent {
    ready(publisher.channel("a").send(event)).unwrap()
}

fn but_ana(publisher: &Publisher, text: &str) -> String {
    publish(publisher, Event::text(text).except(ANA)).id.to_string()
}

fn but_tab(publisher: &Publisher, text: &str) -> Sent {
    publish(publisher, Event::text(text).except_connection(TAB))
}

/// A reader of these channels, under the id of a connection.
fn under(
    publisher: &Publisher,
    channels: &[&str],
    client: &str,
    connection: &'static str,
    id: Option<&str>,
) -> tower_sse::Subscription {
    let options = EARLIEST().connection(ConnectionId::from_static(connection));
    ready(options.open(publisher, grant(channels, client), id.map(str::as_bytes))).unwrap()
}

#[test]
fn a_client_that_an_event_excludes_gets_it_on_none_of_its_connections() {
    let publisher = Publisher::new();
    for channels in [&["a"][..], &["a", "b"]] {
        let mut readers: Vec<_> = ["ana", "ana", "bob", ""].map(|client| live(&publisher, channels, client)).into();
        let before = readers[0].cursor().to_string();
        send(&publisher, "a", 1);
        but_ana(&publisher, "2");
        send(&publisher, "a", 3);
        let live: Vec<_> = readers.iter_mut().map(|reader| texts(reader).concat()).collect();
        assert_eq!(live, ["13", "13", "123", "123"]);
        let replay =
            ["ana", "bob", ""].map(|client| texts(&mut resume(&publisher, channels, client, &before)).concat());
        assert_eq!(replay, ["13", "123", "123"]);
    }
}

#[test]
fn a_body_of_several_channels_gets_what_follows_an_excluded_event_of_any_size() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let body = SseBody::new(live(&publisher, channels, "ana")).keep_alive(KeepAlive::off());
        but_ana(&publisher, "not for Ana");
        // Each of them alone is more than goes into one chunk.
        let ids = ["one", "two"].map(|text| publish(&publisher, Event::text(text.repeat(20_000))).id.to_string());
        channels.iter().for_each(|channel| ready(publisher.channel(*channel).end()).unwrap());
        let bytes = ready(body.collect()).unwrap().to_bytes();
        let got: Vec<_> =
            str::from_utf8(&bytes).unwrap().lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(got, ids, "{channels:?}");
    }
}

#[test]
fn a_connection_that_an_event_excludes_does_not_get_it_and_the_clients_others_do() {
    let publisher = Publisher::new();
    let before = send(&publisher, "a", "before");
    let mut one = under(&publisher, &["a"], "ana", "tab-1", Some(&before));
    let mut many = under(&publisher, &["b", "a"], "", "tab-1", Some(&before));
    let mut other = under(&publisher, &["a"], "ana", "tab-2", Some(&before));
    assert_eq!(but_tab(&publisher, "x").reached, 1);
    publish(&publisher, Event::text("y"));
    assert_eq!([texts(&mut one).concat(), texts(&mut many).concat(), texts(&mut other).concat()], ["y", "y", "xy"]);
    let replay =
        ["tab-1", "tab-2"].map(|tab| texts(&mut under(&publisher, &["a"], "ana", tab, Some(&before))).concat());
    assert_eq!(replay, ["y", "xy"]);
}

#[test]
fn an_event_for_a_client_can_exclude_one_of_its_connections() {
    let publisher = Publisher::new();
    let mut tabs = ["tab-1", "tab-2"].map(|tab| under(&publisher, &["a"], "ana", tab, None));
    let sent = ready(publisher.channel("a").send_to("ana", Event::text("x").except_connection(TAB))).unwrap();
    assert_eq!((sent.reached, tabs.each_mut().map(|tab| texts(tab).concat())), (1, ["".into(), "x".into()]));
}

#[test]
fn the_count_of_readers_leaves_out_the_excluded_ones_whoever_comes_and_goes() {
    let publisher = Publisher::new();
    let reached = |event: Event| publish(&publisher, event).reached;
    let both = || Event::text("").except(ANA).except_connection(TAB);
    let mut readers: Vec<_> = [("ana", "tab-1"), ("ana", "tab-2"), ("bob", "tab-1"), ("", "tab-1"), ("", "tab-2")]
        .map(|(client, tab)| under(&publisher, &["a"], client, tab, None))
        .into();
    assert_eq!([reached(Event::text("").except(ANA)), but_tab(&publisher, "").reached, reached(both())], [3, 2, 1]);
    readers.remove(2);
    assert_eq!([reached(Event::text("").except(ANA)), but_tab(&publisher, "").reached, reached(both())], [2, 2, 1]);
    ready(publisher.channel("a").disconnect("ana")).unwrap();
    assert_eq!([reached(Event::text("").except(ANA)), but_tab(&publisher, "").reached, reached(both())], [2, 1, 1]);
    drop(readers);
    assert_eq!((but_tab(&publisher, "").reached, reached(both())), (0, 0));
}

#[test]
fn what_excludes_a_reader_and_is_evicted_is_no_gap_for_it() {
    let publisher = Publisher::builder().retention(Retention::new().events(3)).build();
    let before = send(&publisher, "a", "before");
    let mut stalled = live(&publisher, &["a"], "ana");
    (0..20).for_each(|_| drop(but_ana(&publisher, "x")));
    let after = ["ana", "bob"].map(|client| texts(&mut resume(&publisher, &["a"], client, &before)).concat());
    assert_eq!(after, ["", "gap:evictedxxx"]);
    assert!(texts(&mut stalled).is_empty());
    assert_eq!(publisher.stats().lagged, 0);
    // It is for what came in between.
    send(&publisher, "a", "lost");
    (0..3).for_each(|_| drop(but_ana(&publisher, "x")));
    let ana = resume(&publisher, &["a"], "ana", &before);
    assert_eq!(texts(&mut { ana }), ["gap:evicted"]);
    assert_eq!(texts(&mut stalled), ["gap:lagged"]);
}

#[test]
fn no_more_than_the_last_evicted_exceptions_are_remembered() {
    let publisher = Publisher::builder().retention(Retention::new().events(1)).build();
    let before = send(&publisher, "a", "before");
    (0..257).for_each(|_| drop(but_ana(&publisher, "x")));
    assert!(texts(&mut resume(&publisher, &["a"], "ana", &before)).is_empty());
    but_ana(&publisher, "x");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", &before)), ["gap:evicted"]);
}

#[test]
fn a_channel_that_was_dropped_is_no_gap_for_whom_its_last_events_excluded() {
    let publisher = Publisher::new();
    let before = send(&publisher, "a", "before");
    (0..32).for_each(|_| drop(but_ana(&publisher, "x")));
    close(&publisher, "a");
    assert_eq!(publisher.stats().channels, 0);
    let held = publisher.stats().held_bytes;
    for _ in 0..2 {
        assert!(texts(&mut resume(&publisher, &["a"], "ana", &before)).is_empty());
        assert_eq!(texts(&mut resume(&publisher, &["a"], "bob", &before)), ["gap:evicted"]);
    }
    assert_eq!(publisher.stats().held_bytes, held, "it is remembered again as it was");
    but_ana(&publisher, "x");
    close(&publisher, "a");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", &before)), ["gap:evicted"]);
}

#[test]
fn an_excluded_reader_finds_the_event_by_no_other_way() {
    let publisher = Publisher::new();
    send(&publisher, "a", "1");
    let id = CustomId::from_static("secret");
    publish(&publisher, Event::text("2").except(ANA).id(id.clone()));
    send(&publisher, "a", "3");
    let last = |client| {
        let opened = OpenOptions::new().start(Start::Last(2)).open(&publisher, grant(&["a"], client), None);
        texts(&mut ready(opened).unwrap()).concat()
    };
    assert_eq!([last("ana"), last("bob")], ["13", "23"]);
    let channel = publisher.channel("a");
    let recent = |client| channel.recent_for(client, 2).iter().map(|event| event.data()).collect::<String>();
    assert_eq!([recent("ana"), recent("bob")], ["13", "23"]);
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", "secret")).concat(), "gap:unknown-id13");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "bob", "secret")).concat(), "3");
    // Whoever publishes knows of it.
    assert!(ready(channel.send(Event::text("").id(id))).unwrap_err().is_duplicate_id());
}

#[test]
fn a_gap_names_the_first_event_that_is_for_its_reader() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let before = send(&publisher, "a", "1");
    send(&publisher, "a", "2");
    but_ana(&publisher, "3");
    let last = send(&publisher, "a", "4");
    let mut ana = resume(&publisher, &["a"], "ana", &before);
    assert_gap(&gap(&mut ana), GapReason::Evicted, Some(&before), Some(&last));
    assert_eq!(texts(&mut ana), ["4"]);
}

#[test]
fn what_excludes_everybody_who_reads_ends_no_read_and_costs_each_reader_one_look() {
    let publisher = Publisher::builder().retention(Retention::new().events(100_000)).build();
    let mut reader = live(&publisher, &["a"], "ana");
    for _ in 0..50_000 {
        but_ana(&publisher, "x");
        assert!(poll(&mut reader).is_pending());
    }
    send(&publisher, "a", "y");
    assert_eq!(texts(&mut reader), ["y"]);
}

/// Random events, some of which exclude a client, a connection or both, against a filter of a vector.
#[test]
fn every_reader_gets_what_does_not_exclude_it_in_order_and_no_false_gap() {
    const CLIENTS: [&str; 3] = ["ana", "bob", ""];
    const TABS: [&str; 3] = ["t1", "t2", "t3"];
    for seed in 1..=40 {
        let mut random = Random(seed);
        let publisher =
            Publisher::builder().retention(Retention::new().events(if seed % 2 == 0 { 1_000 } else { 60 })).build();
        let first = send(&publisher, "a", "first");
        let mut all: Vec<(String, Option<usize>, Option<usize>)> = Vec::new();
        let mut read: Vec<_> = (0..9)
            .map(|n| {
                (
                    n,
                    under(&publisher, &["a", "b"][..1 + n % 2], CLIENTS[n / 3], TABS[n % 3], Some(&first)),
                    String::new(),
                )
            })
            .collect();
        for n in 0..200 {
            let (client, tab) = (random.below(4) as usize, random.below(6) as usize);
            let (client, tab) = ((client < 2).then_some(client), (tab < 3).then_some(tab));
            let mut event = Event::text(format!("{n},"));
            if let Some(client) = client {
                event = event.except(ClientId::try_from(CLIENTS[client]).unwrap());
            }
            if let Some(tab) = tab {
                event = event.except_connection(ConnectionId::try_from(TABS[tab]).unwrap());
            }
            publish(&publisher, event);
            all.push((format!("{n},"), client, tab));
            for (_, reader, got) in &mut read {
                if random.below(4) == 0 {
                    got.push_str(&texts(reader).concat());
                }
            }
        }
        for (n, mut reader, mut got) in read {
            got.push_str(&texts(&mut reader).concat());
            let is_for = |(_, client, tab): &&(String, Option<usize>, Option<usize>)| {
                *client != Some(n / 3) && *tab != Some(n % 3)
            };
            let expected: String = all.iter().filter(is_for).map(|(text, ..)| text.as_str()).collect();
            assert_eq!(got, expected, "seed {seed}, reader {n}");
            let mut replay = under(&publisher, &["a"], CLIENTS[n / 3], TABS[n % 3], None);
            let replayed = texts(&mut replay).concat();
            assert!(format!("first{expected}").ends_with(&replayed), "seed {seed}, reader {n}: {replayed}");
        }
    }
}
