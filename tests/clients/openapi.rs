//! The description of publishing over HTTP in `docs/openapi.json`, held against the server by schemathesis: it makes up
//! requests, valid and not, and checks that each answer is one that the description has.

use std::{env, path::Path, time::Duration};

use axum::Router;
use http::header::AUTHORIZATION;
use tokio::{net::TcpListener, process::Command, time::timeout};
use tower_sse::{Denied, PublishRequest, PublishService, Publisher, publish_authorizer_fn};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_as_its_description_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    let schemathesis = folder.join("python/bin/schemathesis");
    if !schemathesis.exists() {
        let required = env::var("TOWER_SSE_REQUIRE_CLIENTS").is_ok_and(|required| required == "1");
        assert!(!required, "schemathesis is not installed: run scripts/install-clients");
        eprintln!("LEFT OUT: schemathesis is not installed: run scripts/install-clients");
        return;
    }
    let authorizer = publish_authorizer_fn(|request: PublishRequest| async move {
        match request.headers().get(AUTHORIZATION) {
            Some(token) if token == "Bearer a-token" => Ok(request.grant().allow_finish().allow_close()),
            _ => Err(Denied::unauthorized()),
        }
    });
    let publish = PublishService::new(Publisher::new(), "/channels/{channel}", authorizer).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = axum::serve(listener, Router::new().fallback_service(publish));
    let server = tokio::spawn(async { server.await });

    let mut command = Command::new(schemathesis);
    command.arg("run").arg(here.join("../../docs/openapi.json")).args(["--url", &url]);
    command.args(["--header", "Authorization: Bearer a-token", "--max-examples", "50", "--seed", "1"]);
    command.args(["--checks", "all", "--generation-database", "none", "--no-color"]);
    command.env("PYTHONPATH", here.join("python")).env("SCHEMATHESIS_HOOKS", "openapi_hooks");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = timeout(STUCK, command.kill_on_drop(true).current_dir(env::temp_dir()).output());
    let output = output.await.expect("schemathesis is stuck").unwrap();
    server.abort();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
}
