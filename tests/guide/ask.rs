use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Response, StatusCode, Uri},
    routing::post,
};
use tower_sse::{
    Channel, ChannelName, Event, EventName, Grant, IdempotencyKey, OpenOptions, PublishError, Publisher, SseBody,
    Start, last_event_id,
};

pub fn app(publisher: Publisher) -> Router {
    Router::new().route("/ask/{run}", post(ask)).with_state(publisher)
}

async fn ask(
    State(publisher): State<Publisher>,
    Path(run): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    prompt: String,
) -> Result<Response<SseBody>, (StatusCode, String)> {
    let channel = ChannelName::try_from(run).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let run = publisher.channel(channel.clone());

    // Open the stream before anything is published, so that it misses nothing.
    let last_event_id = last_event_id(&headers, &uri);
    let options = OpenOptions::new().start(Start::Earliest);
    let answer = match options.open(&publisher, Grant::new([channel]), last_event_id.as_deref()).await {
        Ok(subscription) => SseBody::new(subscription).into_response(),
        Err(error) => return Ok(SseBody::refused(&publisher, &error)),
    };

    // Only the first request of a run starts it. A repeated one reads, and so does one that brings an id.
    if last_event_id.is_none() {
        let start = Event::text("").name(EventName::from_static("start"));
        match run.send(start.idempotency_key(IdempotencyKey::from_static("start"))).await {
            Ok(sent) if !sent.repeated => drop(tokio::spawn(produce(run, prompt))),
            Ok(_) => {}
            Err(error) if error.is_finished() => {}
            Err(error) => return Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }
    Ok(answer)
}

/// Stands in for a model. It goes on when its readers leave, so that they can resume.
async fn produce(run: Channel, prompt: String) -> Result<(), PublishError> {
    for word in prompt.split(' ') {
        tokio::time::sleep(Duration::from_millis(10)).await;
        run.send(Event::text(word)).await?;
    }
    run.finish(Event::text("").name(EventName::from_static("done"))).await?;
    Ok(())
}
