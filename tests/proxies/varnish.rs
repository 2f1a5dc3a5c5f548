//! Varnish.

use crate::{
    app::App,
    check::{Check, all_hold_but, comes_back_after_a_restart, everything_holds, failing},
    guide::shown,
    process::{Process, find},
    reader::{Reader, SOON, on_one_connection},
};

const PIPE: &str = r#"sub vcl_recv {
    if (req.url ~ "^/events/") { return (pipe); }
}"#;

async fn varnish(app: &App, vcl: &str) -> Option<Process> {
    let program = find("VARNISH", "varnishd")?;
    let configuration = |_: u16| {
        format!(
            "vcl 4.1;
        backend application {{ .host = \"127.0.0.1\"; .port = \"{}\"; }}
        {vcl}",
            app.address.port()
        )
    };
    let arguments = |folder: &std::path::Path, port: u16| {
        let folder = folder.display();
        let options = format!(
            "-F -j none -p feature=+http2 -s malloc,16m -a 127.0.0.1:{port} -n {folder}/work -f {folder}/default.vcl"
        );
        options.split(' ').map(String::from).collect()
    };
    Some(Process::start(&program, "default.vcl", configuration, arguments).await)
}

#[tokio::test]
async fn all_but_a_hang_up_holds_with_the_defaults() {
    let app = App::start().await;
    let Some(varnish) = varnish(&app, "").await else { return };
    all_hold_but(&[Check::HangUp], &app, varnish.port).await;
}

#[tokio::test]
async fn everything_holds_through_a_pipe() {
    let app = App::start().await;
    let Some(varnish) = varnish(&app, shown(PIPE)).await else { return };
    everything_holds(&app, varnish.port).await;
}

/// A browser reconnects by itself to a server that hangs up.
#[tokio::test]
async fn a_pipe_hangs_up_while_the_application_restarts() {
    let mut app = App::start().await;
    let Some(varnish) = varnish(&app, shown(PIPE)).await else { return };
    app.stop().await;
    assert!(Reader::ask(varnish.port, "/events/restart/ana", &[], SOON).await.is_err());
}

/// Over HTTP/2 it passes a stream that it should pipe.
#[tokio::test]
async fn twenty_streams_that_should_be_piped_share_an_http_2_connection() {
    let app = App::start().await;
    let Some(varnish) = varnish(&app, PIPE).await else { return };
    assert_eq!(on_one_connection(varnish.port, 20).await, 20);
}

#[tokio::test]
async fn twenty_streams_share_an_http_2_connection() {
    let app = App::start().await;
    let Some(varnish) = varnish(&app, "").await else { return };
    assert_eq!(on_one_connection(varnish.port, 20).await, 20);
}

#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn gzip_of_text_keeps_everything_back() {
    let app = App::start().await;
    let vcl = r#"sub vcl_backend_response {
            if (beresp.http.content-type ~ "^text/") { set beresp.do_gzip = true; }
        }"#;
    let Some(varnish) = varnish(&app, vcl).await else { return };
    assert!(failing(&app, varnish.port).await.contains(&Check::Events));
}

#[tokio::test]
async fn all_but_a_hang_up_holds_with_gzip_of_all_but_streams() {
    let app = App::start().await;
    let vcl = shown(
        r#"sub vcl_backend_response {
            if (beresp.http.content-type ~ "^text/" && beresp.http.content-type !~ "^text/event-stream") {
                set beresp.do_gzip = true;
            }
        }"#,
    );
    let Some(varnish) = varnish(&app, vcl).await else { return };
    all_hold_but(&[Check::HangUp], &app, varnish.port).await;
}

#[tokio::test]
async fn a_restart_is_answered_with_a_time_to_come_back() {
    let mut app = App::start().await;
    let vcl = shown(
        r#"sub vcl_backend_error {
            if (bereq.url ~ "^/events/") {
                set beresp.status = 200;
                set beresp.ttl = 0s;
                set beresp.grace = 0s;
                set beresp.http.content-type = "text/event-stream";
                set beresp.http.cache-control = "no-store";
                synthetic({"retry: 2000
"});
                return (deliver);
            }
        }"#,
    );
    let Some(varnish) = varnish(&app, vcl).await else { return };
    all_hold_but(&[Check::HangUp], &app, varnish.port).await;
    comes_back_after_a_restart(&mut app, varnish.port).await;
}
