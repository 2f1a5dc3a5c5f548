//! What operators see of the example: its metrics, with the dashboard, the alerts and the guide that speak of them, and its
//! answers to probes.

mod example;
mod prometheus;
#[path = "../../../../tests/redis/server.rs"]
mod server;

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::{
    example::{Example, STUCK},
    prometheus::Prometheus,
    server::Server,
};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

fn read(path: &str) -> String {
    fs::read_to_string(format!("{DOCS}/{path}")).unwrap()
}

/// The metrics that a text names, without what Prometheus adds to the names of histograms.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |char: char| char.is_ascii_lowercase() || char == '_';
    let names = text.split("tower_sse_").skip(1).map(|rest| rest.split(|char| !is_part(char)).next().unwrap());
    let series = names.filter(|name| !name.is_empty()).map(|name| format!("tower_sse_{name}"));
    series
        .map(|name| {
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            base.filter(|base| base.ends_with("_seconds")).map_or(name.clone(), Into::into)
        })
        .collect()
}

/// The metrics of a page.
fn on_page(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| line.split(' ').next().unwrap());
    names.filter(|name| name.starts_with("tower_sse_")).map(Into::into).collect()
}

/// The queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("operate/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// An example over Redis, which has all metrics. In process if there is no Redis here.
fn over_redis() -> (Example, Option<Server>) {
    let server = server::is_installed().then(Server::start);
    let url = server.as_ref().map(Server::url);
    let variables: Vec<_> = url.iter().map(|url| ("REDIS_URL", url.as_str())).collect();
    (Example::start(&variables), server)
}

#[tokio::test]
async fn every_metric_that_the_dashboard_the_alerts_and_the_guide_name_is_on_the_page() {
    let (example, server) = over_redis();
    example.be_busy(0).await;
    let page = example.metrics().await;
    let is_here = |name: &String| server.is_some() || !name.starts_with("tower_sse_backend_");
    let (on_page, guide) = (on_page(&page), read("guide/operate.md"));
    for text in [&read("operate/dashboard.json"), &read("operate/alerts.yml"), &guide] {
        let missing: Vec<_> = named(text).difference(&on_page).filter(|name| is_here(name)).cloned().collect();
        assert!(missing.is_empty(), "{missing:?} are not in\n{page}");
    }
    let undocumented: Vec<_> = on_page.difference(&named(&guide)).cloned().collect();
    assert!(undocumented.is_empty(), "the guide does not explain {undocumented:?}");
    for line in page.lines().filter(|line| line.starts_with("# TYPE tower_sse_")) {
        assert!(!line.ends_with(" summary"), "summaries can't be added up over nodes: {line}");
    }
}

#[test]
fn the_guide_shows_the_page_of_the_example() {
    let page = include_str!("../../src/page.rs");
    let code = page.split_once("\n\n").unwrap().1;
    assert!(read("guide/operate.md").contains(&format!("```rust,ignore\n{code}```")), "{code}");
}

#[test]
fn every_alert_is_explained_by_the_guide() {
    let (alerts, guide) = (read("operate/alerts.yml"), read("guide/operate.md"));
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let missing: Vec<_> = names.filter(|name| !guide.contains(&format!("### {name}\n"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn promtool_accepts_the_page_and_the_alerts() {
    if !prometheus::is_installed() {
        return;
    }
    let (example, _server) = over_redis();
    example.be_busy(0).await;
    let complaints = prometheus::complaints(&example.metrics().await);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer_while_the_example_is_busy() {
    if !prometheus::is_installed() {
        return;
    }
    let (example, server) = over_redis();
    let prometheus = Prometheus::of(&example).await;
    let mut open = queries();
    open.retain(|query| server.is_some() || !query.contains("tower_sse_backend_"));
    assert!(open.len() > 30, "{open:?}");
    let (begun, mut round) = (Instant::now(), 0);
    while !open.is_empty() {
        example.be_busy(round).await;
        let (mut left, readable) =
            (Vec::new(), |query: &str| query.replace("$__rate_interval", "30s").replace("$instance", ".*"));
        for query in open {
            // A quantile of nothing is not a number.
            let values = prometheus.query(&readable(&query)).await.unwrap();
            if !values.iter().any(|value| value.is_finite()) {
                left.push(query);
            }
        }
        (open, round) = (left, round + 1);
        assert!(begun.elapsed() < STUCK, "{open:?}");
    }
    for (name, health, state) in prometheus.alerts().await {
        assert_eq!((health.as_str(), state.as_str()), ("ok", "inactive"), "{name}");
    }
}

#[tokio::test]
async fn a_probe_learns_that_the_store_is_away_and_comes_back() {
    let example = Example::start(&[]);
    assert_eq!(example.probe("/ready").await, (200, "ready".to_owned()));
    if !server::is_installed() {
        return;
    }
    let mut server = Server::start();
    let example = Example::start(&[("REDIS_URL", &server.url())]);
    let becomes = async |status| {
        let begun = Instant::now();
        while example.probe("/ready").await.0 != status {
            assert!(begun.elapsed() < STUCK, "{:?}", example.probe("/ready").await);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut reader = example.read("news", None).await;
    reader.until("\n").await;
    becomes(200).await;
    server.kill();
    becomes(503).await;
    assert_eq!(example.probe("/live").await, (200, "alive".to_owned()));
    server.run();
    becomes(200).await;
    example.say("news", "again").await;
    reader.until("again").await;
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_is_not_ready_until_it_has_stopped() {
    let mut example = Example::start(&[("DRAIN_SECS", "5")]);
    let mut reader = example.read("news", None).await;
    reader.until("\n").await;
    example.signal("-INT");
    let begun = Instant::now();
    while example.probe("/ready").await.0 == 200 {
        assert!(begun.elapsed() < STUCK);
        sleep(Duration::from_millis(20)).await;
    }
    // The load balancer has noticed. Readers are still served.
    example.say("news", "late").await;
    reader.until("late").await;
    reader.until_the_end().await;
    assert!(example.process.wait().unwrap().success());
}

#[tokio::test]
async fn an_operator_with_the_token_sees_who_reads_what_and_nobody_else_does() {
    let example = Example::start(&[("INSPECT_TOKEN", "s3cret")]);
    let mut reader = example.read("news", None).await;
    reader.until("\n").await;
    // `admin:s3cret`. The others have no password, another one, another scheme, or are empty.
    let known = Some("Basic YWRtaW46czNjcmV0");
    for path in ["", "/overview", "/channels", "/readers?channel=news", "/events?channel=news"] {
        for other in [None, Some("Basic YWRtaW46"), Some("Basic YWRtaW46czNjcmV1"), Some("Bearer s3cret"), Some("")] {
            let (status, answer) = example.inspect(path, other).await;
            assert_eq!((status, answer.contains("news")), (401, false), "{path} {other:?}");
        }
        assert_eq!(example.inspect(path, known).await.0, 200, "{path}");
    }
    let (_, channels) = example.inspect("/channels", known).await;
    let channels: Value = serde_json::from_str(&channels).unwrap();
    assert_eq!((&channels["channels"][0]["channel"], &channels["channels"][0]["readers"]), (&"news".into(), &1.into()));

    // Without a token there is no page, not even for an empty password.
    for variables in [&[][..], &[("INSPECT_TOKEN", "")]] {
        assert_eq!(Example::start(variables).inspect("", Some("Basic YWRtaW46")).await.0, 404);
    }
}
