//! Apache.

use crate::{
    app::App,
    check::{Check, all_hold_but, failing},
    guide::shown,
    process::{Process, find},
    reader::on_one_connection,
};

/// What the guide advises.
const ADVISED: &str = "AllowEncodedSlashes NoDecode
    ProxyPass / http://127.0.0.1:8000/ nocanon";

/// An Apache with the modules of a proxy, and others by name, and these settings.
async fn apache(app: &App, modules: &[&str], settings: &str) -> Option<Process> {
    let program = find("APACHE", "apache2")?;
    let load = |module: &&str| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"].iter().chain(modules).map(load).collect();
    let configuration = |port: u16| {
        format!(
            "{modules}
        DefaultRuntimeDir .
        PidFile apache.pid
        ErrorLog /dev/stderr
        ServerName localhost
        User www-data
        Group www-data
        Listen 127.0.0.1:{port}
        {}",
            settings.replace("127.0.0.1:8000", &app.address.to_string())
        )
    };
    let arguments = |folder: &std::path::Path, _: u16| {
        let folder = folder.display();
        format!("-D FOREGROUND -d {folder} -f {folder}/apache.conf").split(' ').map(String::from).collect()
    };
    Some(Process::start(&program, "apache.conf", configuration, arguments).await)
}

#[tokio::test]
async fn all_but_a_hang_up_holds_as_advised() {
    let app = App::start().await;
    let Some(apache) = apache(&app, &[], shown(ADVISED)).await else { return };
    all_hold_but(&[Check::HangUp], &app, apache.port).await;
}

#[tokio::test]
#[ignore = "shows what the advice is against"]
async fn without_the_advice_an_escaped_slash_is_404() {
    let app = App::start().await;
    let Some(apache) = apache(&app, &[], "ProxyPass / http://127.0.0.1:8000/").await else { return };
    assert_eq!(failing(&app, apache.port).await, [Check::Names, Check::HangUp]);
}

/// It flushes what it has compressed.
#[tokio::test]
async fn all_but_a_hang_up_holds_with_deflate() {
    let app = App::start().await;
    let settings = format!("{ADVISED}\nSetOutputFilter DEFLATE");
    let Some(apache) = apache(&app, &["filter", "deflate"], &settings).await else { return };
    all_hold_but(&[Check::HangUp], &app, apache.port).await;
}

#[tokio::test]
#[ignore = "shows a limit that no setting moves"]
async fn six_streams_share_an_http_2_connection() {
    let app = App::start().await;
    let settings = format!("Protocols h2c http/1.1\n{ADVISED}");
    let Some(apache) = apache(&app, &["http2"], &settings).await else { return };
    assert_eq!(on_one_connection(apache.port, 20).await, 6);
}
