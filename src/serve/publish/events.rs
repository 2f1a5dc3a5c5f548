//! Makes events of a request's body, if they are allowed.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    answer::{self, Refused},
    ask::{Defaults, Format, How},
};
use crate::{
    authorize::PublishGrant,
    error::InvalidText,
    hub::Batch,
    wire::{
        event::Event,
        name::{ClientId, CustomId, EventName, IdempotencyKey},
    },
};

/// The names of the events with which nodes keep account of runs begin with this. Only the crate publishes these.
const RESERVED: &str = "run.";

/// An event that was sent, not yet encoded.
struct Draft {
    data: String,
    name: Option<EventName>,
    to: Option<ClientId>,
    id: Option<CustomId>,
}

/// The members of an event in JSON, each as it was written and with a name of its own: with two of a name, it would be a
/// guess which one somebody else has checked.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

/// Reads at most `max` events.
pub(super) fn read(how: &How, body: &[u8], grant: &PublishGrant, max: usize) -> Result<Batch, Refused> {
    let drafts = drafts(&how.format, body, max)?;
    if drafts.is_empty() && !how.finish {
        return Err(answer::bad("no-event", "the request has no event"));
    }
    if how.finish && !grant.allows_finish() {
        return Err(answer::not_granted("finish-not-granted"));
    }
    let count = drafts.len();
    let mut batch = if how.finish { Batch::new().finish() } else { Batch::new() };
    for (at, draft) in drafts.into_iter().enumerate() {
        let key = how.key.as_ref().map(|key| key_of(key, at, count)).transpose()?;
        batch = draft.or(&how.defaults).add_to(batch, key, grant)?;
    }
    Ok(batch)
}

fn drafts(format: &Format, body: &[u8], max: usize) -> Result<Vec<Draft>, Refused> {
    match format {
        Format::Text => {
            let text = std::str::from_utf8(body).map_err(|_| answer::malformed("the body is not UTF-8"))?;
            Ok(vec![Draft { data: text.to_owned(), name: None, to: None, id: None }])
        }
        Format::Json if body.trim_ascii_start().starts_with(b"[") => {
            let FirstOf(events) = json_with(body, First(max.saturating_add(1)))?;
            several(events.into_iter().map(Draft::read), max)
        }
        Format::Json => Ok(vec![Draft::read(json(body)?)?]),
        Format::Lines => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            several(lines.map(|line| Draft::read(json(line)?)), max)
        }
        Format::Nothing if body.is_empty() => Ok(Vec::new()),
        Format::Nothing => Err(answer::unsupported("the body has no content type")),
    }
}

/// All of them, unless there are more than a batch may have. Then the others are not even looked at: a body of a megabyte can
/// have a hundred thousand.
fn several(drafts: impl Iterator<Item = Result<Draft, Refused>>, max: usize) -> Result<Vec<Draft>, Refused> {
    let drafts = drafts.take(max.saturating_add(1)).collect::<Result<Vec<_>, _>>()?;
    if drafts.len() > max {
        return Err(answer::too_large(&format!("the request has more than {max} events")));
    }
    Ok(drafts)
}

fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(text).map_err(|error| unreadable(&error))
}

fn json_with<'a, S: DeserializeSeed<'a>>(text: &'a [u8], seed: S) -> Result<S::Value, Refused> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = seed.deserialize(&mut deserializer).and_then(|read| deserializer.end().map(|()| read));
    read.map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Refused {
    answer::malformed(&format!("the body can't be read as JSON: {error}"))
}

/// The key of one event of several.
fn key_of(key: &IdempotencyKey, at: usize, count: usize) -> Result<IdempotencyKey, Refused> {
    match count {
        1 => Ok(key.clone()),
        _ => IdempotencyKey::try_from(format!("{key}/{at}")).map_err(|error| answer::invalid(&error)),
    }
}

impl Draft {
    fn read(event: &RawValue) -> Result<Self, Refused> {
        if !event.get().starts_with('{') {
            return Err(answer::malformed("an event is not a JSON object"));
        }
        let Members(mut event) = json(event.get().as_bytes())?;
        let data = event.remove("data").ok_or_else(|| answer::malformed("an event has no `data`"))?;
        let draft = Self {
            data: string(data)?.unwrap_or_else(|| data.get().to_owned()),
            name: member(&mut event, "event")?,
            to: member(&mut event, "to")?,
            id: member(&mut event, "id")?,
        };
        match event.keys().next() {
            // It may be a member that changes who gets the event, misspelt.
            Some(_) => Err(answer::malformed("an event has a member other than `data`, `event`, `to` and `id`")),
            None => Ok(draft),
        }
    }

    fn or(self, defaults: &Defaults) -> Self {
        let Defaults { name, to, id } = defaults.clone();
        Self { data: self.data, name: self.name.or(name), to: self.to.or(to), id: self.id.or(id) }
    }

    fn add_to(self, batch: Batch, key: Option<IdempotencyKey>, grant: &PublishGrant) -> Result<Batch, Refused> {
        if self.name.as_ref().is_some_and(|name| name.as_str().starts_with(RESERVED)) {
            return Err(answer::bad("reserved-name", "the names of events that begin with `run.` are reserved"));
        }
        if !grant.allows_name(self.name.as_ref()) {
            return Err(answer::not_granted("event-not-granted"));
        }
        if self.data.len() > grant.limit() {
            return Err(answer::too_large("an event has more bytes than the grant allows"));
        }
        let mut event = Event::text(self.data);
        if let Some(name) = self.name {
            event = event.name(name);
        }
        if let Some(id) = self.id {
            event = event.id(id);
        }
        if let Some(key) = key {
            event = event.idempotency_key(key);
        }
        Ok(match self.to {
            Some(client) => batch.event_to(client, event),
            None => batch.event(event),
        })
    }
}

/// A member that is a string, if there is one.
fn member<N>(event: &mut BTreeMap<String, &RawValue>, name: &str) -> Result<Option<N>, Refused>
where
    N: TryFrom<String, Error = InvalidText>,
{
    let Some(value) = event.remove(name) else { return Ok(None) };
    let text = string(value)?.ok_or_else(|| answer::malformed(&format!("`{name}` is not a string")))?;
    N::try_from(text).map(Some).map_err(|error| answer::invalid(&error))
}

/// The text of a value that is a string.
fn string(value: &RawValue) -> Result<Option<String>, Refused> {
    let is_string = value.get().starts_with('"');
    is_string.then(|| json(value.get().as_bytes())).transpose()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("an event has two members of the same name"));
            }
        }
        Ok(Members(members))
    }
}

/// Reads an array, and keeps this many of its first values.
struct First(usize);

struct FirstOf<'a>(Vec<&'a RawValue>);

impl<'de> DeserializeSeed<'de> for First {
    type Value = FirstOf<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FirstOf<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for First {
    type Value = FirstOf<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FirstOf<'de>, A::Error> {
        let mut first = Vec::new();
        while first.len() < self.0
            && let Some(value) = seq.next_element()?
        {
            first.push(value);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FirstOf(first))
    }
}
