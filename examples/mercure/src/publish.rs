//! Publishing: a form becomes an event.

use axum::{
    extract::{Form, FromRequest as _, Request, State},
    http::StatusCode,
};
use tower_sse::{Denied, Event, EventName};

use crate::{Hub, MAX_TOPICS, Refused, UPDATES, claims::Claims, id, update::Head};

/// The fields of a form, of which the first counts if one occurs several times, other than `topic`.
#[derive(Debug)]
struct Update {
    head: Head,
    data: String,
    id: Option<String>,
    name: Option<EventName>,
}

/// Answers with the update's id.
pub(crate) async fn publish(State(hub): State<Hub>, request: Request) -> Result<String, Refused> {
    // The body is only read if the token is valid.
    let (parts, body) = request.into_parts();
    let claims: Claims = hub.publishers.verify(&parts).await?.ok_or_else(unauthorized)?;
    let request = Request::from_parts(parts, body);
    let form = Form::from_request(request, &()).await.map_err(|error| Refused(error.status(), error.body_text()))?;
    let update = Update::read(form.0)?;
    // "The hub MUST check that every topic of the update to dispatch matches at least one of the topic selectors."
    let allowed = claims.publish()?;
    if !update.head.topics.iter().all(|topic| allowed.matches(topic)) {
        return Err(Refused(
            StatusCode::FORBIDDEN,
            "the token does not allow publishing to each of these topics".into(),
        ));
    }
    hub.send(update).await
}

fn unauthorized() -> Box<dyn std::error::Error + Send + Sync> {
    Denied::unauthorized().into()
}

impl Update {
    fn read(fields: Vec<(String, String)>) -> Result<Self, Refused> {
        let mut topics = Vec::new();
        let [mut data, mut id, mut name, mut retry, mut private] = [const { None }; 5];
        for (field, value) in fields {
            let field = match &*field {
                "topic" => {
                    topics.push(value);
                    continue;
                }
                "data" => &mut data,
                "id" => &mut id,
                "type" => &mut name,
                "retry" => &mut retry,
                "private" => &mut private,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        if topics.is_empty() || topics.len() > MAX_TOPICS {
            return Err(Refused::bad(format!("an update has 1 to {MAX_TOPICS} topics")));
        }
        if topics.iter().any(|topic| topic == "*") {
            return Err(Refused::bad("`*` is no topic"));
        }
        let given = |field: Option<String>| field.filter(|value| !value.is_empty());
        let id = given(id);
        if id.as_ref().is_some_and(|id| id.starts_with('#') || id == "earliest" || id.contains(char::is_control)) {
            return Err(Refused::bad("an id has no control characters, and is neither `earliest` nor begins with `#`"));
        }
        let retry = given(retry).map(|retry| retry.parse()).transpose().map_err(Refused::bad)?;
        let head = Head { topics, private: private.is_some(), retry };
        let name = given(name).map(EventName::try_from).transpose().map_err(Refused::bad)?;
        Ok(Self { head, data: data.unwrap_or_default(), id, name })
    }

    fn event(&self) -> Result<Event, Refused> {
        let event = self.head.with(&self.data).map_err(Refused::bad)?;
        Ok(match self.name.clone() {
            Some(name) => event.name(name),
            None => event,
        })
    }
}

impl Hub {
    /// Sends the update under its own id. If that is taken or can't be used, the hub makes one: "Even if provided, the hub
    /// MAY ignore the ID provided by the client and generate its own ID."
    async fn send(&self, update: Update) -> Result<String, Refused> {
        let channel = self.publisher.channel(UPDATES);
        let event = update.event()?;
        let sent = match update.id.as_deref().and_then(id::custom) {
            Some(id) => match channel.send(event.clone().id(id)).await {
                Err(error) if error.is_duplicate_id() => channel.send(event).await,
                sent => sent,
            },
            None => channel.send(event).await,
        };
        let sent = sent.map_err(|error| match error.is_too_large() {
            true => Refused(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            false => Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        })?;
        Ok(id::told(&sent.id).map(|id| id.to_string()).unwrap_or_default())
    }
}
