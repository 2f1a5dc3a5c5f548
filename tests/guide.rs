//! The guide's longer examples, run. Their code stands in `tests/guide/`, and in the guide word for word.

#[path = "guide/ask.rs"]
mod ask;
#[cfg(feature = "jwt")]
#[path = "guide/session.rs"]
#[allow(dead_code)]
mod session;

use std::{fs, path::Path};

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_sse::Publisher;

#[test]
fn the_guide_shows_the_code_that_is_tested() {
    let (code, page) = (include_str!("guide/ask.rs"), include_str!("../docs/guide/read.md"));
    assert!(page.contains(&format!("```rust\n{code}```")), "{code}");
}

/// Tests are renamed and moved. The table of attacks names each by its function.
#[test]
fn each_attack_in_the_table_names_tests_that_exist() {
    fn read(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is_hidden = entry.file_name().unwrap().to_string_lossy().starts_with('.');
            if entry.is_dir() && !is_hidden && !entry.ends_with("target") && !entry.ends_with("node_modules") {
                read(&entry, all);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(&entry).unwrap());
            }
        }
    }
    let (root, mut all) = (Path::new(env!("CARGO_MANIFEST_DIR")), String::new());
    ["src", "tests", "examples"].iter().for_each(|folder| read(&root.join(folder), &mut all));
    let rows: Vec<_> =
        include_str!("../docs/reliability/attacks.md").lines().filter(|line| line.starts_with("| ")).collect();
    for row in rows.iter().filter(|row| !row.starts_with("| attack") && !row.starts_with("| ---")) {
        let tests = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        assert!(tests.clone().count() > 0, "{row}");
        tests.for_each(|test| assert!(all.contains(&format!("fn {test}(")), "{test}"));
    }
    assert!(rows.len() > 20);
}

async fn post(app: &Router, prompt: &str, last_event_id: Option<&str>) -> Response<Body> {
    let mut request = Request::post("/ask/run-1");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    app.clone().oneshot(request.body(Body::from(prompt.to_owned())).unwrap()).await.unwrap()
}

/// What a stream has to its end: the names and data of its events, and the ids.
async fn events(response: Response<Body>) -> (Vec<String>, Vec<String>) {
    assert_eq!(response.status(), 200);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let field = |event: &str, name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.to_owned()));
    let events = std::str::from_utf8(&text).unwrap().split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    events
        .map(|event| {
            let what = field(event, "event: ").unwrap_or_else(|| field(event, "data: ").unwrap());
            (what, field(event, "id: ").unwrap())
        })
        .unzip()
}

#[tokio::test(start_paused = true)]
async fn a_post_that_brings_an_id_resumes_its_answer() {
    let publisher = Publisher::new();
    let app = ask::app(publisher.clone());
    let (first, ids) = events(post(&app, "a b c", None).await).await;
    assert_eq!(first, ["start", "a", "b", "c", "done"]);

    // As after a cut behind `a`. The body does not matter now.
    let (rest, _) = events(post(&app, "another prompt", Some(&ids[1])).await).await;
    assert_eq!(rest, ["b", "c", "done"]);
    // As after a cut before the first event: without an id.
    let (again, again_ids) = events(post(&app, "a b c", None).await).await;
    assert_eq!((again, again_ids), (first, ids.clone()));
    let over = post(&app, "a b c", Some(&ids[4])).await;
    assert_eq!(over.status(), 204);
    assert_eq!(publisher.channel("run-1").recent(100).len(), 5, "one run, of whatever number of requests");
}

#[cfg(feature = "jwt")]
mod tokens {
    use http_body_util::BodyExt as _;
    use tower_sse::Event;

    use super::*;

    #[test]
    fn the_guide_shows_the_sessions_that_are_tested() {
        let (code, page) = (include_str!("guide/session.rs"), include_str!("../docs/guide/authorize.md"));
        assert!(page.contains(&format!("```rust,no_run\n{code}```")), "{code}");
    }

    async fn send(app: &Router, request: http::request::Builder, body: &'static str) -> Response<Body> {
        app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    /// The cookie as a browser sends it back.
    fn cookie(response: &Response<Body>) -> String {
        assert_eq!(response.status(), 200);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_user_who_has_logged_in_reads_with_a_cookie_that_only_the_own_site_renews() {
        let publisher = Publisher::new();
        let app =
            session::app(publisher.clone(), session::Sessions::new("a secret that only your servers know").unwrap())
                .unwrap();
        let login = |body| send(&app, Request::post("/login").header("content-type", "application/json"), body);
        assert_eq!(login(r#"{"user":"ana","password":"guess"}"#).await.status(), 401);
        let ana = cookie(&login(r#"{"user":"ana","password":"correct horse"}"#).await);
        let open = |channel: &str, cookie: &str| Request::get(format!("/events/{channel}")).header("cookie", cookie);
        assert_eq!(send(&app, open("payroll", &ana), "").await.status(), 403);
        assert_eq!(send(&app, open("team", "__Host-session=x"), "").await.status(), 401);

        let renew = |site| Request::post("/renew").header("cookie", &ana).header("sec-fetch-site", site);
        assert_eq!(send(&app, renew("cross-site"), "").await.status(), 401);
        let renewed = cookie(&send(&app, renew("same-origin"), "").await);
        for cookie in [&ana, &renewed] {
            let mut stream = send(&app, open("team", cookie), "").await.into_body();
            publisher.channel("team").send(Event::text("hello")).await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\n\n") {
                read.extend(stream.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert!(String::from_utf8(read).unwrap().contains("data: hello\n"));
        }
    }
}
