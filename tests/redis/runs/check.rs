//! Compares what each reader got, and what is held in the end, with what producers said.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    Held, LEASE, TELLING,
    ledger::{Attempt, Fault, Kind, Ledger, Run},
    reader::{Seen, Told},
};

/// What a message between processes may take where nothing stalls.
const SLACK: Duration = Duration::from_millis(500);
/// How long after its return Redis counts as away: until all nodes use it again.
const RETURN: Duration = Duration::from_secs(3);

/// Each of these must be zero.
#[derive(Debug, Default, PartialEq)]
struct Wrong {
    /// Runs that have begun and have no outcome, and those of which somebody was told another one.
    outcomes: usize,
    /// Runs with a second producer.
    producers: usize,
    /// Runs in which the events of producers are mixed, out of order, repeated or left out.
    mixed: usize,
    /// Acknowledged events that are not held.
    lost: usize,
    /// Readers that got something else than what is held.
    other: usize,
    gaps: usize,
    stuck: usize,
    /// Runs that were active in a thread in which another one was.
    overlaps: usize,
    /// Outcomes that nothing has led to.
    unfounded: usize,
    /// Readers that were told too late that a run was lost.
    late: usize,
    /// Writers of lost runs that were not refused.
    unfenced: usize,
    epochs: usize,
}

#[derive(Debug, Default)]
struct Count {
    outcomes: HashMap<String, usize>,
    refused_starts: usize,
    events: usize,
    readers: usize,
    complete: usize,
    connections: usize,
    threads: usize,
    /// Writers that woke up after their run was lost, or found out by a refusal.
    fenced: usize,
    /// Readers that were told that a run was lost, and how long that took at most.
    judged: usize,
    longest: Duration,
    /// Readers of lost runs that are not judged, because Redis or their own node was away.
    excused: usize,
}

pub fn check(ledger: &Ledger, seen: &[Seen], held: &[Held], seed: u64) {
    let (mut count, mut wrong) = (Count::default(), Wrong::default());
    examine(ledger, seen, held, &mut count, &mut wrong);
    let mut faults: HashMap<Kind, usize> = HashMap::new();
    ledger.faults.iter().for_each(|fault| *faults.entry(fault.kind).or_default() += 1);
    let stalls = ledger.stalls.len();
    let Ledger { answers, stops, .. } = ledger;
    println!("{} runs asked for, {answers:?} answers, {stops} stops, faults {faults:?}, {stalls} stalls", held.len());
    println!("{count:?}");
    assert_eq!(wrong, Wrong::default(), "seed {seed}");
}

fn examine(ledger: &Ledger, seen: &[Seen], held: &[Held], count: &mut Count, wrong: &mut Wrong) {
    for held in held {
        check_run(ledger, held, count, wrong);
    }
    let by_id: HashMap<_, _> = held.iter().map(|held| (&held.seen.run[..], held)).collect();
    for seen in seen {
        check_reader(seen, &by_id[&seen.run[..]].seen, count, wrong);
        if let Some(told) = seen.outcome.as_ref().filter(|told| told.outcome == "lost") {
            check_time(ledger, &ledger.runs[&seen.run], told, &seen.run, count, wrong);
        }
    }
    check_threads(ledger, held, count, wrong);
}

fn check_run(ledger: &Ledger, held: &Held, count: &mut Count, wrong: &mut Wrong) {
    let (id, run, events) = (&held.seen.run, &ledger.runs[&held.seen.run], &held.seen.events);
    count.refused_starts += usize::from(run.started == 0);
    count.events += events.len();
    wrong.gaps += held.seen.gaps;
    wrong.producers += usize::from(run.attempts.len() > 1);
    let Some(told) = &held.seen.outcome else {
        let is_nothing = run.started == 0 && run.attempts.is_empty() && held.status.iter().all(|is| is == "none");
        if !is_nothing {
            wrong.outcomes += 1;
            println!("no outcome: {id}, {:?}, {} events", held.status, events.len());
        }
        return;
    };
    *count.outcomes.entry(told.outcome.clone()).or_default() += 1;
    if held.status.iter().any(|is| *is != told.outcome) {
        wrong.outcomes += 1;
        println!("two outcomes: {id} {}, {:?}", told.outcome, held.status);
    }
    let is_late = |text: &str| text == "late" || text.ends_with(" 1000000");
    let unfenced = events.iter().filter(|(_, text)| is_late(text)).count();
    let name = run.attempts.first().map_or("", |attempt| &attempt.name);
    let parts = events.iter().filter(|(_, text)| !is_late(text)).enumerate();
    let is_mixed = parts.into_iter().any(|(n, (_, text))| *text != format!("{name} {n}"));
    if is_mixed || unfenced > 0 {
        println!("mixed: {id} {events:?}");
    }
    wrong.mixed += usize::from(is_mixed);
    wrong.unfenced += unfenced;
    for attempt in &run.attempts {
        check_attempt(run, attempt, held, told, count, wrong);
    }
    if !is_founded(ledger, run, told, events.len()) {
        wrong.unfounded += 1;
        let says = run.attempts.first().map(|attempt| (attempt.process, &attempt.end, &attempt.late));
        println!("unfounded: {id} is {} with {} of {} events, {says:?}", told.outcome, events.len(), run.parts);
    }
}

fn check_attempt(run: &Run, attempt: &Attempt, held: &Held, told: &Told, count: &mut Count, wrong: &mut Wrong) {
    let texts: HashSet<_> = held.seen.events.iter().map(|(_, text)| &text[..]).collect();
    let name = &attempt.name;
    let lost = attempt.acknowledged.iter().filter(|n| !texts.contains(&format!("{name} {n}")[..])).count();
    if lost > 0 {
        wrong.lost += lost;
        println!("lost: {lost} of {} that were acknowledged of {}", attempt.acknowledged.len(), held.seen.run);
    }
    let Some((writer, channel)) = &attempt.late else {
        count.fenced += usize::from(attempt.end.as_deref() == Some("fenced"));
        return;
    };
    let is_refused = match &told.outcome[..] {
        // It may have heard of a stop before it found out.
        "lost" => {
            channel == "fenced" && (writer == "fenced" || writer == "over" || writer == "stopped" && run.may_stop)
        }
        _ => writer != "written" && channel != "written",
    };
    count.fenced += usize::from(channel == "fenced");
    if !is_refused {
        wrong.unfenced += 1;
        println!("unfenced: {} is {}, its writer got {writer}, the channel {channel}", held.seen.run, told.outcome);
    }
}

/// Whether something has led to the outcome.
fn is_founded(ledger: &Ledger, run: &Run, told: &Told, events: usize) -> bool {
    let ended = |how: &str| run.attempts.iter().any(|attempt| attempt.end.as_deref() == Some(how));
    match &told.outcome[..] {
        "done" => ended("done") && events as u64 == run.parts,
        "failed" => ended("fails") || ended("panics"),
        "stopped" => run.may_stop,
        "lost" => run.attempts.iter().all(|attempt| was_away(ledger, attempt, told.at)),
        _ => false,
    }
}

/// Whether a process was killed, or did not get on for a lease, since the run had begun or shortly before, as its signs of life are
/// some time apart.
fn was_away(ledger: &Ledger, attempt: &Attempt, by: Instant) -> bool {
    let since = attempt.begun - LEASE;
    let is_fault = |fault: &&Fault| fault.kind != Kind::Redis && fault.process == attempt.process && fault.from < by;
    let faults = ledger.faults.iter().filter(is_fault);
    let lasted = |fault: &Fault, to: Instant| {
        // A node that was cut off takes some time to be back.
        let least = if fault.kind == Kind::CutOff { LEASE / 3 } else { LEASE };
        to + RETURN > since && to - fault.from > least
    };
    let was_away = |fault: &Fault| fault.kind == Kind::Kill || fault.to.is_none_or(|to| lasted(fault, to));
    let stalled = ledger
        .stalls
        .iter()
        .any(|stall| stall.process == Some(attempt.process) && stall.at > since && stall.at < by && stall.time > LEASE);
    faults.into_iter().any(was_away) || stalled
}

/// A reader got what is held, from the beginning; all of it if it was told the outcome.
fn check_reader(seen: &Seen, held: &Seen, count: &mut Count, wrong: &mut Wrong) {
    count.readers += 1;
    count.connections += seen.connections;
    count.complete += usize::from(seen.outcome.is_some());
    wrong.gaps += seen.gaps;
    wrong.stuck += usize::from(seen.is_stuck);
    let is_all = seen.outcome.is_none() || seen.events.len() == held.events.len();
    if !held.events.starts_with(&seen.events) || !is_all {
        wrong.other += 1;
        println!("other: {} {:?}, but {:?} is held", seen.run, seen.events, held.events);
    }
    let outcome = |seen: &Seen| seen.outcome.as_ref().map(|told| (told.outcome.clone(), told.id.clone()));
    if seen.outcome.is_some() && outcome(seen) != outcome(held) {
        wrong.outcomes += 1;
        println!("two outcomes: {} is told as {:?} and {:?}", seen.run, outcome(seen), outcome(held));
    }
}

/// A reader on a living node is told in time that a run is lost.
fn check_time(ledger: &Ledger, run: &Run, told: &Told, id: &str, count: &mut Count, wrong: &mut Wrong) {
    let Some(attempt) = run.attempts.first().filter(|attempt| attempt.process.0 != told.node) else { return };
    let is_cause =
        |fault: &&Fault| fault.kind != Kind::Redis && fault.process == attempt.process && fault.from < told.at;
    let Some(cause) = ledger.faults.iter().rfind(is_cause) else { return };
    let begun = cause.from.max(told.since);
    let overlaps = |fault: &Fault, after| fault.from < told.at && fault.to.is_none_or(|to| to + after > begun);
    let is_away = |fault: &Fault| match fault.kind {
        Kind::Redis => overlaps(fault, RETURN),
        Kind::CutOff => fault.process.0 == told.node && overlaps(fault, RETURN),
        _ => fault.process.0 == told.node && overlaps(fault, Duration::ZERO),
    };
    if ledger.faults.iter().any(is_away) {
        count.excused += 1;
        return;
    }
    let took = told.at - begun;
    let meanwhile = ledger.stalls.iter().filter(|stall| stall.at > begun && stall.at < told.at + SLACK);
    let stalls: Duration =
        meanwhile.filter(|stall| stall.process.is_none_or(|of| of.0 == told.node)).map(|stall| stall.time).sum();
    count.judged += 1;
    count.longest = count.longest.max(took);
    if took > LEASE + TELLING + SLACK + stalls {
        wrong.late += 1;
        println!("late: {id} took {took:?}, stalled for {stalls:?}");
    }
}

/// At most one run of a thread is active, by the order of all events.
fn check_threads(ledger: &Ledger, held: &[Held], count: &mut Count, wrong: &mut Wrong) {
    let mut by_thread: HashMap<u64, Vec<(u64, u64, &str)>> = HashMap::new();
    let mut epochs = HashSet::new();
    for held in held {
        let Some(told) = &held.seen.outcome else { continue };
        let ids = held.seen.events.iter().map(|(id, _)| id).chain([&told.id]);
        let places: Vec<_> = ids.map(|id| id.split_once('-').unwrap()).collect();
        epochs.extend(places.iter().map(|(epoch, _)| *epoch));
        let offset = |place: &(&str, &str)| place.1.parse().unwrap();
        let span = (offset(&places[0]), offset(&places[places.len() - 1]), &held.seen.run[..]);
        if let Some(thread) = ledger.runs[&held.seen.run].thread {
            by_thread.entry(thread).or_default().push(span);
        }
    }
    wrong.epochs = epochs.len().saturating_sub(1);
    count.threads = by_thread.len();
    for (thread, spans) in &mut by_thread {
        spans.sort_unstable();
        for two in spans.windows(2).filter(|two| two[1].0 < two[0].1) {
            wrong.overlaps += 1;
            println!("overlap in thread {thread}: {two:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(name: &str, end: Option<&str>, acknowledged: u64) -> Attempt {
        let (name, begun, end) = (name.to_owned(), Instant::now(), end.map(str::to_owned));
        Attempt { name, process: (0, 1), begun, acknowledged: (0..acknowledged).collect(), end, late: None }
    }

    /// A run of a thread, with these events, whose first event has this offset.
    fn case(ledger: &mut Ledger, id: &str, attempt: Attempt, offset: u64, texts: &[&str], outcome: &str) -> Held {
        let (attempts, parts) = (vec![attempt], 2);
        let run = Run { thread: Some(1), parts, end: "done", may_stop: false, started: 1, attempts };
        ledger.runs.insert(id.to_owned(), run);
        let place = |n: usize| format!("00000000000a-{}", offset + n as u64);
        let events: Vec<_> = texts.iter().enumerate().map(|(n, text)| (place(n), text.to_string())).collect();
        let now = Instant::now();
        let told = Told { outcome: outcome.to_owned(), id: place(events.len()), at: now, since: now, node: 1 };
        let outcome = Some(told).filter(|told| !told.outcome.is_empty());
        let run = id.to_owned();
        let seen = Seen { run, events, gaps: 0, outcome, has_left: false, is_stuck: false, connections: 1 };
        let status = seen.outcome.as_ref().map_or("running".to_owned(), |told| told.outcome.clone());
        Held { seen, status: vec![status; 3] }
    }

    fn wrong(ledger: &Ledger, seen: &[Seen], held: &[Held]) -> Wrong {
        let (mut count, mut wrong) = (Count::default(), Wrong::default());
        examine(ledger, seen, held, &mut count, &mut wrong);
        wrong
    }

    /// One run alone.
    fn one(attempt: Attempt, texts: &[&str], outcome: &str) -> Wrong {
        let mut ledger = Ledger::default();
        let held = case(&mut ledger, "1", attempt, 1, texts, outcome);
        wrong(&ledger, &[], &[held])
    }

    #[test]
    fn what_is_wrong_with_a_run_is_found() {
        let (none, all) = (Wrong::default(), &["a 0", "a 1"][..]);
        assert_eq!(one(attempt("a", Some("done"), 2), all, "done"), none);
        assert_eq!(one(attempt("a", Some("done"), 2), all, ""), Wrong { outcomes: 1, ..none });
        let unfounded = || Wrong { unfounded: 1, ..Wrong::default() };
        for outcome in ["failed", "stopped", "lost", "drained"] {
            assert_eq!(one(attempt("a", Some("done"), 2), all, outcome), unfounded());
        }
        assert_eq!(one(attempt("a", Some("done"), 1), &["a 0"], "done"), unfounded());
        assert_eq!(one(attempt("a", Some("fails"), 2), &["a 0"], "failed"), Wrong { lost: 1, ..Wrong::default() });
        for texts in [["a 1", "a 0"], ["a 0", "b 1"], ["a 0", "a 0"]] {
            assert_eq!(one(attempt("a", Some("fails"), 0), &texts, "failed"), Wrong { mixed: 1, ..Wrong::default() });
        }
        let late = |writer: &str, channel: &str| Attempt {
            late: Some((writer.to_owned(), channel.to_owned())),
            ..attempt("a", None, 2)
        };
        assert_eq!(one(late("fenced", "fenced"), all, "lost"), unfounded());
        assert_eq!(one(late("fenced", "over"), all, "lost").unfenced, 1);
        assert_eq!(one(late("written", "fenced"), &["a 0", "a 1", "a 1000000"], "lost").unfenced, 2);
    }

    #[test]
    fn what_is_wrong_with_readers_and_threads_is_found() {
        let mut ledger = Ledger::default();
        let mut done = |id, offset| {
            case(
                &mut ledger,
                id,
                attempt(id, Some("done"), 2),
                offset,
                &[&format!("{id} 0"), &format!("{id} 1")],
                "done",
            )
        };
        let held = [done("1", 1), done("2", 4)];
        let (cut, other) = (done("1", 1).seen, done("2", 3).seen);
        let overlaps = [done("1", 1), done("2", 2)];
        assert_eq!(wrong(&ledger, &[], &held), Wrong::default());
        assert_eq!(wrong(&ledger, &[], &overlaps), Wrong { overlaps: 1, ..Wrong::default() });
        let cut = Seen { events: cut.events[..1].to_vec(), ..cut };
        assert_eq!(wrong(&ledger, &[cut], &held), Wrong { other: 1, ..Wrong::default() });
        assert_eq!(wrong(&ledger, &[other], &held), Wrong { other: 1, outcomes: 1, ..Wrong::default() });
        let (now, begun) = (Instant::now(), Instant::now() - Duration::from_secs(60));
        let fault = |kind, process| Fault { kind, process, from: now - Duration::from_secs(5), to: None };
        ledger.faults.push(fault(Kind::Kill, (0, 1)));
        let told = |node| Told { outcome: "lost".into(), id: String::new(), at: now, since: begun, node };
        let late = |ledger: &Ledger, node| {
            let mut wrong = Wrong::default();
            check_time(ledger, &ledger.runs["1"], &told(node), "1", &mut Count::default(), &mut wrong);
            wrong.late
        };
        assert_eq!((late(&ledger, 1), late(&ledger, 0)), (1, 0));
        ledger.faults.push(fault(Kind::Redis, (0, 0)));
        assert_eq!(late(&ledger, 1), 0);
    }
}
