//! nginx.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    app::App,
    check::{Check, comes_back_after_a_restart, everything_holds, failing, publish},
    driver::Browser,
    guide::shown,
    process::{Process, find},
    reader::{Reader, SOON, on_one_connection},
};

/// An nginx in front of `app`: the settings of `http`, of the upstream, and the locations of its only server.
struct Settings<'a> {
    http: &'a str,
    listen: &'a str,
    upstream: &'a str,
    server: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { http: "", listen: "", upstream: "", server: "location / { proxy_pass http://application; }" }
    }
}

impl Settings<'_> {
    async fn start(self, app: SocketAddr) -> Option<Process> {
        let program = find("NGINX", "nginx")?;
        let Self { http, listen, upstream, server } = self;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let configuration = |port: u16| {
            format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;
            events {{}}
            http {{
                access_log off;
                {temporary}
                {http}
                upstream application {{ server {app}; {upstream} }}
                server {{
                    listen 127.0.0.1:{port} {listen};
                    {server}
                }}
            }}"
            )
        };
        let arguments = |_: &_, _: u16| ["-p", ".", "-c", "nginx.conf", "-e", "stderr"].map(String::from).into();
        Some(Process::start(&program, "nginx.conf", configuration, arguments).await)
    }
}

#[tokio::test]
async fn everything_holds_with_the_defaults() {
    let app = App::start().await;
    let Some(nginx) = Settings::default().start(app.address).await else { return };
    everything_holds(&app, nginx.port).await;
}

#[tokio::test]
async fn everything_holds_with_kept_connections() {
    let app = App::start().await;
    let settings = Settings {
        upstream: shown("keepalive 32;"),
        server: shown(
            "location / {
                proxy_pass http://application;
                proxy_http_version 1.1;
                proxy_set_header Connection \"\";
            }",
        ),
        ..Settings::default()
    };
    let Some(nginx) = settings.start(app.address).await else { return };
    everything_holds(&app, nginx.port).await;
}

#[tokio::test]
async fn twenty_streams_share_an_http_2_connection() {
    let app = App::start().await;
    let settings = Settings { listen: "http2", ..Settings::default() };
    let Some(nginx) = settings.start(app.address).await else { return };
    assert_eq!(on_one_connection(nginx.port, 20).await, 20);
}

/// It flushes what it has compressed.
#[tokio::test]
async fn everything_holds_with_gzip_of_streams() {
    let app = App::start().await;
    let http = "gzip on; gzip_proxied any; gzip_types text/event-stream;";
    let Some(nginx) = Settings { http, ..Settings::default() }.start(app.address).await else { return };
    everything_holds(&app, nginx.port).await;
}

/// With a path in `proxy_pass`, even a lone slash, nginx decodes the path that it passes on.
#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn a_path_in_proxy_pass_decodes_the_slashes_of_names() {
    let app = App::start().await;
    let settings = Settings { server: "location / { proxy_pass http://application/; }", ..Settings::default() };
    let Some(nginx) = settings.start(app.address).await else { return };
    assert_eq!(failing(&app, nginx.port).await, [Check::Names]);
    assert!(app.asked().contains(&"/events/a/b/c/d".to_owned()));
}

#[tokio::test]
async fn a_prefix_is_cut_off_without_decoding() {
    let app = App::start().await;
    let settings = Settings {
        http: shown("map $request_uri $without_live { ~^/live(?<rest>/.*)$ $rest; }"),
        server: shown("location /live/ { proxy_pass http://application$without_live; }"),
        ..Settings::default()
    };
    let Some(nginx) = settings.start(app.address).await else { return };
    let mut reader = Reader::open(nginx.port, "/live/events/d%2Fe/f%2Fg?last_event_id=%3F", &[], SOON).await.unwrap();
    reader.begin().await.unwrap();
    assert_eq!(app.asked().last().unwrap(), "/events/d%2Fe/f%2Fg?last_event_id=%3F");
}

/// The first nginx consumes `X-Accel-Buffering`, so one in front of it buffers.
#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn the_outer_of_two_holds_everything_back() {
    let app = App::start().await;
    let Some(inner) = Settings::default().start(app.address).await else { return };
    let Some(outer) = Settings::default().start(([127, 0, 0, 1], inner.port).into()).await else { return };
    assert!(failing(&app, outer.port).await.contains(&Check::Events));
}

#[tokio::test]
async fn two_in_a_row_hold_nothing_back_if_the_inner_one_passes_the_header_on() {
    let app = App::start().await;
    let passes = Settings {
        server: shown("location / { proxy_pass http://application; proxy_pass_header X-Accel-Buffering; }"),
        ..Settings::default()
    };
    let Some(inner) = passes.start(app.address).await else { return };
    let Some(outer) = Settings::default().start(([127, 0, 0, 1], inner.port).into()).await else { return };
    everything_holds(&app, outer.port).await;
}

/// While the application restarts, a reader is told to reconnect, since a browser gives up for good on a 502.
fn restarting() -> String {
    let streams = shown(
        r#"location /events/ {
            proxy_pass http://application;
            error_page 502 504 = @restarting;
        }
        location @restarting {
            default_type text/event-stream;
            add_header Cache-Control no-store;
            return 200 "retry: 2000\n";
        }"#,
    );
    format!("location / {{ proxy_pass http://application; }} {streams}")
}

#[tokio::test]
async fn a_restart_is_answered_with_a_time_to_come_back() {
    let mut app = App::start().await;
    let Some(nginx) = Settings { server: &restarting(), ..Settings::default() }.start(app.address).await else {
        return;
    };
    everything_holds(&app, nginx.port).await;
    comes_back_after_a_restart(&mut app, nginx.port).await;
}

/// The state of a browser's source after a restart that took longer than its `retry`, and what it received.
async fn after_a_long_restart(settings: Settings<'_>) -> Option<(Value, Value)> {
    let mut app = App::start().await;
    let nginx = settings.start(app.address).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("http://127.0.0.1:{}/blank", nginx.port)).await;
    let script = "window.got = [];
        window.errors = 0;
        window.source = new EventSource('/events/restart/ana');
        source.onmessage = (event) => got.push(event.data);
        source.onerror = () => { errors += 1; };";
    browser.run(script, vec![]).await;
    browser.until("source.readyState === EventSource.OPEN").await;
    publish(&app, "restart", "before").await;
    browser.until("got.length === 1").await;
    app.stop().await;
    publish(&app, "restart", "meanwhile").await;
    // The cut, and then what nginx answers.
    browser.until("errors >= 2").await;
    app.start_again().await;
    browser.until("source.readyState !== EventSource.CONNECTING").await;
    let state = browser.run("return source.readyState", vec![]).await;
    if state != 2 {
        browser.until("got.length === 2").await;
    }
    Some((state, browser.run("return got", vec![]).await))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "shows what the advice is against"]
async fn a_long_restart_closes_a_browsers_source_for_good() {
    let Some((state, got)) = after_a_long_restart(Settings::default()).await else { return };
    assert_eq!((state, got), (json!(2), json!(["before"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_resumes_after_a_long_restart_as_advised() {
    let server = restarting();
    let settings = Settings { server: &server, ..Settings::default() };
    let Some((state, got)) = after_a_long_restart(settings).await else { return };
    assert_eq!((state, got), (json!(1), json!(["before", "meanwhile"])));
}
