//! Rounds of all scenarios: within a round the servers take turns, and which is first changes from round to round.

use std::{io, path::Path, time::Instant};

use crate::{
    cli::RunArgs,
    measure::{self, Machine},
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
                one(scenario, kind, machine, args.scale, round, &mut results);
            }
        }
        eprintln!("round {} of {}, {:.0?}", round + 1, args.rounds, begin.elapsed());
        // What there is by now is not lost if the next round is interrupted.
        write(&results, &args.out)?;
    }
    print!("{}", report::table::tables(&results));
    Ok(())
}

fn one(scenario: &Scenario, kind: Kind, machine: Machine, scale: f64, round: usize, results: &mut Results) {
    match measure::sample(scenario, kind, machine, scale) {
        Ok(sample) => {
            let values = sample.values.iter().map(|(metric, value)| format!("{value:.3} {}", metric.unit()));
            eprintln!("{:20} {:16} {}", scenario.name, kind.name(), values.collect::<Vec<_>>().join(", "));
            results.add(scenario.name, kind, round, sample);
        }
        Err(error) => {
            eprintln!("{:20} {:16} {error}", scenario.name, kind.name());
            results.failed(scenario.name, kind, &error);
        }
    }
}

/// The report of results that were written before.
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
