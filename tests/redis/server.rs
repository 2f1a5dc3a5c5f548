//! A Redis server of the test's own: on a free port, with a folder for its data, and gone with it.

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
    /// What it is told besides.
    settings: Vec<String>,
}

/// Whether there is a server to run. If not that is said, or an error where it is required.
pub fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("TOWER_SSE_REQUIRE_REDIS").is_none(), "redis-server is not installed");
    if !found {
        // Past the test harness, which would keep it to itself.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "LEFT OUT: redis-server is not installed");
    }
    found
}

impl Server {
    /// One that has on disk whatever it acknowledged.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_at(|_| {
            // What it acknowledged is on disk.
            let durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
            durable.iter().chain(settings).map(|word| word.to_string()).collect()
        })
    }

    fn start_at(settings: impl Fn(&Path) -> Vec<String>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tower-sse-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { child: None, settings: settings(&folder), folder, port: 0 };
        // Between the moment at which the port is found and the one at which it is taken another may take it.
        while server.child.is_none() {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.run();
        }
        server
    }

    /// Starts it, with the data that it has.
    pub fn run(&mut self) {
        // A server listens there only once it has its port, which another one may have by now.
        let own = self.folder.join("own.sock");
        let _ = std::fs::remove_file(&own);
        let mut child = Command::new("redis-server")
            // First, since a sentinel's file has to be.
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

    /// As `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It hangs: its connections stay, and nothing answers, until it goes on.
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

    /// Loses what it has on disk.
    #[allow(dead_code)]
    pub fn empty(&self) {
        for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }

    /// Where its data are.
    #[allow(dead_code)]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it can be reached besides.
    #[allow(dead_code)]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("own.sock")
    }

    #[allow(dead_code)]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a command answers, by the client that comes with the server.
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
