//! A node as a process: the test's own program, started again with only the test that is the node.
#![allow(dead_code)]

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    net::Ipv4Addr,
    process::{self, Child, Command, Stdio},
    thread,
};

use tokio::{net::TcpListener, runtime};

/// A running node. Dropping it kills it.
pub struct NodeProcess {
    pub port: u16,
    child: Child,
}

impl NodeProcess {
    /// Starts a node, and waits for its port. `hear` gets each further line that the node prints.
    ///
    /// The node runs until it is killed, or until this process is gone and the node's standard input ends.
    pub fn start(
        test: &str,
        variables: &[(&str, String)],
        stderr: Stdio,
        hear: impl FnMut(String) + Send + 'static,
    ) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.ok()?.strip_prefix("listening on ")?.parse().ok()).unwrap();
        // The pipe must not fill up, and it still has what a node printed before it was killed.
        thread::spawn(move || lines.map_while(Result::ok).for_each(hear));
        Self { port, child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the node, like `kill -9`.
    pub fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs this process as a node: serves until the process that started it is gone.
pub fn run(serve: impl Future<Output = ()>) {
    thread::spawn(|| {
        _ = io::stdin().lines().last();
        process::exit(0);
    });
    runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap().block_on(serve);
}

/// Listens on a free port, and tells the process that started this node which one it is.
pub async fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap().port());
    listener
}
