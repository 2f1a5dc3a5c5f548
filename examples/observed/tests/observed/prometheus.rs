//! A Prometheus that scrapes the example, and `promtool`.

use std::{
    env, fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;

use crate::example::{Example, STUCK, get};

pub const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/alerts.yml");
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/observed/alerts.yml");

/// Whether Prometheus is installed. If it is not, says so, or panics if it is required.
pub fn is_installed() -> bool {
    let found = ["prometheus", "promtool"].iter().all(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    });
    assert!(found || env::var_os("TOWER_SSE_REQUIRE_PROMETHEUS").is_none(), "prometheus is not installed");
    if !found {
        // Not with `eprintln`, which the test harness captures.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test with Prometheus, which is not installed\n");
    }
    found
}

/// Runs `promtool check metrics`, `check rules` and `test rules`. Returns what each of them says if it finds something.
pub fn complaints(page: &str) -> Vec<String> {
    let mut check = promtool(&["check", "metrics"]);
    let mut running = check.stdin(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let outputs = [
        running.wait_with_output(),
        promtool(&["check", "rules", ALERTS]).output(),
        promtool(&["test", "rules", TESTS]).output(),
    ];
    let complaint = |output: Output| {
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (!output.status.success() || text.contains("FAILED")).then_some(text)
    };
    outputs.into_iter().filter_map(|output| complaint(output.unwrap())).collect()
}

fn promtool(arguments: &[&str]) -> Command {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    promtool
}

/// A running Prometheus; dropping it kills it.
pub struct Prometheus {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl Prometheus {
    /// Scrapes an example every second, and evaluates the alerts.
    pub async fn of(example: &Example) -> Self {
        let folder = env::temp_dir().join(format!("tower-sse-prometheus-{}", std::process::id()));
        let target = example.target();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{ALERTS}]\n\
             scrape_configs: [{{ job_name: chat, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        loop {
            // A process that has ended has removed its folder.
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("prometheus.yml"), &config).unwrap();
            // Another process may take the port between this moment and the server's start.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut prometheus = Self::start(&folder, port);
            for _ in 0..600 {
                if prometheus.process.try_wait().unwrap().is_some() {
                    break;
                }
                if prometheus.answers(port) {
                    return prometheus;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn start(folder: &Path, port: u16) -> Self {
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, folder: folder.to_owned(), url: format!("http://127.0.0.1:{port}") }
    }

    fn answers(&self, port: u16) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    async fn api(&self, path: &str) -> Value {
        let (_, text) = get(&format!("{}/api/v1/{path}", self.url)).await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    /// The values that a query has now; an error if Prometheus does not understand it.
    pub async fn query(&self, query: &str) -> Result<Vec<f64>, String> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.api(&format!("query?query={escaped}")).await;
        match answer["data"]["result"].as_array() {
            Some(result) => Ok(result.iter().map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()),
            None => Err(format!("{query}: {}", answer["error"])),
        }
    }

    /// The alerts, each with its health and its state, once all of them were evaluated.
    pub async fn alerts(&self) -> Vec<(String, String, String)> {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.api("rules").await;
            let rules = answer["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
            let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
            let alerts: Vec<_> =
                rules.iter().map(|rule| (text(rule, "name"), text(rule, "health"), text(rule, "state"))).collect();
            if !alerts.is_empty() && alerts.iter().all(|(_, health, _)| health != "unknown") {
                return alerts;
            }
            assert!(begun.elapsed() < STUCK, "{alerts:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
