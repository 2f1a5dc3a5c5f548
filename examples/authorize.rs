//! Who may read what: a token names its owner, and the owner's streams carry the owner's own events, whatever the URL asks.
//!
//! `cargo run --example authorize`, then
//!
//! ```sh
//! curl -N 'http://127.0.0.1:8000/events?channel=team&channel=board' -H 'authorization: Bearer ana-secret'   # both
//! curl -N 'http://127.0.0.1:8000/events?channel=team&channel=board&access_token=bo-secret'                  # team
//! curl -i 'http://127.0.0.1:8000/events?channel=board&access_token=bo-secret'                               # 403
//! curl -i 'http://127.0.0.1:8000/events?channel=team'                                                       # 401
//! ```

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, time::interval};
use tower_sse::{AuthorizeRequest, ClientId, Denied, Event, Grant, PublishError, Publisher, SseLayer, bearer};

/// Who a token belongs to, and what its owner may read.
struct Account {
    client: ClientId,
    channels: &'static [&'static str],
}

type Accounts = Arc<HashMap<&'static str, Account>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let accounts = Accounts::new(HashMap::from([
        ("ana-secret", Account { client: ClientId::from_static("ana"), channels: &["team", "board"] }),
        ("bo-secret", Account { client: ClientId::from_static("bo"), channels: &["team"] }),
    ]));
    let authorizer = bearer(move |token: String, request: AuthorizeRequest| look_up(accounts.clone(), token, request))
        // `EventSource` can't set headers. A token in a URL ends up in logs: prefer cookies, or short-lived tokens.
        .query_parameter("access_token");

    let publisher = Publisher::new();
    let streams = SseLayer::new(publisher.clone()).route("/events")?.authorizer(authorizer);
    tokio::spawn(talk(publisher));
    let listener = TcpListener::bind("127.0.0.1:8000").await?.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, Router::new().layer(streams)).await?;
    Ok(())
}

/// The one place that decides. It may well ask a database: the request waits for it, and no other does.
async fn look_up(accounts: Accounts, token: String, request: AuthorizeRequest) -> Result<Grant, Denied> {
    let account = accounts.get(token.as_str()).ok_or_else(Denied::unauthorized)?;
    let grant = request
        .grant()
        .only(|channel| account.channels.contains(&channel.as_str()))
        .client(account.client.clone())
        .expires_in(Duration::from_secs(3600));
    if grant.channels().is_empty() { Err(Denied::forbidden()) } else { Ok(grant) }
}

async fn talk(publisher: Publisher) -> Result<(), PublishError> {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        publisher.channel("team").send(Event::text("to all of the team")).await?;
        publisher.channel("team").send_to("ana", Event::text("to ana alone")).await?;
        publisher.channel("board").send(Event::text("to the board")).await?;
    }
}
