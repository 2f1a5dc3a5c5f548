//! Tests a reader that parks while it takes the last event, in every interleaving with publishers. It reads with
//! [`Position::poll`], as a subscription to one channel does, and polls once more after each delivery, as a server
//! does.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use loom::{future::block_on, thread};

use super::*;
use crate::{
    hub::{ledger::Ledger, positions::go_on_before, seats::Seats, wait::loom_tests::counting},
    log::{BROADCAST, Log, Retention, Tombstone},
    sync::Ordering,
    wire::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
        name::ChannelName,
    },
};

fn channel() -> Arc<Shared> {
    channel_of(Retention::new())
}

fn channel_of(retention: Retention) -> Arc<Shared> {
    let log = Log::new(retention, Tombstone::default(), Instant::now());
    Arc::new(Shared::new(ChannelName::from_static("a"), log, None, Ledger::new(Arc::default()).into()))
}

fn at(offset: Offset) -> Cursor {
    Cursor { epoch: Epoch::from_bits(1), offset }
}

fn enter(channel: &Arc<Shared>) -> Position {
    let mut state = channel.look();
    let reader = state.readers.insert(None, Arc::new(Seats::new(1)).take().unwrap());
    Position::new(channel.clone(), reader, None, &state)
}

/// Publishes an event after all events that there ever were.
fn publish(channel: &Shared) {
    let (mut state, view) = (channel.change(), View::EVERYBODY);
    let newest = state.log.newest_offsets_before(view, Offset::new(u64::MAX), 1).first().copied();
    let offset = Offset::new(newest.unwrap_or_default().max(state.log.missed(view)).get() + 1);
    let cursor = Cursor { epoch: Epoch::from_bits(1), offset };
    let (event, custom) = Draft::new(Event::text("x"), offset).seal(cursor);
    state.log.append(BROADCAST, &event, custom, Instant::now());
    let wakeups = state.readers.wake_all();
    drop(state);
    drop(wakeups);
}

/// Reads until nothing is left for now, and moves `cursor` to the last event.
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
        // The reader also sees that there is more.
        let mut cursor = batch.last();
        read_on(&mut position, &mut cursor, Limit::CHUNK, &mut Context::from_waker(Waker::noop()));
        assert_eq!(cursor, Offset::new(3));
    });
}

/// Reads until everything up to `last` was delivered or reported as lost. Returns the offsets that were lost.
async fn read_with_gaps(position: &mut Position, last: Offset, limit: Limit) -> Vec<u64> {
    let (mut cursor, mut lost) = (Offset::START, Vec::new());
    poll_fn(|cx| {
        while let Poll::Ready(found) = position.poll(at(cursor), cx, limit) {
            match found {
                Found::Batch(batch) => {
                    assert!(batch.last() > cursor, "nothing twice");
                    if limit.events == 1 {
                        assert_eq!(batch.last().get(), cursor.get() + 1, "nothing is left out");
                    }
                    cursor = batch.last();
                }
                Found::Lagged => {
                    let state = position.channel.look();
                    let missed = position.missed(&state);
                    assert!(missed > cursor, "no false alarm");
                    position.told = missed;
                    let next = go_on_before(position.first_after(&state, cursor), missed);
                    lost.extend(cursor.get() + 1..=next.get());
                    cursor = next;
                }
                Found::Lost(_) | Found::End(_) => unreachable!("nothing ends"),
            }
        }
        if cursor == last { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    lost
}

#[test]
fn loom_a_reader_gets_each_event_or_is_told_that_a_later_one_took_its_place() {
    for limit in [Limit::ONE, Limit::CHUNK] {
        loom::model(move || {
            let channel = channel_of(Retention::new().events(1));
            let mut position = enter(&channel);
            let publisher = thread::spawn({
                let channel = channel.clone();
                move || (0..2).for_each(|_| publish(&channel))
            });
            let lost = block_on(read_with_gaps(&mut position, Offset::new(2), limit));
            assert!(lost.is_empty() || lost == [1], "the last is there");
            publisher.join().unwrap();
        });
    }
}

#[test]
fn loom_a_reader_gets_each_event_or_is_told_that_it_is_evicted() {
    // With three threads there are too many interleavings to try those with more preemptions than errors need.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    for limit in [Limit::ONE, Limit::CHUNK] {
        model.check(move || {
            let channel = channel();
            let mut position = enter(&channel);
            let publisher = thread::spawn({
                let channel = channel.clone();
                move || (0..2).for_each(|_| publish(&channel))
            });
            // Evicts as the hub's byte limit does. It wakes nobody, because a reader that is level misses nothing.
            let evictor = thread::spawn({
                let channel = channel.clone();
                move || channel.change().log.evict()
            });
            let lost = block_on(read_with_gaps(&mut position, Offset::new(2), limit));
            publisher.join().unwrap();
            let evicted = evictor.join().unwrap();
            assert!(lost.is_empty() || (evicted && lost.len() == 1));
        });
    }
}

#[test]
fn loom_a_reader_that_parks_while_it_is_ended_is_told_after_all_there_is() {
    loom::model(|| {
        let channel = channel();
        let mut position = enter(&channel);
        let publisher = thread::spawn({
            let channel = channel.clone();
            move || {
                publish(&channel);
                let (ended, wakeups) = channel.change().readers.end_all(EndReason::Shutdown);
                drop(wakeups);
                ended
            }
        });
        let mut cursor = Offset::START;
        let reason = block_on(poll_fn(|cx| {
            loop {
                match std::task::ready!(position.poll(at(cursor), cx, Limit::CHUNK)) {
                    Found::Batch(batch) => cursor = batch.last(),
                    Found::End(reason) => return Poll::Ready(reason),
                    Found::Lagged | Found::Lost(_) => unreachable!("nothing is evicted"),
                }
            }
        }));
        assert_eq!((reason, cursor), (EndReason::Shutdown, Offset::new(1)));
        assert_eq!(publisher.join().unwrap(), 1);
    });
}
