//! The guide's longer examples, run. Their code stands in `tests/guide/`, and in the guide word for word.

#[path = "guide/ask.rs"]
mod ask;

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
