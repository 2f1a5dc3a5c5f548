//! Waiting until nobody has read a channel for some time.

mod common;

use std::{pin::pin, time::Duration};

use common::*;
use futures_util::FutureExt as _;
use tokio::time::advance;
use tower_sse::{Duplicates, Limits, OpenOptions, Publisher};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_channel_is_unread_when_nobody_has_read_it_for_that_long() {
    for held in [false, true] {
        let publisher = Publisher::new();
        if held {
            send(&publisher, "a", "held");
        }
        let channel = publisher.channel("a");
        let mut unread = pin!(channel.unread(10 * SECOND));
        assert!(unread.as_mut().now_or_never().is_none());
        advance(9 * SECOND).await;
        assert!(unread.as_mut().now_or_never().is_none());
        advance(SECOND).await;
        assert!(unread.as_mut().now_or_never().is_some());
        assert_eq!(publisher.stats().channels, usize::from(held), "it leaves nothing behind");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_makes_it_begin_again_when_it_leaves() {
    let publisher = Publisher::new();
    let reader = live(&publisher, &["a"], "");
    let waiting = tokio::spawn({
        let channel = publisher.channel("a");
        async move { channel.unread(10 * SECOND).await }
    });
    tokio::time::sleep(100 * SECOND).await;
    assert!(!waiting.is_finished());
    drop(reader);
    tokio::time::sleep(9 * SECOND).await;
    // One that reloads its page.
    drop(live(&publisher, &["a", "b"], "ana"));
    tokio::time::sleep(9 * SECOND).await;
    assert!(!waiting.is_finished());
    tokio::time::sleep(2 * SECOND).await;
    assert!(waiting.is_finished());
    assert_eq!(publisher.stats().channels, 0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_were_ended_do_not_read() {
    type End = fn(&Publisher);
    let ends: [End; 3] = [
        |publisher| assert_eq!(ready(publisher.disconnect("ana")).unwrap(), 1),
        |publisher| assert_eq!(close(publisher, "a"), 1),
        |publisher| {
            let options = OpenOptions::new().duplicates(Duplicates::Replace);
            drop(ready(options.open(publisher, grant(&["a"], "ana"), None)).unwrap());
        },
    ];
    for end in ends {
        let publisher = Publisher::new();
        let _reader = live(&publisher, &["a"], "ana");
        let channel = publisher.channel("a");
        let mut unread = pin!(channel.unread(10 * SECOND));
        assert!(unread.as_mut().now_or_never().is_none());
        advance(60 * SECOND).await;
        end(&publisher);
        assert!(unread.as_mut().now_or_never().is_none());
        advance(10 * SECOND).await;
        assert!(unread.as_mut().now_or_never().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn many_may_wait_and_one_that_gives_up_leaves_the_others() {
    let publisher = Publisher::new();
    let channel = publisher.channel("a");
    let mut short = Box::pin(channel.unread(5 * SECOND));
    let (mut one, mut other) = (pin!(channel.unread(10 * SECOND)), pin!(channel.unread(Duration::MAX)));
    assert!(short.as_mut().now_or_never().is_none() && one.as_mut().now_or_never().is_none());
    assert!(other.as_mut().now_or_never().is_none());
    drop(short);
    advance(10 * SECOND).await;
    assert!(one.as_mut().now_or_never().is_some() && other.as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_channel_for_which_there_is_no_room_is_unread() {
    let publisher = Publisher::builder().limits(Limits::new().channels(1)).build();
    let reader = live(&publisher, &["b"], "");
    let channel = publisher.channel("a");
    let mut unread = pin!(channel.unread(10 * SECOND));
    assert!(unread.as_mut().now_or_never().is_none());
    advance(10 * SECOND).await;
    assert!(unread.as_mut().now_or_never().is_some());
    drop(reader);
}
