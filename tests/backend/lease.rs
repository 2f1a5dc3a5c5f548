//! How soon a lost run is told, in virtual time.

use std::time::Duration;

use tokio::time::Instant;
use tower_sse::runs::New;

use crate::{
    helpers::*,
    runs::{LEASE, node},
    store::Shared,
};

pub async fn a_run_that_is_lost_is_told_two_seconds_after_the_lease_at_the_latest(store: impl Shared) {
    for wait in [0, 200, 400, 600, 800] {
        let [(one, faults), (other, _)] = [node(&store), node(&store)];
        let id = wait.to_string();
        one.spawn(New::run().id(&id), hangs).await.unwrap();
        let there = other.attach(&id, &get()).await;
        // Signs of life are 667 ms apart.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        faults.go_away(true);
        let cut_off = Instant::now();
        assert_eq!(read(there).await.data(), ["begun", r#"{"outcome":"lost"}"#]);
        let took = cut_off.elapsed();
        assert!(took >= LEASE * 2 / 3 && took <= LEASE + 2 * SECOND, "{took:?}");
    }
}
