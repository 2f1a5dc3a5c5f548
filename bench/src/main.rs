//! The benchmark of `tower-sse`: servers with one HTTP contract, and a load generator that counts every delivery.
//!
//! `cargo run --release -- run` measures everything, prints the tables, and writes JSON and plots.

mod cli;
mod control;
mod load;
mod mark;
mod measure;
mod process;
mod quiet;
mod report;
mod run;
mod scenario;
mod server;
mod sys;

use std::{io, process::ExitCode};

use cli::Cli;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args().skip(1)) {
        Ok(Cli::Run(args)) => run::run(&args),
        Ok(Cli::Report(out)) => run::again(&out),
        Ok(Cli::List) => list(),
        Ok(Cli::Server { kind, core, settings }) => serve(kind, core, settings),
        Err(wrong) => Err(io::Error::other(wrong)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(kind: server::Kind, core: Option<usize>, settings: server::Settings) -> io::Result<()> {
    sys::raise_file_limit()?;
    sys::name(kind.name())?;
    // The process inherited the load generator's scheduling.
    sys::batch(false)?;
    if let Some(core) = core {
        sys::pin(core)?;
    }
    server::run(kind, settings)
}

fn list() -> io::Result<()> {
    for scenario in scenario::SCENARIOS {
        println!("{:20} {}", scenario.name, scenario.title);
    }
    println!();
    for kind in server::Kind::ALL {
        println!("{:20} {}", kind.name(), if kind.is_there() { "" } else { "(not installed here)" });
    }
    Ok(())
}
