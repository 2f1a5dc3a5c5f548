//! HAProxy.

use std::{fs, process::Command};

use crate::{
    app::App,
    check::{
        Check, a_reader_that_vanishes_is_let_go, comes_back_after_a_restart, everything_holds, failing,
        stalled_reader_delays_nobody,
    },
    guide::{command, shown},
    process::{Process, find},
    reader::on_one_connection,
};

const BASE: &str = "defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s";

/// The guide's other settings.
const ADVISED: &str = "option http-no-delay
    option abortonclose";

/// A HAProxy in front of `app`: its defaults, and the settings of `bind` and `server`. It has one thread, since only
/// streams of one thread can share a connection to the application.
async fn haproxy(app: &App, defaults: &str, bind: &str, server: &str) -> Option<Process> {
    let program = find("HAPROXY", "haproxy")?;
    let configuration = |port: u16| {
        format!(
            "global
    nbthread 1
{}
    {defaults}
frontend web
    bind 127.0.0.1:{port} {bind}
    default_backend application
backend application
    server app {} {server}
",
            shown(BASE),
            app.address
        )
    };
    let arguments = |_: &_, _: u16| ["-db", "-f", "haproxy.cfg"].map(String::from).into();
    Some(Process::start(&program, "haproxy.cfg", configuration, arguments).await)
}

/// HAProxy holds a piece back until the one before it is acknowledged, and it does not tell the application of a reader
/// that hangs up until it has something for it.
#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn the_defaults_delay_each_event_by_200_ms_and_keep_readers_that_hung_up() {
    let app = App::start().await;
    let Some(haproxy) = haproxy(&app, "", "", "").await else { return };
    assert_eq!(failing(&app, haproxy.port).await, [Check::HangUp, Check::Latency]);
}

#[tokio::test]
async fn everything_holds_as_advised() {
    shown(&format!("{BASE} {ADVISED}"));
    let app = App::start().await;
    let Some(haproxy) = haproxy(&app, ADVISED, "", "").await else { return };
    everything_holds(&app, haproxy.port).await;
}

#[tokio::test]
async fn everything_holds_with_compression() {
    let app = App::start().await;
    let compression = format!(
        "{ADVISED}
    compression algo gzip
    compression type text/html text/event-stream"
    );
    let Some(haproxy) = haproxy(&app, &compression, "", "").await else { return };
    everything_holds(&app, haproxy.port).await;
}

#[tokio::test]
async fn twenty_streams_share_an_http_2_connection() {
    let app = App::start().await;
    let Some(haproxy) = haproxy(&app, ADVISED, "proto h2", "").await else { return };
    assert_eq!(on_one_connection(haproxy.port, 20).await, 20);
}

#[tokio::test]
async fn a_stalled_reader_delays_nobody() {
    let app = App::start().await;
    let Some(haproxy) = haproxy(&app, ADVISED, "", "").await else { return };
    stalled_reader_delays_nobody(&app, haproxy.port).await.unwrap();
}

#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn a_stalled_reader_blocks_the_others_of_its_http_2_connection_to_the_application() {
    let app = App::start().await;
    let reuse = format!("{ADVISED}\n    http-reuse always");
    let Some(haproxy) = haproxy(&app, &reuse, "", "proto h2").await else { return };
    stalled_reader_delays_nobody(&app, haproxy.port).await.unwrap_err();
}

/// A peer that loses its network says nothing, and neither does its kernel.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_vanishes_is_hung_up_on() {
    let app = App::start().await;
    let Some(haproxy) = haproxy(&app, ADVISED, "tcp-ut 500ms", "").await else { return };
    a_reader_that_vanishes_is_let_go(&app, haproxy.port).await;
}

#[tokio::test]
async fn a_restart_is_answered_with_a_time_to_come_back() {
    let mut app = App::start().await;
    let file = std::env::temp_dir().join(format!("tower-sse-restarting-{}.http", std::process::id()));
    let installed = |text: &str| text.replace("/etc/haproxy/restarting.http", file.to_str().unwrap());
    let written = Command::new("sh").arg("-c").arg(installed(command("restarting.http"))).status().unwrap();
    assert!(written.success());
    let errors = shown(
        "errorfile 502 /etc/haproxy/restarting.http
    errorfile 503 /etc/haproxy/restarting.http
    errorfile 504 /etc/haproxy/restarting.http",
    );
    let errors = format!("{ADVISED}\n    {}", installed(errors));
    let Some(haproxy) = haproxy(&app, &errors, "", "").await else { return };
    everything_holds(&app, haproxy.port).await;
    comes_back_after_a_restart(&mut app, haproxy.port).await;
    fs::remove_file(&file).unwrap();
}
