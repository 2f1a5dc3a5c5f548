//! The crate `eventsource-client`, used as its documentation says. Prints each event as a line of JSON.

use std::{error::Error, time::Duration};

use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("an URL")?;
    // By default the delay doubles with each failure, up to a minute.
    let reconnect =
        ReconnectOptions::reconnect(true).retry_initial(true).delay(Duration::from_millis(1)).backoff_factor(1).build();
    let client = ClientBuilder::for_url(&url)?.reconnect(reconnect);
    let mut events = client.build_with_transport(HyperTransport::builder().build_http()?).stream();
    // An error is not the end: the events after it are from the next connection.
    while let Some(event) = events.next().await {
        if let Ok(SSE::Event(event)) = event {
            println!("{}", serde_json::json!({ "name": event.event_type, "data": event.data, "id": event.id }));
        }
    }
    println!("\"closed\"");
    Ok(())
}
