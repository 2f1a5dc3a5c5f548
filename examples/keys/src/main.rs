//! Streams for the users of an identity provider, which can rotate its keys at any time. Run it with the provider's
//! `jwks_uri` and what its tokens have as `iss` and `aud`:
//!
//! ```sh
//! JWKS_URI=https://login.example/.well-known/jwks.json ISSUER=https://login.example AUDIENCE=chat cargo run -p keys-example
//! ```
//!
//! It listens on port 8000, or on the one that you set in `PORT` (0 takes a free one). Then read a channel that your token
//! names in its claim `channels`: `curl -N -H "authorization: Bearer $TOKEN" localhost:8000/events/team`.

use std::{env, error::Error, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use keys_example::keys;
use tokio::{net::TcpListener, time::interval};
use tower_sse::{Event, PublishError, Publisher, SseLayer, jwt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let [url, issuer, audience] = ["JWKS_URI", "ISSUER", "AUDIENCE"]
        .map(|name| env::var(name).map_err(|_| format!("set {name}: see examples/keys/src/main.rs")));
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;

    let authorizer = jwt(keys(url?.parse()?)?)
        .issuer([issuer?])
        .audience([audience?])
        .cookie("__Host-session")
        // A reader whose key was rotated out reads at most this long, however long its token is valid.
        .longest_stream(Duration::from_secs(600));
    let publisher = Publisher::new();
    let streams = SseLayer::new(publisher.clone()).route("/events/{channel}")?.authorizer(authorizer);

    tokio::spawn(talk(publisher));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, Router::new().layer(streams)).await?;
    Ok(())
}

async fn talk(publisher: Publisher) -> Result<(), PublishError> {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        publisher.channel("team").send(Event::text("to the whole team")).await?;
    }
}
