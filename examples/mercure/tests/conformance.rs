//! The conformance suite of Mercure, in a browser against the hub. `scripts/install-clients` fetches it.

use std::{env, fs, path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(180);

/// The suite's own configuration downloads browsers. This one takes that of the system.
const CONFIG: &str = r#"
module.exports = {
    testDir: "suite",
    timeout: 30000,
    reporter: "list",
    use: { baseURL: process.env.BASE_URL },
    projects: [{
        name: "chromium",
        use: { browserName: "chromium", launchOptions: { executablePath: process.env.BROWSER, args: ["--no-sandbox"] } },
    }],
};
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_passes_the_conformance_suite() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join("mercure");
    let browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].into_iter().find(|path| Path::new(path).exists());
    let playwright = folder.join("node_modules/.bin/playwright");
    let (Some(browser), true) = (browser, playwright.exists()) else {
        let required = env::var("TOWER_SSE_REQUIRE_CLIENTS").is_ok_and(|required| required == "1");
        assert!(!required, "playwright or chromium is not installed: run scripts/install-clients");
        eprintln!("LEFT OUT: playwright or chromium is not installed: run scripts/install-clients");
        return;
    };
    if !folder.join("suite/mercure.spec.ts").exists() {
        eprintln!("LEFT OUT: the suite could not be downloaded: set MERCURE_SUITE, and run scripts/install-clients");
        return;
    }
    let mut hub = Command::new(env!("CARGO_BIN_EXE_mercure-example"))
        .envs([("PORT", "0"), ("MERCURE_PUBLISHER_JWT_KEY", "!ChangeThisMercureHubJWTSecretKey!")])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(hub.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let url = line.strip_prefix("listening on ").expect("it says where");

    fs::write(folder.join("playwright.config.js"), CONFIG).unwrap();
    let mut command = Command::new(playwright);
    command.arg("test").current_dir(&folder).kill_on_drop(true);
    command.envs([("BASE_URL", url), ("BROWSER", browser), ("CUSTOM_ID", "1")]);
    let output = timeout(STUCK, command.output()).await.expect("the suite is stuck").unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains(" passed"), "{report}");
}
