//! Behind nginx as it comes, which buffers what it proxies: events arrive at once all the same.

use std::{
    env, fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::Router;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;
use tower_sse::{Event, Publisher, SseLayer};

#[tokio::test]
async fn events_arrive_at_once_through_nginx_with_its_defaults() {
    through_nginx("", "").await;
}

/// What the README says.
#[tokio::test]
async fn events_arrive_at_once_through_nginx_as_advised() {
    through_nginx("keepalive 32;", "proxy_http_version 1.1; proxy_set_header Connection \"\";").await;
}

async fn through_nginx(upstream_settings: &str, location_settings: &str) {
    let Some(program) = nginx() else { return };
    let publisher = Publisher::new();
    let app = Router::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}").unwrap());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstream = format!("server {}; {upstream_settings}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    let nginx = Nginx::start(&program, &upstream, location_settings).await;

    let url = format!("http://127.0.0.1:{}/events/news", nginx.port);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = client.request(Request::get(url).body(Empty::<Bytes>::new()).unwrap());
    let response = timeout(SOON, request).await.expect("the head arrives at once").unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for n in 0..5 {
        publisher.channel("news").send(Event::text(format!("event {n}"))).await.unwrap();
        // The stream stays open, and nothing else is sent: nginx has no other reason to let go of it.
        read_to(&mut body, &format!("data: event {n}\n")).await;
    }
}

/// More than anything here takes, and less than nginx's own timeouts of a minute, after which it lets go of its buffer.
const SOON: Duration = Duration::from_secs(20);

async fn read_to(body: &mut Incoming, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let frame =
            timeout(SOON, body.frame()).await.unwrap_or_else(|_| panic!("{wanted:?} is held back; came {seen:?}"));
        let frame = frame.expect("the stream stays open").unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

/// The program; `None`, said loudly, where there is none, and a failure where `TOWER_SSE_REQUIRE_NGINX` is 1.
fn nginx() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian has it where only root looks.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("nginx")).find(|path| path.is_file());
    if found.is_none() {
        let required = env::var_os("TOWER_SSE_REQUIRE_NGINX").is_some_and(|value| value == "1");
        assert!(!required, "nginx is not installed");
        // Not by `eprintln`, which the test harness hides when a test passes.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test behind nginx, since nginx is not installed\n");
    }
    found
}

/// An nginx of its own, in a folder of its own; dropping it ends it.
struct Nginx {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Nginx {
    async fn start(program: &Path, upstream: &str, location: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = env::temp_dir().join(format!("tower-sse-nginx-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
            events {{}}
            http {{
                access_log off;
                {temporary}
                upstream application {{ {upstream} }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{ proxy_pass http://application; {location} }}
                }}
            }}"
        );
        fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let process = Command::new(program)
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self { process, port, folder };
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(nginx.process.try_wait().unwrap().is_none(), "nginx ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}
