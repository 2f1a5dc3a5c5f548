//! Runs rounds of all scenarios. Within a round the servers take turns, and each round begins with another one.

use std::{io, path::Path, time::Instant};

use crate::{
    cli::RunArgs,
    measure::{self, Machine, Sample},
    quiet::{self, Others},
    report::{self, Results},
    scenario::{SCENARIOS, Scenario},
    server::Kind,
    sys,
};

pub fn run(args: &RunArgs) -> io::Result<()> {
    sys::raise_file_limit()?;
    let machine = Machine { server: args.cores.0, generator: args.cores.1 };
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| args.wants(scenario.name)).collect();
    if chosen.is_empty() {
        return Err(io::Error::other("no scenario is named so; `bench list` has them"));
    }
    let mut results = Results::new(args);
    let begin = Instant::now();
    for round in 0..args.rounds {
        for scenario in &chosen {
            let mut kinds: Vec<Kind> = scenario.servers.to_vec();
            kinds.retain(|kind| kind.is_there() && args.wants_server(*kind));
            if kinds.is_empty() {
                continue;
            }
            let first = round % kinds.len();
            kinds.rotate_left(first);
            for kind in kinds {
                one(scenario, kind, machine, args, round, &mut results);
            }
        }
        eprintln!("round {} of {}, {:.0?}", round + 1, args.rounds, begin.elapsed());
        // Keeps the results so far if the next round is interrupted.
        write(&results, &args.out)?;
    }
    print!("{}", report::table::tables(&results));
    Ok(())
}

fn one(scenario: &Scenario, kind: Kind, machine: Machine, args: &RunArgs, round: usize, results: &mut Results) {
    match undisturbed(scenario, kind, machine, args) {
        Ok((sample, others)) => {
            let values = sample.values.iter().map(|(metric, value)| format!("{value:.3} {}", metric.unit()));
            let disturbed = if others < quiet::TOO_MUCH { String::new() } else { format!(" (disturbed: {others:.2})") };
            let values = values.collect::<Vec<_>>().join(", ");
            eprintln!("{:20} {:16} {values}{disturbed}", scenario.name, kind.name());
            results.disturbed += usize::from(others >= quiet::TOO_MUCH);
            results.add(scenario.name, kind, round, sample);
        }
        Err(error) => {
            eprintln!("{:20} {:16} {error}", scenario.name, kind.name());
            results.failed(scenario.name, kind, &error);
        }
    }
}

/// Takes an undisturbed sample, or the least disturbed of several.
fn undisturbed(scenario: &Scenario, kind: Kind, machine: Machine, args: &RunArgs) -> io::Result<(Sample, f64)> {
    let begin = Instant::now();
    let mut best: Option<(Sample, f64)> = None;
    loop {
        quiet::wait(args.patience)?;
        let others = Others::watch()?;
        let sample = measure::sample(scenario, kind, machine, args.scale)?;
        let share = others.share()?;
        if best.as_ref().is_none_or(|(_, least)| share < *least) {
            best = Some((sample, share));
        }
        if let Some(best) = best.take_if(|(_, share)| *share < quiet::TOO_MUCH || begin.elapsed() > args.patience) {
            return Ok(best);
        }
    }
}

/// Reports results that were written before.
pub fn again(out: &Path) -> io::Result<()> {
    let results = report::json::read(out)?;
    report::plot::all(&results, out)?;
    std::fs::write(out.join("tables.md"), report::table::tables(&results))?;
    print!("{}", report::table::tables(&results));
    Ok(())
}

fn write(results: &Results, out: &Path) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    report::json::write(results, out)?;
    report::plot::all(results, out)?;
    std::fs::write(out.join("tables.md"), report::table::tables(results))
}
