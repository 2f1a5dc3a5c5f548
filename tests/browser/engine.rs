//! The browsers, each behind the WebDriver program of its project.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longer than a driver needs to start or to end.
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Chromium,
    Firefox,
    /// Safari's engine, in WebKitGTK's own small browser.
    WebKit,
}

impl Engine {
    /// Its driver and its browser, if both are installed.
    pub fn programs(self) -> Option<(PathBuf, PathBuf)> {
        let (driver, browser) = match self {
            Self::Chromium => (
                on_path(&["chromedriver"]),
                on_path(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
            ),
            // Debian has no package of geckodriver; `scripts/install-clients` puts it into the target folder.
            Self::Firefox => (on_path(&["geckodriver"]).or_else(geckodriver), on_path(&["firefox-esr", "firefox"])),
            Self::WebKit => (on_path(&["WebKitWebDriver"]).filter(|_| on_path(&["Xvfb"]).is_some()), mini_browser()),
        };
        driver.zip(browser)
    }

    /// The packages from which `scripts/test` installs it.
    pub fn packages(self) -> &'static str {
        match self {
            Self::Chromium => "chromium and chromium-driver",
            Self::Firefox => "firefox-esr and geckodriver",
            Self::WebKit => "webkit2gtk-driver and xvfb",
        }
    }

    /// The capabilities that a session requests.
    pub fn capabilities(self, browser: &Path, profile: &Path) -> Value {
        let profile = format!("--user-data-dir={}", profile.display());
        let mut capabilities = match self {
            Self::Chromium => {
                let arguments: Vec<&str> = CHROMIUM.iter().copied().chain([profile.as_str()]).collect();
                json!({ "goog:chromeOptions": { "binary": browser, "args": arguments } })
            }
            Self::Firefox => json!({ "moz:firefoxOptions": { "binary": browser, "args": ["-headless"] } }),
            Self::WebKit => json!({ "webkitgtk:browserOptions": { "binary": browser, "args": ["--automation"] } }),
        };
        // By default, a driver gives up on a script after 30 seconds, earlier than the page does.
        capabilities["timeouts"] = json!({ "script": 2 * SOON.as_secs() * 1_000 });
        capabilities
    }
}

const CHROMIUM: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,860",
];

/// The driver's process; dropping it ends it and the browser that it started.
pub struct Driver {
    process: Child,
    pub port: u16,
    pub profile: PathBuf,
    /// The session, once there is one.
    pub session: Option<String>,
    /// The display, for a browser that needs one.
    display: Option<Child>,
}

impl Driver {
    /// Starts a driver. If it exits before it listens, as happens now and then, another is started, twice at most.
    pub fn start(engine: Engine, program: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = env::temp_dir().join(format!("tower-sse-browser-{}-{count}", std::process::id()));
        fs::create_dir_all(&profile).unwrap();
        let (display, name) = match engine {
            Engine::WebKit => Some(display()).unzip(),
            Engine::Chromium | Engine::Firefox => (None, None),
        };
        let mut command = Command::new(program);
        // The home folder is the test's own, and the process group ends whatever the driver starts.
        command.env("HOME", &profile).env("XDG_RUNTIME_DIR", &profile).env("TMPDIR", &profile).process_group(0);
        command.envs(name.map(|name| ("DISPLAY", name))).stderr(Stdio::null());
        let mut ended = Vec::new();
        while ended.len() < 3 {
            let listening = match engine {
                Engine::Chromium => listen(command.arg("--port=0")),
                Engine::Firefox => listen(command.args(["--port", "0", "--profile-root"]).arg(&profile)),
                Engine::WebKit => listen_unheard(&mut command),
            };
            match listening {
                Ok((process, port)) => return Self { process, port, profile, session: None, display },
                Err(said) => ended.push(said),
            }
        }
        panic!("three drivers of {engine:?} ended before they listened: {ended:#?}");
    }

    /// Sends a request that ends the browser. A driver that hangs is killed afterwards.
    fn ask(&self, request: &str) {
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            _ = stream.set_read_timeout(Some(SOON));
            _ = write!(stream, "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
            _ = stream.read(&mut [0; 1024]);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.ask(&format!("DELETE /session/{session}"));
        }
        // Ends whatever it started and left running.
        _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.process.id())])
            .stderr(Stdio::null())
            .status();
        _ = self.process.wait();
        if let Some(display) = &mut self.display {
            _ = display.kill();
            _ = display.wait();
        }
        _ = fs::remove_dir_all(&self.profile);
    }
}

/// Starts a process that prints its port. Returns both, or its status and output if it exited.
fn listen(command: &mut Command) -> Result<(Child, u16), String> {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        said.push_str(&line);
        said.push('\n');
        let port = line.split_once("successfully on port ").or_else(|| line.split_once("Listening on 127.0.0.1:"))?.1;
        port.trim_end_matches('.').parse().ok()
    });
    let Some(port) = port else {
        _ = process.kill();
        return Err(format!("{}: {said}", process.wait().unwrap()));
    };
    // It goes on printing, and must not find the pipe closed.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((process, port))
}

/// Starts a process that does not print its port, on one that is free.
fn listen_unheard(command: &mut Command) -> Result<(Child, u16), String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).unwrap().port();
    let mut process = command.arg(format!("--port={port}")).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > SOON || process.try_wait().unwrap().is_some() {
            _ = process.kill();
            return Err(process.wait().unwrap().to_string());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((process, port))
}

/// Starts a display, and returns its name too.
fn display() -> (Child, String) {
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut number = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut number).unwrap();
    assert!(!number.is_empty(), "Xvfb has no display");
    (process, format!(":{}", number.trim()))
}

fn geckodriver() -> Option<PathBuf> {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    Some(clients.join("geckodriver/bin/geckodriver")).filter(|path| path.is_file())
}

/// WebKitGTK keeps its browser beside its libraries, in a folder of the machine's architecture.
fn mini_browser() -> Option<PathBuf> {
    let folders = |path: &Path| -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let libraries = [PathBuf::from("/usr/libexec")].into_iter().chain(folders(Path::new("/usr/lib")).ok()?);
    let browsers = libraries
        .flat_map(|library| ["4.1", "4.0"].map(|version| library.join(format!("webkit2gtk-{version}/MiniBrowser"))));
    browsers.into_iter().find(|path| path.is_file())
}

/// The first of these programs that is on the `PATH`.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}
