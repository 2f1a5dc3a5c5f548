//! Compares what each reader got, and what is held in the end, with what the producers reported.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    Held, LEASE, TELLING, WITHIN,
    ledger::{Attempt, Fault, Kind, Ledger, Run},
    reader::{Seen, Told},
};

/// How long a message between processes may take while nothing stalls.
const SLACK: Duration = Duration::from_millis(500);
/// How long after its return Redis counts as away: until all nodes use it again.
const RETURN: Duration = Duration::from_secs(3);

/// Each of these must be zero.
#[derive(Debug, Default, PartialEq)]
struct Wrong {
    /// Runs that began and have no outcome, or of which somebody got another outcome.
    outcomes: usize,
    /// Runs whose second producer did not take over from the first, or with two winners of one take-over.
    producers: usize,
    /// Runs in which events of producers are mixed, out of order, repeated or missing.
    mixed: usize,
    /// Acknowledged events that are not held.
    lost: usize,
    /// Readers that got something other than what is held.
    other: usize,
    gaps: usize,
    stuck: usize,
    /// Runs that were active in a thread together with another run.
    overlaps: usize,
    /// Outcomes without a cause.
    unfounded: usize,
    /// Readers that learned too late that a run was lost, or that nobody took it over.
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
    /// Take-overs that succeeded.
    taken: usize,
    /// Readers of runs that nobody took over, whose time was judged.
    lapsed: usize,
    /// Writers that woke up after their run was lost, or learned it from a refusal.
    fenced: usize,
    /// Readers that learned that a run was lost, and the longest time that this took.
    judged: usize,
    longest: Duration,
    /// Readers of lost runs whose time is not judged, because Redis or their own node was down.
    excused: usize,
}

pub fn check(ledger: &Ledger, seen: &[Seen], held: &[Held], seed: u64) {
    let (mut count, mut wrong) = (Count::default(), Wrong::default());
    examine(ledger, seen, held, &mut count, &mut wrong);
    let mut faults: HashMap<Kind, usize> = HashMap::new();
    ledger.faults.iter().for_each(|fault| *faults.entry(fault.kind).or_default() += 1);
    let stalls = ledger.stalls.len();
    let Ledger { answers, stops, take_overs, .. } = ledger;
    println!(
        "{} runs asked for, {answers:?} answers, {take_overs:?} take-overs, {stops} stops, faults {faults:?}, {stalls} stalls",
        held.len()
    );
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
        if let Some(told) = seen.outcome.as_ref().filter(|told| told.outcome == "drained") {
            check_lapse(ledger, &ledger.runs[&seen.run], told, &seen.run, count, wrong);
        }
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
    let numbers: HashSet<_> = run.attempts.iter().map(|attempt| attempt.number).collect();
    let is_each = (1..=run.attempts.len() as u64).all(|number| numbers.contains(&number));
    count.taken += run.taken;
    if !is_each || run.taken > run.attempts.len().saturating_sub(1) {
        wrong.producers += 1;
        println!("producers: {id} {numbers:?} of {}, {} taken over", run.attempts.len(), run.taken);
    }
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
    let is_mixed = is_mixed(run, events.iter().map(|(_, text)| &text[..]).filter(|text| !is_late(text)));
    if is_mixed || unfenced > 0 {
        println!("mixed: {id} {events:?}");
    }
    wrong.mixed += usize::from(is_mixed);
    wrong.unfenced += unfenced;
    for attempt in &run.attempts {
        check_attempt(run, attempt, held, told, count, wrong);
    }
    if !is_founded(ledger, run, told, events) {
        wrong.unfounded += 1;
        let says: Vec<_> =
            run.attempts.iter().map(|attempt| (attempt.number, attempt.process, &attempt.end, &attempt.late)).collect();
        println!("unfounded: {id} is {} with {} of {} events, {says:?}", told.outcome, events.len(), run.parts);
    }
}

/// Whether the events are not those of one producer after the other, each from its first one.
fn is_mixed<'a>(run: &Run, texts: impl Iterator<Item = &'a str>) -> bool {
    let mut attempts: Vec<_> = run.attempts.iter().collect();
    attempts.sort_by_key(|attempt| attempt.number);
    let (mut attempts, mut name, mut n) = (attempts.into_iter(), "", 0);
    for text in texts {
        if text != format!("{name} {n}") {
            let Some(next) = attempts.find(|attempt| text == format!("{} 0", attempt.name)) else { return true };
            (name, n) = (&next.name, 0);
        }
        n += 1;
    }
    false
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
        // It may have learned of a stop before it learned of the loss.
        "lost" => {
            let is_last = run.last().is_some_and(|last| last.number == attempt.number);
            let may_stop = run.may_stop || !is_last;
            channel == "fenced" && (writer == "fenced" || writer == "over" || writer == "stopped" && may_stop)
        }
        _ => writer != "written" && channel != "written",
    };
    count.fenced += usize::from(channel == "fenced");
    if !is_refused {
        wrong.unfenced += 1;
        println!("unfenced: {} is {}, its writer got {writer}, the channel {channel}", held.seen.run, told.outcome);
    }
}

/// Whether the outcome has a cause.
fn is_founded(ledger: &Ledger, run: &Run, told: &Told, events: &[(String, String)]) -> bool {
    let last = run.last();
    let ended = |how: &str| last.is_some_and(|attempt| attempt.end.as_deref() == Some(how));
    let own = |attempt: &Attempt| {
        let prefix = format!("{} ", attempt.name);
        events.iter().filter(|(_, text)| text.starts_with(&prefix)).count() as u64
    };
    match &told.outcome[..] {
        "done" => ended("done") && last.is_some_and(|last| own(last) == run.parts),
        "failed" => ended("fails") || ended("panics"),
        "stopped" => run.may_stop,
        // A take-over that failed may have begun, without a producer.
        "lost" => run.unclear > 0 || last.is_none_or(|attempt| was_away(ledger, attempt, told.at)),
        "drained" => last.is_none_or(|attempt| drained(ledger, attempt).is_some()),
        _ => false,
    }
}

/// How the process of a producer was drained.
fn drained<'a>(ledger: &'a Ledger, attempt: &Attempt) -> Option<&'a Fault> {
    ledger.faults.iter().find(|fault| fault.kind == Kind::Drain && fault.process == attempt.process)
}

/// Whether a process was killed, or did not get on for a lease, since the run had begun or shortly before, as its signs of life are
/// some time apart.
fn was_away(ledger: &Ledger, attempt: &Attempt, by: Instant) -> bool {
    let since = attempt.begun - LEASE;
    let is_fault = |fault: &&Fault| fault.kind != Kind::Redis && fault.process == attempt.process && fault.from < by;
    let faults = ledger.faults.iter().filter(is_fault);
    let lasted = |fault: &Fault, to: Instant| {
        // A node that was cut off takes some time to reconnect.
        let least = if fault.kind == Kind::CutOff { LEASE / 3 } else { LEASE };
        to + RETURN > since && to - fault.from > least
    };
    // A node that could not write while it drained handed nothing over.
    let kept_from = |drain: &Fault| {
        let by = drain.to.unwrap_or(by);
        let overlaps = |fault: &&Fault| fault.from < by && fault.to.is_none_or(|to| to + RETURN > drain.from);
        let is_away = |fault: &&Fault| {
            fault.kind == Kind::Redis || fault.kind == Kind::CutOff && fault.process == attempt.process
        };
        ledger.faults.iter().filter(is_away).any(|fault| overlaps(&fault))
    };
    let was_away = |fault: &Fault| match fault.kind {
        Kind::Kill => true,
        Kind::Drain => kept_from(fault),
        _ => fault.to.is_none_or(|to| lasted(fault, to)),
    };
    let stalled = ledger
        .stalls
        .iter()
        .any(|stall| stall.process == Some(attempt.process) && stall.at > since && stall.at < by && stall.time > LEASE);
    faults.into_iter().any(was_away) || stalled
}

/// Checks that a reader got what is held, from the beginning; and all of it if it got the outcome.
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

/// Checks that a reader on a living node learns in time that a run is lost.
fn check_time(ledger: &Ledger, run: &Run, told: &Told, id: &str, count: &mut Count, wrong: &mut Wrong) {
    let Some(attempt) = run.last().filter(|attempt| attempt.process.0 != told.node) else { return };
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
    // A node that watched the first node looks for the next producer once per lease, and then watches that one's node.
    let moved = if run.attempts.len() > 1 { 2 * LEASE + TELLING } else { Duration::ZERO };
    if took > LEASE + TELLING + moved + SLACK + stalls {
        wrong.late += 1;
        println!("late: {id} took {took:?}, stalled for {stalls:?}");
    }
}

/// Checks that a reader on a living node learns in time that nobody took a run over.
fn check_lapse(ledger: &Ledger, run: &Run, told: &Told, id: &str, count: &mut Count, wrong: &mut Wrong) {
    let Some(drain) = run.last().and_then(|attempt| drained(ledger, attempt)) else { return };
    let Some(ended) = drain.to else { return };
    let begun = ended.max(told.since);
    let is_away = |fault: &&Fault| {
        let is_here = fault.kind == Kind::Redis || fault.process.0 == told.node;
        is_here && fault.from < told.at && fault.to.is_none_or(|to| to + RETURN > drain.from)
    };
    if ledger.faults.iter().any(|fault| is_away(&fault)) {
        count.excused += 1;
        return;
    }
    let stalls: Duration = ledger
        .stalls
        .iter()
        .filter(|stall| stall.at > begun && stall.at < told.at + SLACK)
        .map(|stall| stall.time)
        .sum();
    count.lapsed += 1;
    if told.at - begun > WITHIN.max(LEASE + TELLING) + SLACK + stalls {
        wrong.late += 1;
        println!("late: {id} was told as drained after {:?}, stalled for {stalls:?}", told.at - begun);
    }
}

/// Checks by the order of all events that at most one run of a thread is active.
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
        Attempt { number: 1, name, process: (0, 1), begun, acknowledged: (0..acknowledged).collect(), end, late: None }
    }

    /// A run of a thread, with these events, whose first event has this offset.
    fn case(ledger: &mut Ledger, id: &str, attempt: Attempt, offset: u64, texts: &[&str], outcome: &str) -> Held {
        let (attempts, parts) = (vec![attempt], 2);
        let run =
            Run { thread: Some(1), parts, end: "done", may_stop: false, started: 1, taken: 0, unclear: 0, attempts };
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
    fn the_checker_finds_what_is_wrong_with_a_run() {
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
    fn the_checker_finds_what_is_wrong_with_a_take_over() {
        let run = |numbers: [u64; 2], texts: &[&str], outcome: &str, is_drained: bool| {
            let mut ledger = Ledger::default();
            let held = case(&mut ledger, "1", attempt("a", Some("stopped"), 1), 1, texts, outcome);
            let end = Some("done").filter(|_| outcome == "done");
            let mut attempts =
                vec![attempt("a", Some("stopped"), 1), Attempt { process: (1, 1), ..attempt("b", end, 2) }];
            attempts.iter_mut().zip(numbers).for_each(|(attempt, number)| attempt.number = number);
            let run = ledger.runs.get_mut("1").unwrap();
            (run.attempts, run.taken) = (attempts, 1);
            let now = Instant::now();
            if is_drained {
                ledger.faults.push(Fault { kind: Kind::Drain, process: (1, 1), from: now, to: Some(now) });
            }
            wrong(&ledger, &[], &[held])
        };
        let (none, all) = (Wrong::default(), &["a 0", "b 0", "b 1"][..]);
        assert_eq!(run([1, 2], all, "done", false), none);
        assert_eq!(run([2, 2], all, "done", false).producers, 1);
        assert_eq!(run([1, 3], all, "done", false).producers, 1);
        assert_eq!(run([1, 2], &["b 0", "b 1"], "done", false), Wrong { lost: 1, ..Wrong::default() });
        for texts in [["b 0", "a 0", "b 1"], ["a 0", "b 1", "b 0"], ["b 0", "b 1", "a 0"]] {
            assert_eq!(run([1, 2], &texts, "done", false), Wrong { mixed: 1, ..Wrong::default() });
        }
        assert_eq!(run([1, 2], all, "drained", true), none);
        assert_eq!(run([1, 2], all, "drained", false).unfounded, 1);
        assert_eq!(run([1, 2], all, "lost", true).unfounded, 1);
    }

    #[test]
    fn the_checker_finds_what_is_wrong_with_readers_and_threads() {
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
