//! The command line.

use std::{path::PathBuf, time::Duration};

use crate::{
    scenario::SCENARIOS,
    server::{Kind, Settings},
};

pub const HELP: &str = "\
bench run [--scenario NAME]... [--server NAME]... [--rounds 5] [--quick] [--scale 1] [--cores 0,1]
          [--patience 20] [--out DIR]
    measures, prints the tables, and writes results.json, tables.md and plots to DIR, by default bench-results.
    --scenario takes a beginning too: `--scenario fanout`. --quick does a fifth of the work in 3 rounds; --scale does
    that part of the work. --patience is how many seconds it waits for other processes to be quiet, before each sample
    and for a better one after a disturbed one.
bench report [DIR]
    the tables and plots of a results.json once more
bench list
    the scenarios and servers
bench server NAME [--core 0] [--history 1024] [--keep-alive-ms 15000] [--event-size 100]
    one server alone; it prints its addresses for HTTP and for control
";

pub enum Cli {
    Run(RunArgs),
    Report(PathBuf),
    List,
    Server { kind: Kind, core: Option<usize>, settings: Settings },
}

pub struct RunArgs {
    pub scenarios: Vec<String>,
    pub servers: Vec<Kind>,
    pub rounds: usize,
    pub scale: f64,
    pub patience: Duration,
    /// The server's core, and the load generator's.
    pub cores: (usize, usize),
    pub out: PathBuf,
}

impl RunArgs {
    /// Whether a scenario is selected. A name that is no scenario's selects all that begin with it.
    pub fn wants(&self, scenario: &str) -> bool {
        let is_whole = |name: &str| SCENARIOS.iter().any(|scenario| scenario.name == name);
        let means = |name: &str| if is_whole(name) { scenario == name } else { scenario.starts_with(name) };
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| means(name))
    }

    pub fn wants_server(&self, kind: Kind) -> bool {
        self.servers.is_empty() || self.servers.contains(&kind)
    }
}

/// Parses the arguments; an error says what is wrong with them.
pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Cli, String> {
    match args.next().as_deref() {
        Some("run") => parse_run(args).map(Cli::Run),
        Some("report") => Ok(Cli::Report(args.next().unwrap_or_else(|| DEFAULT_OUT.into()).into())),
        Some("list") => Ok(Cli::List),
        Some("server") => parse_server(args),
        _ => Err(HELP.into()),
    }
}

const DEFAULT_OUT: &str = "bench-results";

fn parse_run(mut args: impl Iterator<Item = String>) -> Result<RunArgs, String> {
    let mut run = RunArgs {
        scenarios: Vec::new(),
        servers: Vec::new(),
        rounds: 5,
        scale: 1.0,
        patience: Duration::from_secs(20),
        cores: (0, 1),
        out: DEFAULT_OUT.into(),
    };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match &*name {
            "--scenario" => run.scenarios.push(value()?),
            "--server" => run.servers.push(server(&value()?)?),
            "--rounds" => run.rounds = number(&value()?)?,
            "--quick" => (run.rounds, run.scale) = (3, 0.2),
            "--patience" => run.patience = Duration::from_secs(number(&value()?)? as u64),
            "--scale" => run.scale = value()?.parse().map_err(|_| "--scale needs a number")?,
            "--cores" => {
                let value = value()?;
                let (server, generator) = value.split_once(',').ok_or("--cores needs two numbers")?;
                run.cores = (number(server)?, number(generator)?);
            }
            "--out" => run.out = value()?.into(),
            _ => return Err(format!("{name} is not known\n{HELP}")),
        }
    }
    Ok(run)
}

fn parse_server(mut args: impl Iterator<Item = String>) -> Result<Cli, String> {
    let kind = server(&args.next().unwrap_or_default())?;
    let (mut core, mut settings) = (None, Settings::default());
    while let Some(name) = args.next() {
        let value = args.next().ok_or(format!("{name} needs a value"))?;
        match &*name {
            "--core" => core = Some(number(&value)?),
            "--history" => settings.history = number(&value)?,
            "--keep-alive-ms" => settings.keep_alive = Duration::from_millis(number(&value)? as u64),
            "--event-size" => settings.event_size = number(&value)?,
            _ => return Err(format!("{name} is not known\n{HELP}")),
        }
    }
    Ok(Cli::Server { kind, core, settings })
}

fn number(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("{value} is not a number"))
}

fn server(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or(format!("{name} is not a server; `bench list` has them"))
}
