//! Runs with the clients that people use: what each of them makes of each end that an answer can have, on one node, and on two with
//! one Redis. A cell is a complete answer, to the byte, or an error that the client itself reports. No cell is silent.
//!
//! `docs/reliability/agents.md` has the table. A cell that differs from it fails. To write the table again:
//!
//! ```sh
//! TOWER_SSE_WRITE_MATRIX=1 cargo test -p agent-tests
//! ```
//!
//! `TOWER_SSE_MATRIX=two/deploy` runs one column only, with all that its clients report.

mod cells;
mod client;
mod columns;
mod lines;
#[path = "../clients/network.rs"]
#[allow(dead_code)]
mod network;
mod node;
#[path = "../common/node_process.rs"]
mod node_process;
mod nodes;
mod process;
mod protocols;
#[path = "../redis/server.rs"]
#[allow(dead_code)]
mod redis;
mod rows;
mod table;

use std::{env, io::Write as _, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;

use self::{
    client::{Program, Registry},
    columns::{COLUMNS, Column},
    nodes::{Mode, World},
    rows::{ROWS, Row},
    table::Table,
};

/// A cell that takes this long has failed. This is a limit, not a measurement.
const STUCK: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_complete_or_an_error_that_the_client_reports() {
    let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
    let (installed, missing): (Vec<Row>, Vec<Row>) = ROWS.iter().partition(|row| row.is_installed());
    for row in missing {
        assert!(!required, "{} is not installed", row.title());
        // Not with `eprintln`, which the test harness hides when a test passes.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: {}, which is not installed\n", row.title());
    }
    let programs = Arc::new([Registry::Npm, Registry::PyPi].map(|registry| {
        let is_used = installed.iter().any(|row| row.registry == registry);
        is_used.then(|| Program::start(registry).expect("it is installed"))
    }));
    let tables = [Mode::One, Mode::Two].map(async |mode| {
        let world = World::new(mode, programs.clone()).await?;
        Some(fill(&Arc::new(world), &installed).await)
    });
    let tables = join_all(tables).await;
    let faults: Vec<String> = tables.iter().flatten().flat_map(Table::faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Fills a table: one column after the other, and each for all clients at once.
async fn fill(world: &Arc<World>, rows: &[Row]) -> Table {
    let mut table = Table::new(world.mode, rows);
    for column in COLUMNS.into_iter().filter(|column| column.is_selected(world.mode)) {
        let cells = rows.iter().map(|&row| {
            let world = world.clone();
            tokio::spawn(async move {
                let cell = timeout(STUCK, column.cell(&world, row)).await;
                cell.unwrap_or_else(|_| panic!("{:?} {column:?} {row:?} hangs", world.mode))
            })
        });
        let cells = join_all(cells).await;
        table.add(column, cells.into_iter().map(Result::unwrap).collect());
    }
    table
}

/// The only column to run, if one is selected.
fn selected() -> Option<String> {
    env::var("TOWER_SSE_MATRIX").ok()
}

impl Column {
    fn is_selected(self, mode: Mode) -> bool {
        self.exists(mode) && selected().is_none_or(|name| name == format!("{}/{}", mode.name(), self.name()))
    }
}
