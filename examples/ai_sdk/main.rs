//! The backend of a real `useChat({ resume: true })`: run `examples/ai_sdk/bundle` once, which needs npm, then
//! `cargo run --features runs --example ai_sdk`, and open <http://127.0.0.1:8000>.
//!
//! What the AI SDK's protocol needs is between the two lines below. The rest is a store for the chats, the page, and `main`.
//! `PORT` is the port to listen on (8000; 0 takes a free one), and `TOKEN_MS` the pace of the fake model (30).

#[path = "../agent/model.rs"]
mod model;

use std::{collections::HashMap, env, error::Error, fs, sync::Arc, sync::Mutex};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Response, StatusCode, header::CONTENT_TYPE, request::Parts},
    response::Html,
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_sse::{
    Publisher, SseBody,
    runs::{AiSdk, Conflict, New, Runs},
};

// --- the protocol --------------------------------------------------------------------------------------------------------

async fn chat(State(app): State<App>, Json(request): Json<Value>) -> Result<Response<SseBody>, StatusCode> {
    let chat = request["id"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let answer = New::run().thread(chat);
    app.store(chat, &request["messages"], answer.run_id());
    let mut tokens = model::answer(&last_text(&request["messages"]));
    let producer = app.runs.start(answer, async move |run| {
        run.send_all([AiSdk::start(run.id()), AiSdk::text_start("1")]).await?;
        while let Some(token) = tokens.next().await {
            run.send(AiSdk::text_delta("1", token?)).await?;
        }
        run.send(AiSdk::text_end("1")).await?;
        Ok(())
    });
    Ok(producer.await)
}

async fn resume(State(app): State<App>, Path(chat): Path<String>, parts: Parts) -> Response<SseBody> {
    app.runs.attach(&app.stored(&chat).run, &parts).await
}

async fn stop(State(app): State<App>, Path(chat): Path<String>) -> StatusCode {
    app.runs.stop_thread(&chat).await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::ACCEPTED)
}

// -------------------------------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct App {
    runs: Runs<AiSdk>,
    /// Your database.
    chats: Arc<Mutex<HashMap<String, Chat>>>,
}

/// The messages of a chat up to its last question, and the run that answers that.
///
/// The answer itself is in the run, which is held for a while after its end, and in the messages of the next request. So a page
/// that is loaded at any time gets it exactly once.
#[derive(Clone)]
struct Chat {
    messages: Value,
    run: String,
}

impl App {
    // Nothing panics while the chats are locked.

    fn store(&self, chat: &str, messages: &Value, run: &str) {
        let stored = Chat { messages: messages.clone(), run: run.to_owned() };
        self.chats.lock().unwrap().insert(chat.to_owned(), stored);
    }

    fn stored(&self, chat: &str) -> Chat {
        let stored = self.chats.lock().unwrap().get(chat).cloned();
        stored.unwrap_or_else(|| Chat { messages: json!([]), run: String::new() })
    }
}

async fn messages(State(app): State<App>, Path(chat): Path<String>) -> Json<Value> {
    Json(app.stored(&chat).messages)
}

/// The text of the last message, which is the question.
fn last_text(messages: &Value) -> String {
    let parts = messages.as_array().and_then(|messages| messages.last()?["parts"].as_array());
    parts.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    // The program is in target/debug/examples.
    let bundle = env::current_exe()?.ancestors().nth(3).ok_or("no target folder")?.join("ai_sdk/page.js");
    let bundle = fs::read(&bundle).map_err(|_| format!("no {}: run examples/ai_sdk/bundle first", bundle.display()))?;
    let runs = Runs::new(Publisher::new(), AiSdk)
        .conflict(Conflict::Interrupt)
        .explain(|error| error.downcast_ref::<model::Overloaded>().map(ToString::to_string));
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/page.js", get(|| async { ([(CONTENT_TYPE, "text/javascript")], bundle) }))
        .route("/api/chat", post(chat))
        .route("/api/chat/{chat}", get(messages))
        .route("/api/chat/{chat}/stream", get(resume))
        .route("/api/chat/{chat}/stop", post(stop))
        .with_state(App { runs, chats: Arc::default() });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app).await?;
    Ok(())
}
