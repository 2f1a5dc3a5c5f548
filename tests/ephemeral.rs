//! Ephemeral events reach the readers that are connected, in order, and leave no trace in what is kept.

mod common;

use common::*;
use tower_sse::{
    ClientId, ConnectionId, CustomId, Delivery, Event, Limits, Publisher, Retention, Sent, SseBody, Subscription,
};

fn pass(publisher: &Publisher, channel: &str, text: impl ToString) -> Sent {
    let event = Event::text(text.to_string()).ephemeral();
    ready(publisher.channel(channel).send(event)).unwrap()
}

fn read(subscription: &mut Subscription) -> String {
    texts(subscription).concat()
}

#[test]
fn connected_readers_get_them_in_publish_order_and_nobody_later() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let mut one = live(&publisher, channels, "");
        let before = one.cursor().to_string();
        pass(&publisher, "a", 1);
        send(&publisher, "a", 2);
        pass(&publisher, "a", 3);
        pass(&publisher, "a", 4);
        send(&publisher, "a", 5);
        let mut other = live(&publisher, channels, "");
        pass(&publisher, "a", 6);
        assert_eq!((read(&mut one), read(&mut other)), ("123456".into(), "6".into()));
        assert_eq!(read(&mut resume(&publisher, channels, "", &before)), "25");
        assert_eq!(read(&mut earliest(&publisher, channels, "")), "25");
        assert_eq!(publisher.channel("a").recent(9).len(), 2);
    }
}

#[test]
fn a_reader_of_several_channels_gets_those_of_all_between_the_events_that_they_were_published_between() {
    let publisher = Publisher::new();
    let channels = ["a", "b", "c"];
    let mut random = Random(7);
    let mut reader = live(&publisher, &channels, "");
    // Between two events: those of each channel are in order, those of different channels need not be.
    let mut expected = vec![[const { Vec::new() }; 3]];
    let mut got = expected.clone();
    let take = |got: &mut Vec<[Vec<String>; 3]>, texts: Vec<String>| {
        for text in texts {
            let channel = channels.iter().position(|channel| text.starts_with(channel));
            match channel {
                Some(channel) => got.last_mut().unwrap()[channel].push(text),
                None => got.push([vec![text], vec![], vec![]]),
            }
        }
    };
    for n in 0..2_000 {
        let channel = random.below(3) as usize;
        let text = if random.below(2) == 0 {
            let text = format!("{}{n}", channels[channel]);
            pass(&publisher, channels[channel], &text);
            text
        } else {
            send(&publisher, channels[channel], n);
            n.to_string()
        };
        take(&mut expected, vec![text]);
        if random.below(8) == 0 {
            take(&mut got, texts(&mut reader));
        }
    }
    take(&mut got, texts(&mut reader));
    assert!(got == expected);
}

#[test]
fn it_has_no_id_and_moves_no_cursor() {
    let publisher = Publisher::new();
    let before = send(&publisher, "a", "x");
    let mut reader = live(&publisher, &["a"], "");
    let event = Event::text("y").id(CustomId::from_static("mine")).ephemeral();
    let sent = ready(publisher.channel("a").send(event)).unwrap();
    assert_eq!((sent.id.to_string(), sent.reached), (before.clone(), 1));
    let [Delivery::Event(event)] = &drain(&mut reader)[..] else { panic!("one event") };
    assert_eq!((&event.as_bytes()[..], event.is_ephemeral()), (&b"data: y\n\n"[..], true));
    assert_eq!((reader.cursor().to_string(), event.offset().get()), (before.clone(), offset(&before)));
    assert_eq!(offset(&send(&publisher, "a", "z")), offset(&before) + 1, "it has taken no offset");
}

#[test]
fn an_ephemeral_event_has_the_id_that_its_reader_resumes_from() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b"], "");
    let passed = |reader: &mut Subscription, channel| {
        let sent = ready(publisher.channel(channel).send(Event::text("now").ephemeral())).unwrap();
        let Some(Delivery::Event(event)) = drain(reader).pop() else { panic!("no event") };
        assert_eq!((event.id(), event.data(), event.is_ephemeral()), (sent.id, "now".into(), true));
        event.id().to_string()
    };
    let before_any = passed(&mut reader, "a");
    let custom = Event::text("x").id(CustomId::from_static("mine"));
    ready(publisher.channel("a").send(custom)).unwrap();
    let behind_custom = passed(&mut reader, "b");
    send(&publisher, "b", "y");
    for (id, left) in [(before_any, &["x", "y"][..]), (behind_custom, &["y"])] {
        assert_eq!(texts(&mut resume(&publisher, &["a", "b"], "", &id)), left, "after {id}");
    }
}

#[test]
fn it_evicts_no_history_however_many_there_are() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let mut reader = live(&publisher, &["a"], "");
    send(&publisher, "a", 1);
    send(&publisher, "a", 2);
    (0..1_000).for_each(|_| drop(pass(&publisher, "a", "x")));
    assert_eq!(read(&mut earliest(&publisher, &["a"], "")), "12");
    assert!(read(&mut reader).starts_with("12x"));
    assert_eq!(publisher.stats().evicted, 0);
}

#[test]
fn a_reader_that_is_behind_loses_the_oldest_and_that_is_counted() {
    let publisher = Publisher::new();
    let mut behind = live(&publisher, &["a"], "");
    (0..100).for_each(|n| drop(pass(&publisher, "a", format!("{n},"))));
    let got = read(&mut behind);
    assert!(got.starts_with("36,37,") && got.ends_with("99,"), "{got}");
    assert_eq!((publisher.stats().ephemeral, publisher.stats().ephemeral_dropped), (100, 36));
    assert_eq!((publisher.stats().gaps, read(&mut behind)), (0, String::new()));
    // By bytes, too.
    (0..5).for_each(|n| drop(pass(&publisher, "a", n.to_string().repeat(30_000))));
    assert_eq!(read(&mut behind).len(), 2 * 30_000);
    assert_eq!(publisher.stats().ephemeral_dropped, 36 + 3);
}

#[test]
fn one_for_a_client_reaches_its_connections_alone() {
    let publisher = Publisher::new();
    let mut readers: Vec<_> = ["ana", "bob", ""].map(|client| live(&publisher, &["a"], client)).into();
    let sent = ready(publisher.channel("a").send_to("ana", Event::text("x").ephemeral())).unwrap();
    assert_eq!(sent.reached, 1);
    assert_eq!(readers.iter_mut().map(read).collect::<Vec<_>>(), ["x", "", ""]);
    // Whoever gets its lane next gets nothing of it.
    drop(readers.remove(0));
    ready(publisher.channel("a").send_to("ana", Event::text("x").ephemeral())).unwrap();
    assert_eq!(read(&mut live(&publisher, &["a"], "eve")), "");
}

#[test]
fn one_that_excludes_a_reader_does_not_reach_it() {
    let publisher = Publisher::new();
    let tab = ConnectionId::from_static("tab");
    let mut readers: Vec<_> = ["ana", "bob", ""].map(|client| live(&publisher, &["a"], client)).into();
    readers.push(ready(EARLIEST().connection(tab.clone()).open(&publisher, grant(&["a"], ""), None)).unwrap());
    let event = Event::text("x").ephemeral().except(ClientId::from_static("ana")).except_connection(tab);
    assert_eq!(ready(publisher.channel("a").send(event)).unwrap().reached, 2);
    assert_eq!(readers.iter_mut().map(read).collect::<Vec<_>>(), ["", "x", "x", ""]);
}

#[test]
fn without_a_reader_it_is_gone_at_once_and_makes_no_channel() {
    let publisher = Publisher::new();
    assert_eq!(pass(&publisher, "a", "x").reached, 0);
    assert_eq!((publisher.stats().channels, publisher.stats().ephemeral_dropped), (0, 0));
    let reader = live(&publisher, &["a"], "");
    let empty = publisher.stats().held_bytes;
    (0..50).for_each(|_| drop(pass(&publisher, "a", "x".repeat(1_000))));
    assert!(publisher.stats().held_bytes > empty + 50_000);
    drop(reader);
    assert_eq!(publisher.stats().channels, 0);
}

#[test]
fn all_channels_together_hold_a_sixteenth_of_what_the_hub_may_take() {
    let publisher = Publisher::builder().limits(Limits::new().hub_bytes(16 << 20)).build();
    let names: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
    let mut readers: Vec<_> = names.iter().map(|name| live(&publisher, &[name], "")).collect();
    let before = publisher.stats().held_bytes;
    for _ in 0..50 {
        names.iter().for_each(|name| drop(pass(&publisher, name, "x".repeat(1_000))));
    }
    let held = publisher.stats().held_bytes - before;
    assert!((900_000..1_200_000).contains(&held), "{held} bytes");
    // The newest of each channel is there all the same.
    assert!(readers.iter_mut().all(|reader| !read(reader).is_empty()));
}

#[test]
fn a_finished_channel_takes_none_and_the_last_event_is_never_one() {
    let publisher = Publisher::new();
    let channel = publisher.channel("a");
    let mut reader = live(&publisher, &["a"], "");
    assert!(ready(channel.finish(Event::text("bye").ephemeral())).is_ok());
    assert!(ready(channel.send(Event::text("x").ephemeral())).unwrap_err().is_finished());
    assert_eq!((read(&mut reader), channel.recent(9).len()), ("bye".into(), 1));
}

#[test]
fn it_wakes_each_reader_once_and_none_that_it_is_not_for() {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Wake, Waker},
    };
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut reader = live(&publisher, channels, "ana");
        let mut poll = || std::pin::pin!(next(&mut reader)).poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!poll());
        pass(&publisher, "a", 1);
        pass(&publisher, "a", 2);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!([poll(), poll(), poll()], [true, true, false]);
        ready(publisher.channel("a").send_to("bob", Event::text("x").ephemeral())).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        pass(&publisher, "a", 3);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_body_that_maps_its_events_gets_each_of_them() {
    use http_body::Body as _;
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let body = SseBody::new(live(&publisher, channels, "")).filter(|event| event.data() != "2");
        (1..=3).for_each(|n| drop(pass(&publisher, "a", n)));
        send(&publisher, "a", 4);
        (5..=6).for_each(|n| drop(pass(&publisher, "a", n)));
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        let frame = |cx: &mut std::task::Context<'_>| std::task::Poll::Ready(body.as_mut().poll_frame(cx));
        let mut frame = frame;
        while let std::task::Poll::Ready(Some(Ok(frame))) = std::future::poll_fn(&mut frame).await {
            bytes.extend_from_slice(frame.data_ref().unwrap());
        }
        let text = String::from_utf8(bytes).unwrap();
        let data: String = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!((data.as_str(), text.matches("id: ").count()), ("13456", 1), "{text}");
    }
}
