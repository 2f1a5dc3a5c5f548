//! The columns of the matrix: what happens to an answer.

use std::pin::pin;

use futures_util::future::{Either, join_all, select};

use crate::{
    cells::Cell,
    client::{Asked, Outcome, Report, Request},
    network::{Fault, Network},
    node::Settings,
    nodes::{Mode, Nodes, World},
    process::Process,
    protocols::{Script, Served, Step::*},
    rows::Row,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Exact,
    Merged,
    Late,
    Cut,
    Stop,
    Fails,
    Deploy,
    DeployOfReader,
    Killed,
    Evicted,
    Runs,
    Readers,
    Twice,
    After,
}

use Column::*;

pub const COLUMNS: [Column; 14] =
    [Exact, Merged, Late, Cut, Stop, Fails, Deploy, DeployOfReader, Killed, Evicted, Runs, Readers, Twice, After];

/// The number of places at which the connection is cut.
const PLACES: usize = 16;
/// How much shorter a client's answer may be than the one that was measured, by its head.
const HEAD: usize = 64;

impl Column {
    /// What the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Exact => "exact text",
            Merged => "tokens merged",
            Late => "a late page",
            Cut => "cut, and again",
            Stop => "stopped",
            Fails => "the model fails",
            Deploy => "a deploy",
            DeployOfReader => "a deploy of the reader's node, and again",
            Killed => "kill -9",
            Evicted => "the head is gone",
            Runs => "too many runs",
            Readers => "too many readers",
            Twice => "two at once",
            After => "again after the end",
        }
    }

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub fn exists(self, mode: Mode) -> bool {
        self != DeployOfReader || mode == Mode::Two
    }

    pub async fn cell(self, world: &World, row: Row) -> Cell {
        let (here, there) = (world.nodes.here(), world.nodes.there());
        match self {
            Exact => {
                let asked = world.ask(row, here, &world.script(&[Half, Rest])).await;
                Cell::new([asked.report().await]).complete()
            }
            Merged => {
                let (nodes, script) = (&world.merging, world.script(&[Half, Wait, Rest]));
                let page = world.ask(row, nodes.here(), &script).await;
                let other = async {
                    let other = world.attach(row, nodes.there(), &script).await;
                    other.report_after(nodes.here().open(&script.run)).await
                };
                nodes.here().until_reached(&script.run).await;
                let (page, other) = tokio::join!(page.report(), other);
                Cell::all(vec![Cell::new([page]).complete(), Cell::new([other]).complete()])
            }
            Late => {
                let script = world.script(&[Half, Wait, Rest]);
                here.start_run(row.protocol, &script).await;
                here.until_reached(&script.run).await;
                let page = world.attach(row, there, &script).await;
                Cell::new([page.report_after(here.open(&script.run)).await]).complete()
            }
            Cut => cut(world, row).await,
            Stop => {
                let script = world.script(&[Half, Wait]);
                let reader = read(world, &world.nodes, row, &script).await;
                let stop = async {
                    if !row.stops {
                        return there.stop(&script.run).await;
                    }
                    let stopped = world.send(row, Request { act: "stop", ..world.to(row, there, &script) }).await;
                    assert_eq!(stopped.report().await.outcome, Outcome::Complete);
                };
                let cell = Cell::new([reader.report_after(stop).await]).says(&["stopped"]);
                cell.and(asks_anew(world, row, there, &script).await)
            }
            Fails => {
                let both = [Fail, Panic].map(async |end| {
                    let script = world.script(&[Half, Wait, end]);
                    let reader = read(world, &world.nodes, row, &script).await;
                    let cell = Cell::new([reader.report_after(here.open(&script.run)).await]).says(&["failed"]);
                    cell.and(asks_anew(world, row, there, &script).await)
                });
                Cell::all(join_all(both).await)
            }
            Deploy => {
                let (nodes, script) = (world.start(Settings::default()), world.script(&[Half, Wait]));
                let reader = read(world, &nodes, row, &script).await;
                let cell = Cell::new([reader.report_after(nodes.here().deploy()).await]);
                let cell = cell.says(&["was shut down", "drained"]);
                match world.mode {
                    Mode::One => cell,
                    Mode::Two => cell.and(asks_anew(world, row, nodes.there(), &script).await),
                }
            }
            DeployOfReader => deploy_of_reader(world, row).await,
            Killed => {
                let (nodes, script) = (world.start(Settings::default()), world.script(&[Half, Wait]));
                let reader = read(world, &nodes, row, &script).await;
                let cell = Cell::new([reader.report_after(async { nodes.here().kill() }).await]);
                match world.mode {
                    // Nobody is left to name a reason: the connection fails.
                    Mode::One => cell,
                    Mode::Two => {
                        let cell = cell.says(&["is gone", "lost"]);
                        cell.and(asks_anew(world, row, nodes.there(), &script).await)
                    }
                }
            }
            Evicted => {
                let (nodes, script) = (&world.small, world.script(&[Half, Much, Wait]));
                nodes.here().start_run(row.protocol, &script).await;
                nodes.here().until_reached(&script.run).await;
                let report = world.attach(row, nodes.there(), &script).await.report().await;
                nodes.here().open(&script.run).await;
                Cell::new([report])
            }
            Runs => {
                let asked = world.ask(row, world.full.there(), &world.script(&[Half, Rest])).await;
                Cell::new([asked.report().await])
            }
            Readers => too_many_readers(world, row).await,
            Twice => twice(world, row).await,
            After => {
                let script = world.script(&[Half, Rest]);
                let first = world.ask(row, here, &script).await.report().await;
                let after = first.position.clone();
                let request = Request { act: "attach", after, ..world.to(row, there, &script) };
                let second = world.send(row, request).await.report().await;
                let goes_on = first.position.is_some();
                Cell::new([first.clone(), if goes_on { go_on(&first, second) } else { second }])
            }
        }
    }
}

/// A client that reads a run. If there are two nodes, it reads on the other one.
async fn read(world: &World, nodes: &Nodes, row: Row, script: &Script) -> Asked {
    if world.mode == Mode::One {
        return world.ask(row, nodes.here(), script).await;
    }
    nodes.here().start_run(row.protocol, script).await;
    world.attach(row, nodes.there(), script).await
}

/// Asks again in the thread of a run that has ended. The thread is free, so the answer is complete.
async fn asks_anew(world: &World, row: Row, node: &Process, ended: &Script) -> Cell {
    let script = Script { thread: ended.thread.clone(), ..world.script(&[Half, Rest]) };
    Cell::new([world.ask(row, node, &script).await.report().await]).complete()
}

async fn cut(world: &World, row: Row) -> Cell {
    let here = world.nodes.here();
    let sample = world.script(&[Half, Rest, Wait]);
    here.start_run(row.protocol, &sample).await;
    here.until_reached(&sample.run).await;
    let bytes = here.measure(row.protocol, &Served::of(row.protocol).again(&sample)).await - HEAD;
    here.open(&sample.run).await;
    let cells = (0..PLACES).map(async |n| {
        let place = 1 + n * bytes / PLACES;
        let fault = if n % 2 == 0 { Fault::Cut(place) } else { Fault::Reset(place) };
        // Half of them resume on the page that asked, half on a new one.
        cut_at(world, row, fault, n % 4 < 2).await
    });
    Cell::all(join_all(cells).await)
}

async fn cut_at(world: &World, row: Row, fault: Fault, same_page: bool) -> Cell {
    let (here, there) = (world.nodes.here(), world.nodes.there());
    let network = Network::to(here.port, vec![fault], false).await;
    let script = world.script(&[Half, Rest, Wait]);
    let url = format!("http://127.0.0.1:{}/{}", network.port, row.protocol);
    let asked = world.send(row, Request { act: "ask", url, ..world.to(row, here, &script) }).await;
    if row.reconnects {
        network.spent().await;
        here.open(&script.run).await;
        return Cell::new([asked.report().await]).complete();
    }
    if row.resumes {
        // The client may give up before that.
        let first = match select(pin!(network.spent()), pin!(asked.report())).await {
            Either::Left(((), report)) => {
                here.open(&script.run).await;
                report.await
            }
            Either::Right((report, _)) => report,
        };
        if first.outcome == Outcome::Complete {
            return Cell::new([first]);
        }
        return Cell::new(again(world, row, (here, there), &script, first, same_page).await).complete();
    }
    let first = asked.report().await;
    here.until_read_by(&script.run, 0).await;
    Cell::new(again(world, row, (here, there), &script, first, same_page).await).complete()
}

async fn deploy_of_reader(world: &World, row: Row) -> Cell {
    let (nodes, script) = (world.start(Settings::default()), world.script(&[Half, Wait, Rest]));
    let reader = read(world, &nodes, row, &script).await;
    let first = reader.report_after(nodes.there().deploy()).await;
    Cell::new(again(world, row, (nodes.here(), nodes.here()), &script, first, true).await).complete()
}

/// Has a client ask again, on the page that asked or on a new one, for a run whose producer waits at the first of the nodes.
async fn again(
    world: &World,
    row: Row,
    (from, to): (&Process, &Process),
    script: &Script,
    first: Report,
    same_page: bool,
) -> [Report; 2] {
    // Some clients resume from their position, and others begin again.
    let after = first.position.clone().filter(|_| same_page);
    let goes_on = after.is_some();
    let request = Request { act: "attach", again: same_page, after, ..world.to(row, to, script) };
    let asked = world.send(row, request).await;
    if goes_on {
        // Without the rest of the answer there may be nothing new to read.
        from.open(&script.run).await;
        let second = go_on(&first, asked.report().await);
        return [first, second];
    }
    let second = asked.report_after(from.open(&script.run)).await;
    [first, second]
}

async fn too_many_readers(world: &World, row: Row) -> Cell {
    // With two nodes, one place belongs to the node itself, which reads what the other one tells it.
    let max_readers = if world.mode == Mode::One { 1 } else { 2 };
    let nodes = world.start(Settings { max_readers, ..Settings::default() });
    let script = world.script(&[Half, Rest, Wait]);
    nodes.here().start_run(row.protocol, &script).await;
    nodes.here().until_reached(&script.run).await;
    let reader = nodes.there().reader(row.protocol, &Served::of(row.protocol).again(&script)).await;
    let asked = world.attach(row, nodes.there(), &script).await;
    if !row.reconnects {
        return Cell::new([asked.report().await]);
    }
    // The client retries until there is room. With the second refusal it has come back once.
    nodes.there().until_refused(2).await;
    drop(reader);
    nodes.here().open(&script.run).await;
    Cell::new([asked.report().await]).complete()
}

async fn twice(world: &World, row: Row) -> Cell {
    let nodes = &world.nodes;
    let one = world.script(&[Half, Wait, Rest]);
    let other = Script { thread: one.thread.clone(), ..world.script(&[Half, Wait, Rest]) };
    let both = tokio::join!(world.ask(row, nodes.here(), &one), world.ask(row, nodes.there(), &other));
    // The client that is refused reports while the other one still waits.
    let (one_reports, other_reports) = (pin!(both.0.report()), pin!(both.1.report()));
    let (refused, running) = select(one_reports, other_reports).await.factor_first();
    nodes.here().open(&one.run).await;
    nodes.there().open(&other.run).await;
    Cell::new([refused, running.await]).complete()
}

/// What a client has after it resumed.
fn go_on(first: &Report, mut second: Report) -> Report {
    if second.outcome != Outcome::Nothing {
        second.text.insert_str(0, &first.text);
    }
    second
}
