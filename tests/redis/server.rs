//! A Redis server for one test: on a free port, with a folder for its data, and removed with its value.

use std::{
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

pub struct Server {
    child: Option<Child>,
    folder: PathBuf,
    port: u16,
    /// Further arguments.
    settings: Vec<String>,
}

/// Whether `redis-server` is installed. If it is not, says so, or panics if it is required.
pub fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("TOWER_SSE_REQUIRE_REDIS").is_none(), "redis-server is not installed");
    if !found {
        // Not with `eprintln`, which the test harness captures.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "LEFT OUT: redis-server is not installed");
    }
    found
}

impl Server {
    /// Starts a server that loses nothing that it acknowledged when it is killed.
    #[allow(dead_code)]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_at(|_| {
            // The system has every acknowledged write, so each of them outlives the process. Waiting for the disk too may take
            // seconds if the disk is busy.
            let durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "no"];
            durable.iter().chain(settings).map(|word| word.to_string()).collect()
        })
    }

    fn start_at(settings: impl Fn(&Path) -> Vec<String>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tower-sse-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { child: None, settings: settings(&folder), folder, port: 0 };
        // Another process may take the port between the moment it is found free and the server's start.
        while server.child.is_none() {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.run();
        }
        server
    }

    /// Starts the process, with the data that is on disk.
    pub fn run(&mut self) {
        // The server listens on this socket only if it got its port, which another process may have taken.
        let own = self.folder.join("own.sock");
        let _ = std::fs::remove_file(&own);
        let mut child = Command::new("redis-server")
            // First, because a sentinel's file has to be the first argument.
            .args(&self.settings)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(&self.folder)
            .arg("--unixsocket")
            .arg(&own)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if UnixStream::connect(&own).is_ok() {
                self.child = Some(child);
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a sentinel that watches a master under the name `hub`, and has a replica take over within seconds.
    #[allow(dead_code)]
    pub fn start_sentinel(master: &Server) -> Self {
        let text = format!(
            "sentinel monitor hub 127.0.0.1 {} 1\nsentinel down-after-milliseconds hub 500\nsentinel failover-timeout hub 2000\n",
            master.port
        );
        Self::start_at(|folder| {
            let file = folder.join("sentinel.conf");
            std::fs::write(&file, &text).unwrap();
            vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()]
        })
    }

    /// Kills the process, like `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process, or lets it go on: meanwhile its connections stay open, and nothing answers.
    #[allow(dead_code)]
    pub fn hang(&self, hangs: bool) {
        let Some(child) = &self.child else { return };
        let signal = if hangs { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    #[allow(dead_code)]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Deletes its data on disk.
    #[allow(dead_code)]
    pub fn empty(&self) {
        for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }

    /// The folder of its data.
    #[allow(dead_code)]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The Unix socket on which it listens as well.
    #[allow(dead_code)]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("own.sock")
    }

    #[allow(dead_code)]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command with `redis-cli`, and returns the answer.
    #[allow(dead_code)]
    pub fn command(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
