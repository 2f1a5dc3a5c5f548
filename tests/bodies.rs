//! What a body can be made of besides a plain subscription: mapped events, strict ends, answers that are closed.

use futures_util::{FutureExt as _, StreamExt as _};
use tower_sse::*;

const A: ChannelName = ChannelName::from_static("a");
const B: ChannelName = ChannelName::from_static("b");

async fn send(publisher: &Publisher, channel: &ChannelName, text: &str) -> EventId {
    publisher.channel(channel).send(Event::text(text)).await.unwrap().id
}

#[tokio::test]
async fn an_event_says_which_channel_it_was_published_to() {
    let publisher = Publisher::new();
    for channels in [&[A][..], &[A, B]] {
        let grant = Grant::new(channels.to_vec());
        let mut subscription = Subscription::open(&publisher, grant).await.unwrap();
        for n in 0..8 {
            send(&publisher, &channels[n / 2 % channels.len()], &n.to_string()).await;
        }
        for n in 0..8 {
            let Some(Delivery::Event(event)) = subscription.next().now_or_never().flatten() else { panic!("an event") };
            assert_eq!((event.data(), event.channel()), (n.to_string(), &channels[n / 2 % channels.len()]));
        }
    }
    assert!(publisher.channel(B).recent(9).iter().all(|event| *event.channel() == B));
}
