//! The server's process, from outside.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::STUCK;

/// A running server; dropping it kills it.
pub struct Process {
    pub port: u16,
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Stats {
    /// Bytes allocated, by the allocator.
    pub allocated: u64,
    /// Resident memory, by the kernel.
    pub resident: u64,
    pub files: usize,
    pub tasks: usize,
    /// How often the tasks of connections were polled; 0 on hyper.
    pub polls: u64,
    pub connections: usize,
    /// Bytes held, by the hub.
    pub held: u64,
}

/// The server that drives the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    Hyper,
    /// The crate's own server.
    Own,
}

impl Stack {
    /// Returns the server that `LOAD_SERVER` names, `own` or `hyper`. By default, it is the crate's own.
    pub fn chosen() -> Self {
        match env::var("LOAD_SERVER").as_deref() {
            Ok("hyper") => Self::Hyper,
            Ok("own") | Err(_) => Self::Own,
            Ok(other) => panic!("there is no server `{other}`: use `hyper` or `own`"),
        }
    }
}

impl Process {
    /// Starts the [chosen](Stack::chosen) server. Its channels hold `history` events.
    pub fn start(grace: Duration, history: usize) -> Self {
        match Stack::chosen() {
            Stack::Hyper => Self::with_buffer(grace, history, 0),
            Stack::Own => Self::spawn(&format!("{} {history} 0 30000 0", grace.as_millis())),
        }
    }

    /// Starts hyper. It buffers at most `buffer` bytes for a connection; 0 stands for its default.
    pub fn with_buffer(grace: Duration, history: usize, buffer: usize) -> Self {
        Self::spawn(&format!("{} {history} {buffer} 0 0", grace.as_millis()))
    }

    /// Starts the crate's own server with a stall timeout. Its sockets have small buffers, so that they are soon full and
    /// the system does not run out of memory for them.
    pub fn with_stall(grace: Duration, history: usize, stall: Duration) -> Self {
        Self::spawn(&format!("{} {history} 0 {} {}", grace.as_millis(), stall.as_millis(), 16 << 10))
    }

    fn spawn(settings: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "server::serve", "--nocapture"])
            .env("TOWER_SSE_LOAD_SERVER", settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { port: 0, child, lines };
        process.port = process.answer().parse().unwrap();
        process
    }

    fn answer(&mut self) -> String {
        self.lines
            .by_ref()
            .find_map(|line| line.unwrap().strip_prefix("> ").map(str::to_owned))
            .expect("the server lives")
    }

    pub fn tell(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.answer()
    }

    pub fn stats(&mut self) -> Stats {
        let answer = self.tell("stats");
        let mut numbers = answer.split(' ').map(|number| number.parse::<u64>().unwrap());
        let mut next = || numbers.next().unwrap();
        let (allocated, held) = (next(), next());
        let (connections, tasks) = (usize::try_from(next()).unwrap(), usize::try_from(next()).unwrap());
        let polls = next();
        let pid = self.child.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Stats { allocated, resident, files, tasks, polls, connections, held }
    }

    /// Returns the processor time that the server has used, in steps of ten milliseconds.
    pub fn processor_time(&mut self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name in parentheses may contain spaces. The fields 14 and 15 are the user and the system time.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to exit, and returns what it said last: whether all readers were gone, how many events
    /// were accepted, and how many refused. A process that does not exit is killed, which fails the test.
    pub fn farewell(&mut self) -> (bool, u64, u64) {
        let (pid, (ended, is_ended)) = (self.child.id().to_string(), mpsc::channel::<()>());
        thread::spawn(move || {
            if is_ended.recv_timeout(STUCK) == Err(RecvTimeoutError::Timeout) {
                _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        let answer = self.answer();
        assert!(self.child.wait().unwrap().success());
        drop(ended);
        let words: Vec<&str> = answer.split(' ').collect();
        (words[0] == "true", words[1].parse().unwrap(), words[2].parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
