//! A reader that parks while it takes the last there is, in every interleaving with those who publish: it reads with
//! [`Position::poll`], as a subscription to one channel does, and asks once more after each delivery, as a server does.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use loom::{future::block_on, thread};

use super::*;
use crate::{
    channel::wait::loom_tests::counting,
    cursor::{Cursor, Epoch},
    encode::Draft,
    event::Event,
    log::{BROADCAST, Log, Retention, Tombstone},
    name::ChannelName,
    sync::Ordering,
};

fn channel() -> Arc<Shared> {
    let log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
    Arc::new(Shared::new(ChannelName::from_static("a"), log, None))
}

fn at(offset: Offset) -> Cursor {
    Cursor { epoch: Epoch::from_bits(1), offset }
}

fn enter(channel: &Arc<Shared>) -> Position {
    let reader = channel.look().readers.insert(None);
    Position::new(channel.clone(), reader, View { client: None })
}

fn publish(channel: &Shared) {
    let mut state = channel.change();
    let offset =
        Offset::new(state.log.newest(View { client: None }, 1).first().map_or(1, |last| last.offset().get() + 1));
    let cursor = Cursor { epoch: Epoch::from_bits(1), offset };
    let (event, custom) = Draft::new(Event::text("x"), offset).seal(cursor);
    state.log.append(BROADCAST, &event, custom, Instant::now());
    let wakeups = state.readers.wake_all();
    drop(state);
    drop(wakeups);
}

/// Reads until nothing is left for now, and gives what it then stands at.
fn read_on(position: &mut Position, cursor: &mut Offset, limit: Limit, cx: &mut Context<'_>) {
    while let Poll::Ready(found) = position.poll(at(*cursor), cx, limit) {
        match found {
            Found::Batch(batch) => {
                assert!(batch.last() > *cursor, "nothing twice");
                *cursor = batch.last();
            }
            Found::Lagged | Found::Lost(_) | Found::End(_) => unreachable!("nothing is evicted, nothing ends"),
        }
    }
}

#[test]
fn loom_a_reader_that_parks_while_it_takes_an_event_is_woken_for_the_next() {
    for limit in [Limit::ONE, Limit::CHUNK] {
        loom::model(move || {
            let channel = channel();
            let mut position = enter(&channel);
            let publisher = thread::spawn({
                let channel = channel.clone();
                move || (0..2).for_each(|_| publish(&channel))
            });
            let mut cursor = Offset::START;
            block_on(poll_fn(|cx| {
                read_on(&mut position, &mut cursor, limit, cx);
                if cursor == Offset::new(2) { Poll::Ready(()) } else { Poll::Pending }
            }));
            publisher.join().unwrap();
        });
    }
}

#[test]
fn loom_a_reader_that_took_an_event_and_asks_no_more_is_woken_once() {
    loom::model(|| {
        let channel = channel();
        let mut position = enter(&channel);
        publish(&channel);
        let publishers = [(); 2].map(|()| {
            let channel = channel.clone();
            thread::spawn(move || publish(&channel))
        });
        let (waker, woken) = counting();
        let Poll::Ready(Found::Batch(batch)) =
            position.poll(at(Offset::START), &mut Context::from_waker(&waker), Limit::CHUNK)
        else {
            unreachable!("one event is there")
        };
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        let level = batch.last() == Offset::new(3);
        assert_eq!(woken.load(Ordering::SeqCst), usize::from(!level));
        // And it sees that there is more.
        let mut cursor = batch.last();
        read_on(&mut position, &mut cursor, Limit::CHUNK, &mut Context::from_waker(Waker::noop()));
        assert_eq!(cursor, Offset::new(3));
    });
}
