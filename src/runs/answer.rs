//! The answers to requests: a run in its dialect, or why there is none.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{
    dialect::Dialect,
    error::{Kind, RunError},
    local::Local,
    names::{self, RESERVED},
    outcome::Outcome,
    status,
    talk::Watch,
};
use crate::{
    hub::{Grant, OpenOptions, Start},
    serve::{Output, SseBody, Transform, response},
    wire::{
        cursor::EventId,
        encoded::EncodedEvent,
        name::{ChannelName, CustomId},
        notice::{EndReason, Gap},
    },
};

/// Answers with a run, from its beginning or after the client's position.
pub(super) async fn run<D: Dialect>(
    local: &Arc<Local>,
    dialect: D,
    run: &ChannelName,
    last_event_id: Option<&[u8]>,
) -> Response<SseBody> {
    let options = OpenOptions::new().existing(true).start(Start::Whole);
    let subscription = match options.open(&local.publisher, Grant::new([run.clone()]), last_event_id).await {
        Ok(subscription) => subscription,
        Err(error) if error.is_absent() => return absent(&dialect),
        Err(error) if dialect.is_strict() => return SseBody::refused_strictly(&local.publisher, &error),
        Err(error) => return SseBody::refused(&local.publisher, &error),
    };
    let watch = match watch(local, run).await {
        Ok(watch) => watch,
        Err(error) => return refused(local, &error),
    };
    let (is_strict, mut headers) = (dialect.is_strict(), HeaderMap::new());
    dialect.headers(&mut headers);
    let body = dialect.body(SseBody::new(subscription));
    let prefix = dialect.id_prefix(names::run_in(run));
    let body = body.transform(Spoken { dialect, prefix, told: false, _watch: watch });
    let body = if is_strict { body.strict() } else { body };
    let mut response = body.into_response();
    if response.status() == StatusCode::OK {
        response.headers_mut().extend(headers);
        if let Ok(id) = HeaderValue::from_bytes(names::run_in(run).as_bytes()) {
            response.headers_mut().insert(RUN_ID, id);
        }
    }
    response
}

/// Finds the last event that the client has, by asking the dialect for one after the other.
pub(super) async fn seek<D: Dialect>(
    local: &Arc<Local>,
    dialect: &mut D,
    run: &ChannelName,
) -> Result<Option<EventId>, RunError> {
    let channel = local.publisher.channel(run.clone());
    let (mut last, mut next): (_, Option<EventId>) = (None, None);
    loop {
        let page = channel.read(next, PAGE).await?;
        for event in &page.events {
            let is_asked = !is_reserved(event) || Outcome::of(event).is_some();
            if is_asked && !dialect.has(event) {
                return Ok(last);
            }
            last = Some(event.id());
        }
        if page.caught_up {
            return Ok(last);
        }
        next = Some(page.next.into());
    }
}

/// How many events are asked for at a time.
const PAGE: usize = 512;

/// The header that names the run, so that a client can attach to it again.
const RUN_ID: HeaderName = HeaderName::from_static("x-run-id");

/// Notices when the run's node dies, as long as the answer lasts.
pub(super) async fn watch(local: &Arc<Local>, run: &ChannelName) -> Result<Option<Watch>, RunError> {
    if !local.publisher.is_shared() || local.get(run).is_some() {
        return Ok(None);
    }
    match status::head(local, run).await? {
        Some(head) => local.watch(head.node, run, head.fence).await,
        None => Ok(None),
    }
}

/// There is no such run.
pub(super) fn absent<D: Dialect>(dialect: &D) -> Response<SseBody> {
    match dialect.absent() {
        StatusCode::NO_CONTENT => response::stop(),
        status => response::problem(status, Some("there is no such run")),
    }
}

/// Why there is no run.
pub(super) fn refused(local: &Local, error: &RunError) -> Response<SseBody> {
    let status = match &error.0 {
        Kind::Invalid(_) => StatusCode::BAD_REQUEST,
        Kind::Started | Kind::Busy(_) => return response::problem(StatusCode::CONFLICT, Some(&error.to_string())),
        _ => {
            return response::try_again(
                StatusCode::SERVICE_UNAVAILABLE,
                local.publisher.reconnect_after(),
                &error.to_string(),
            );
        }
    };
    response::problem(status, Some(&error.to_string()))
}

/// A run in its dialect.
struct Spoken<D> {
    dialect: D,
    /// What is put before each id.
    prefix: Option<CustomId>,
    /// The reader was told how the run ended.
    told: bool,
    /// Held as long as the body.
    _watch: Option<Watch>,
}

impl<D: Dialect> Transform for Spoken<D> {
    fn begin(&mut self, out: &mut Output) {
        if let Some(prefix) = self.prefix.take() {
            out.prefix_ids(prefix);
        }
        self.dialect.begin(out);
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for part in events.chunk_by(|a, b| !is_reserved(a) && !is_reserved(b)) {
            match part {
                [event] if is_reserved(event) => {
                    if let Some(outcome) = Outcome::of(event) {
                        self.told = true;
                        self.dialect.outcome(&outcome, event, out);
                    }
                }
                part => self.dialect.events(part, out),
            }
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut Output) {
        self.dialect.gap(gap, out);
    }

    fn end(&mut self, reason: EndReason, out: &mut Output) {
        out.notice();
        if reason == EndReason::Finished && !self.told && self.dialect.is_strict() {
            // Somebody has ended the channel by other means.
            out.break_off(RunError::from(Kind::Ended));
        }
    }
}

fn is_reserved(event: &EncodedEvent) -> bool {
    event.name().is_some_and(|name| name.starts_with(RESERVED))
}
