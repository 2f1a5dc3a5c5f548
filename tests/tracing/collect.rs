//! A subscriber of `tracing` that keeps what it is told.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

#[derive(Clone)]
pub struct Collect {
    max: Level,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    /// The spans that are entered now, and the message of each event with the innermost of them.
    entered: Vec<u64>,
    events: Vec<(String, Option<u64>)>,
}

#[derive(Debug, Clone)]
pub struct Span {
    pub name: &'static str,
    pub level: Level,
    /// The number of the span in which it was created.
    pub parent: Option<u64>,
    pub number: u64,
    pub fields: HashMap<&'static str, String>,
    pub entered: usize,
}

impl Span {
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }
}

impl Collect {
    pub fn up_to(max: Level) -> Self {
        Self { max, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub fn spans(&self, name: &str) -> Vec<Span> {
        self.seen().spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    #[track_caller]
    pub fn only(&self, name: &str) -> Span {
        let [only] = &self.spans(name)[..] else { panic!("{:?}", self.spans(name)) };
        only.clone()
    }

    /// The number of the innermost span that is entered now.
    pub fn current(&self) -> Option<u64> {
        self.seen().entered.last().copied()
    }

    /// The span in which an event with this message came.
    pub fn span_of_event(&self, message: &str) -> Option<u64> {
        self.seen().events.iter().find(|(said, _)| said == message)?.1
    }
}

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max && metadata.target().starts_with("tower_sse")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut seen = self.seen();
        let (number, parent, mut fields) = (seen.spans.len() as u64 + 1, seen.entered.last().copied(), HashMap::new());
        span.record(&mut Fields(&mut fields));
        let (name, level) = (span.metadata().name(), *span.metadata().level());
        seen.spans.push(Span { name, level, parent, number, fields, entered: 0 });
        span::Id::from_u64(number)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Fields(&mut self.seen().spans[at].fields));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = HashMap::new();
        event.record(&mut Fields(&mut fields));
        let mut seen = self.seen();
        let within = seen.entered.last().copied();
        seen.events.push((fields.remove("message").unwrap_or_default(), within));
    }

    fn enter(&self, span: &span::Id) {
        let mut seen = self.seen();
        seen.spans[usize::try_from(span.into_u64()).unwrap() - 1].entered += 1;
        seen.entered.push(span.into_u64());
    }

    fn exit(&self, span: &span::Id) {
        let mut seen = self.seen();
        let at = seen.entered.iter().rposition(|entered| *entered == span.into_u64()).unwrap();
        seen.entered.remove(at);
    }
}
