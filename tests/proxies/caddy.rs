//! Caddy.

use crate::{
    app::App,
    check::{Check, comes_back_after_a_restart, everything_holds, failing, stalled_reader_delays_nobody},
    guide::shown,
    process::{Process, find},
    reader::on_one_connection,
};

/// A Caddy in front of `app`: the settings of its only site, and what the proxy does.
async fn caddy(app: &App, site: &str, upstream: &str) -> Option<Process> {
    let program = find("CADDY", "caddy")?;
    let configuration = |port: u16| {
        format!(
            "{{
            admin off
            auto_https off
            servers {{
                protocols h1 h2c
            }}
        }}
        http://127.0.0.1:{port} {{
            bind 127.0.0.1
            {site}
            reverse_proxy {upstream}{}
        }}",
            app.address
        )
    };
    let arguments = |_: &_, _: u16| ["run", "--config", "Caddyfile", "--adapter", "caddyfile"].map(String::from).into();
    Some(Process::start(&program, "Caddyfile", configuration, arguments).await)
}

#[tokio::test]
async fn everything_holds_with_the_defaults() {
    let app = App::start().await;
    let Some(caddy) = caddy(&app, "", "").await else { return };
    everything_holds(&app, caddy.port).await;
    assert_eq!(on_one_connection(caddy.port, 20).await, 20);
}

/// It compresses a first write of 512 bytes or more, and does not flush it.
#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn encode_sends_nothing_to_a_reader_that_resumes() {
    let app = App::start().await;
    let Some(caddy) = caddy(&app, "encode zstd gzip", "").await else { return };
    assert_eq!(failing(&app, caddy.port).await, [Check::Resume]);
}

#[tokio::test]
async fn everything_holds_with_encode_for_all_but_streams() {
    let app = App::start().await;
    let site = shown(
        "@pages not path /events/*
        encode @pages zstd gzip",
    );
    let Some(caddy) = caddy(&app, site, "").await else { return };
    everything_holds(&app, caddy.port).await;
}

#[tokio::test]
async fn everything_holds_over_http_2_to_the_application() {
    let app = App::start().await;
    let Some(caddy) = caddy(&app, "", "h2c://").await else { return };
    everything_holds(&app, caddy.port).await;
    stalled_reader_delays_nobody(&app, caddy.port).await.unwrap();
}

#[tokio::test]
async fn a_restart_is_answered_with_a_time_to_come_back() {
    let mut app = App::start().await;
    let site = shown(
        "handle_errors {
            @restarting {
                path /events/*
                expression {err.status_code} in [502, 503, 504]
            }
            header @restarting Content-Type text/event-stream
            respond @restarting `retry: 2000
` 200
        }",
    );
    let Some(caddy) = caddy(&app, site, "").await else { return };
    everything_holds(&app, caddy.port).await;
    comes_back_after_a_restart(&mut app, caddy.port).await;
}
