//! The page of metrics.

use std::time::Duration;

use axum::{
    extract::State,
    http::header::{CONTENT_TYPE, HeaderName},
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tower_sse::{Publisher, server::Server};

/// From ten microseconds, as for a publish in process, to ten seconds, as for a store that hardly answers.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];
/// An agent may take a second or an hour.
const RUN_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Installs the recorder. Without buckets the exporter would make summaries, which can't be added up over nodes.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let page = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("tower_sse_run_duration_seconds".into()), RUN_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .install_recorder()?;
    let upkeep = page.clone();
    // The exporter keeps every single time until then.
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(page)
}

pub async fn metrics(
    State((page, publisher, server)): State<(PrometheusHandle, Publisher, Server)>,
) -> ([(HeaderName, &'static str); 1], String) {
    publisher.record_metrics();
    server.record_metrics();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.render())
}
