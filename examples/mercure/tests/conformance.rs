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
    testDir: process.env.SUITE,
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
async fn the_hub_passes_the_suite_of_version_0() {
    passes("v0.24.2", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_passes_the_suite_of_version_1() {
    let names = [("ISSUER", "https://localhost"), ("AUDIENCE", "https://localhost/.well-known/mercure")];
    passes("v1.0.0-alpha.3", &names).await;
}

/// Runs the suite of a version against a hub with these variables.
async fn passes(version: &str, variables: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join("mercure");
    let browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].into_iter().find(|path| Path::new(path).exists());
    let playwright = folder.join("node_modules/.bin/playwright");
    let (Some(browser), true) = (browser, playwright.exists()) else {
        let required = env::var("TOWER_SSE_REQUIRE_CLIENTS").is_ok_and(|required| required == "1");
        assert!(!required, "playwright or chromium is not installed: run scripts/install-clients");
        eprintln!("LEFT OUT: playwright or chromium is not installed: run scripts/install-clients");
        return;
    };
    let suite = format!("suite-{version}");
    if !folder.join(&suite).join("mercure.spec.ts").exists() {
        eprintln!("LEFT OUT: the suite could not be downloaded: see scripts/install-clients");
        return;
    }
    let mut hub = Command::new(env!("CARGO_BIN_EXE_mercure-example"))
        .envs([("PORT", "0"), ("MERCURE_PUBLISHER_JWT_KEY", "!ChangeThisMercureHubJWTSecretKey!")])
        .envs(variables.iter().copied())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = BufReader::new(hub.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let url = line.strip_prefix("listening on ").expect("it says where");

    let config = format!("{suite}.config.js");
    fs::write(folder.join(&config), CONFIG).unwrap();
    let mut command = Command::new(playwright);
    command.args(["test", "--config", &config, "--output", &format!("results-{version}")]);
    command.current_dir(&folder).kill_on_drop(true);
    command.envs([("BASE_URL", url), ("BROWSER", browser), ("SUITE", &suite), ("CUSTOM_ID", "1")]);
    let output = timeout(STUCK, command.output()).await.expect("the suite is stuck").unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains(" passed"), "{report}");
}
