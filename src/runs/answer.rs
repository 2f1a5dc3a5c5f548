//! The answers to requests: a run in its dialect, or why there is none.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{
    dialect::Dialect,
    error::{Kind, RunError},
    head::Head,
    late::{Digest, Late},
    local::Local,
    merge::Rule,
    names::{self, RESERVED},
    outcome::Outcome,
    status,
    talk::Watch,
};
use crate::{
    error::OpenError,
    hub::{Grant, OpenOptions, Resumed, Start, Subscription},
    serve::{Output, SseBody, Transform, response},
    sync::Mutex,
    wire::{
        cursor::{Cursor, EventId},
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
    let begun = begun(local, run).await;
    let first = begun.as_ref().ok().and_then(|begun| begun.first);
    let digest = first.map(|first| local.digests.of::<D>(run, first));
    let (body, late) = match open(local, &dialect, run, digest, last_event_id).await {
        Ok((body, late)) => (body, late.unwrap_or_else(|| Late::alone(Rule::of::<D>()))),
        Err(error) if error.is_absent() => return absent(&dialect),
        Err(error) if dialect.is_strict() => return SseBody::refused_strictly(&local.publisher, &error),
        Err(error) => return SseBody::refused(&local.publisher, &error),
    };
    let watch = match begun {
        Ok(begun) => begun.watch,
        Err(error) => return refused(local, &error),
    };
    let (is_strict, mut headers) = (dialect.is_strict(), HeaderMap::new());
    dialect.headers(&mut headers);
    let prefix = dialect.id_prefix(names::run_in(run));
    let body = body.transform(Spoken { dialect, prefix, told: false, late: Some(late), _watch: watch });
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

/// What is known of a run before it is read.
struct Begun {
    /// Its first event.
    first: Option<Cursor>,
    watch: Option<Watch>,
}

async fn begun(local: &Arc<Local>, run: &ChannelName) -> Result<Begun, RunError> {
    if let Some(active) = local.get(run) {
        return Ok(Begun { first: active.first.get().copied(), watch: None });
    }
    let first = status::first(local, run).await?;
    let watch = match first.as_ref().and_then(Head::of) {
        Some(head) => local.watch(head.node, run, head.fence).await?,
        None => None,
    };
    Ok(Begun { first: first.map(|first| first.cursor()), watch })
}

/// Notices when the run's node dies, as long as what is returned is held.
pub(super) async fn watch(local: &Arc<Local>, run: &ChannelName) -> Result<Option<Watch>, RunError> {
    if !local.publisher.is_shared() {
        return Ok(None);
    }
    Ok(begun(local, run).await?.watch)
}

/// Opens a run: after what is merged of it already, if the reader begins with that.
async fn open<D: Dialect>(
    local: &Local,
    dialect: &D,
    run: &ChannelName,
    digest: Option<Arc<Mutex<Digest>>>,
    last_event_id: Option<&[u8]>,
) -> Result<(SseBody, Option<Late>), OpenError> {
    let body = |subscription| dialect.body(SseBody::new(subscription));
    if let Some((late, seen)) = digest.and_then(|digest| Late::with(digest, last_event_id)) {
        let seen = seen.map(|seen| EventId::from(seen).to_string());
        match subscribe(local, run, seen.as_ref().map(String::as_bytes)).await {
            Ok(subscription) if !matches!(subscription.resumed(), Resumed::Gap(_)) => {
                let body = body(subscription);
                // What this reader may not have, the others' digest has.
                if !body.is_filtered() {
                    return Ok((body, Some(late)));
                }
            }
            Err(error) if error.is_absent() => return Err(error),
            // What is merged is not what the channel holds.
            _ => local.digests.forget(run),
        }
    }
    Ok((body(subscribe(local, run, last_event_id).await?), None))
}

async fn subscribe(local: &Local, run: &ChannelName, last_event_id: Option<&[u8]>) -> Result<Subscription, OpenError> {
    let options = OpenOptions::new().existing(true).start(Start::Whole);
    options.open(&local.publisher, Grant::new([run.clone()]), last_event_id).await
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
        Kind::Started | Kind::NotHandedOver | Kind::Busy(_) => {
            return response::problem(StatusCode::CONFLICT, Some(&error.to_string()));
        }
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
    /// Until the reader has caught up.
    late: Option<Late>,
    /// Held as long as the body.
    _watch: Option<Watch>,
}

impl<D: Dialect> Spoken<D> {
    fn speak_reserved(&mut self, event: &EncodedEvent, out: &mut Output) {
        if let Some(outcome) = Outcome::of(event) {
            self.told = true;
            self.dialect.outcome(&outcome, event, out);
        } else if let Some(head) = Head::of_next(event) {
            self.dialect.attempt(head.attempt, event, out);
        }
    }

    /// Sends some of what a late reader has missed, if it is one.
    fn catch_up(&mut self, is_level: bool, out: &mut Output) {
        while out.is_empty()
            && let Some(late) = &mut self.late
        {
            let (events, has_caught_up) = late.next(is_level);
            if has_caught_up {
                self.late = None;
            } else if events.is_empty() {
                return;
            }
            self.speak(&events, out);
        }
    }

    fn speak(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for part in events.chunk_by(|a, b| !is_reserved(a) && !is_reserved(b)) {
            match part {
                [event] if is_reserved(event) => self.speak_reserved(event, out),
                part => self.dialect.events(part, out),
            }
        }
    }
}

impl<D: Dialect> Transform for Spoken<D> {
    fn begin(&mut self, out: &mut Output) {
        if let Some(prefix) = self.prefix.take() {
            out.prefix_ids(prefix);
        }
        self.dialect.begin(out);
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        match &mut self.late {
            None => self.speak(events, out),
            Some(late) => {
                late.read(events, |event| Outcome::of(event).is_some());
                self.catch_up(false, out);
            }
        }
    }

    fn level(&mut self, out: &mut Output) {
        self.catch_up(true, out);
    }

    fn gap(&mut self, gap: &Gap, out: &mut Output) {
        self.late = None;
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
