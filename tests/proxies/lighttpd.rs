//! lighttpd.

use crate::{
    app::App,
    check::{Check, all_hold_but, failing},
    guide::shown,
    process::{Process, find},
    reader::on_one_connection,
};

/// What the guide advises.
const ADVISED: &str = r#"server.stream-response-body = 1
server.http-parseopts = ("url-path-2f-decode" => "disable")"#;

async fn lighttpd(app: &App, settings: &str) -> Option<Process> {
    let program = find("LIGHTTPD", "lighttpd")?;
    let configuration = |port: u16| {
        format!(
            r#"server.modules = ("mod_proxy")
server.document-root = "/nonexistent"
server.bind = "127.0.0.1"
server.port = {port}
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {})))
{settings}
"#,
            app.address.port()
        )
    };
    let arguments = |_: &_, _: u16| ["-D", "-f", "lighttpd.conf"].map(String::from).into();
    Some(Process::start(&program, "lighttpd.conf", configuration, arguments).await)
}

#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn the_defaults_keep_the_whole_response_back() {
    let app = App::start().await;
    let Some(lighttpd) = lighttpd(&app, "").await else { return };
    assert!(failing(&app, lighttpd.port).await.contains(&Check::Events));
}

#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn the_defaults_decode_the_slashes_of_names() {
    let app = App::start().await;
    let Some(lighttpd) = lighttpd(&app, "server.stream-response-body = 1").await else { return };
    assert_eq!(failing(&app, lighttpd.port).await, [Check::Names, Check::HangUp]);
}

#[tokio::test]
async fn all_but_a_hang_up_holds_as_advised() {
    let app = App::start().await;
    let Some(lighttpd) = lighttpd(&app, shown(ADVISED)).await else { return };
    all_hold_but(&[Check::HangUp], &app, lighttpd.port).await;
}

#[tokio::test]
#[ignore = "shows a limit that no setting moves"]
async fn eight_streams_share_an_http_2_connection() {
    let app = App::start().await;
    let Some(lighttpd) = lighttpd(&app, shown(ADVISED)).await else { return };
    assert_eq!(on_one_connection(lighttpd.port, 20).await, 8);
}
