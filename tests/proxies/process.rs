//! A proxy's process: found, configured in a folder of its own, started, ended.

use std::{
    env, fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Where Debian keeps servers' programs; only root's `PATH` has it.
const SERVERS: &str = "/usr/sbin";

/// The path of a program. If it is not installed, the result is `None`, after saying so loudly, or a panic if
/// `TOWER_SSE_REQUIRE_` and the name of the proxy, such as `TOWER_SSE_REQUIRE_NGINX`, is 1.
pub fn find(proxy: &str, program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from(SERVERS)]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        let required = env::var_os(format!("TOWER_SSE_REQUIRE_{proxy}")).is_some_and(|value| value == "1");
        assert!(!required, "{program} is not installed");
        // Not with `eprintln`, which the test harness hides when a test passes.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test behind {program}, which is not installed\n");
    }
    found
}

/// A proxy that listens. Dropping it ends it.
pub struct Process {
    process: Child,
    folder: PathBuf,
    pub port: u16,
}

impl Process {
    /// Writes the configuration to the file `name` in a new folder, runs the program there, and waits until it listens. The
    /// port goes into both the configuration and the arguments.
    pub async fn start(
        program: &Path,
        name: &str,
        configuration: impl Fn(u16) -> String,
        arguments: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Self {
        let mut said = Vec::new();
        // Another process may take the port after it was found free and before the program listens.
        while said.len() < 3 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let configuration = configuration(port);
            let mut started = Self::spawn(program, port, name, &configuration, |folder| arguments(folder, port));
            if started.listens().await {
                return started;
            }
            said.push(format!("{}\n{configuration}", started.log()));
        }
        panic!("three times it ended: {}", said.join("\n"));
    }

    fn spawn(
        program: &Path,
        port: u16,
        name: &str,
        configuration: &str,
        arguments: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let label = program.file_name().unwrap().display().to_string();
        let folder = env::temp_dir().join(format!("tower-sse-{label}-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), configuration).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(program)
            .args(arguments(&folder))
            .current_dir(&folder)
            // For files that a program leaves in the home folder.
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, folder, port }
    }

    /// Waits until the program listens. Returns `false` if it ends instead.
    async fn listens(&mut self) -> bool {
        while self.process.try_wait().unwrap().is_none() {
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // A signal comes first, because some would leave processes behind if killed.
        let pid = self.process.id().to_string();
        _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        for _ in 0..200 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        _ = self.process.kill();
        _ = self.process.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}
