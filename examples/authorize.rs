//! Who may read what: the server looks up whom a token belongs to. Of the channels in the URL, a stream carries those that
//! the token's owner may read, and it carries the owner's own events.
//!
//! Run `cargo run --example authorize`; it prints what to try. It listens on port 8000, or on the one that you set in
//! `PORT` (0 takes a free one).

use std::{collections::HashMap, env, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, time::interval};
use tower_sse::{AuthorizeRequest, ClientId, Denied, Event, Grant, PublishError, Publisher, SseLayer, bearer};

/// The owner of a token, and the channels that the owner may read.
struct Account {
    client: ClientId,
    channels: &'static [&'static str],
}

type Accounts = Arc<HashMap<&'static str, Account>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let accounts = Accounts::new(HashMap::from([
        ("ana-secret", Account { client: ClientId::from_static("ana"), channels: &["team", "board"] }),
        ("bo-secret", Account { client: ClientId::from_static("bo"), channels: &["team"] }),
    ]));
    let authorizer = bearer(move |token: String, request: AuthorizeRequest| look_up(accounts.clone(), token, request))
        // For `EventSource`, which can't set headers. URLs end up in logs, so prefer cookies, or use short-lived tokens.
        .query_parameter("access_token");

    let publisher = Publisher::new();
    let streams = SseLayer::new(publisher.clone()).route("/events")?.authorizer(authorizer);
    tokio::spawn(talk(publisher));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    print_what_to_try(listener.local_addr()?);
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, Router::new().layer(streams)).await?;
    Ok(())
}

fn print_what_to_try(address: SocketAddr) {
    let both = format!("http://{address}/events?channel=team&channel=board");
    println!("listening on http://{address}");
    println!("  curl -N '{both}' -H 'authorization: Bearer ana-secret'  # reads both channels");
    println!("  curl -N '{both}&access_token=bo-secret'  # reads the channel team only");
    println!("  curl -i 'http://{address}/events?channel=board&access_token=bo-secret'  # 403");
    println!("  curl -i 'http://{address}/events?channel=team'  # 401");
}

/// Decides what a request may read. You could ask a database here: only this request would wait for the answer.
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
        publisher.channel("team").send(Event::text("to the whole team")).await?;
        publisher.channel("team").send_to("ana", Event::text("to ana only")).await?;
        publisher.channel("board").send(Event::text("to the board")).await?;
    }
}
