//! The memory of limits: what a flood of clients takes.

#[path = "common/counting.rs"]
mod counting;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::Request;
use tower::ServiceExt;
use tower_sse::{
    AllowAll, AuthorizeRequest, ChannelName,
    limits::{Address, Rate, RateLimit},
};

const A_DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_million_addresses_take_no_more_memory_than_the_table_has() {
    let limits = RateLimit::new()
        .address(Address::from_fn(|request| request.extensions().get().copied()))
        // The rate is so slow that no client is forgotten, however long the test takes.
        .requests_per_address(Rate::new(1, A_DAY))
        .connects(Rate::new(1, A_DAY));
    let authorizer = limits.around(AllowAll);
    let ask = async |n: u32| {
        let address = IpAddr::from(Ipv4Addr::from(n));
        let parts = Request::get("/").extension(address).body(()).unwrap().into_parts().0;
        let request = AuthorizeRequest::new(parts, [ChannelName::from_static("a")], None);
        authorizer.clone().oneshot(request).await.is_ok()
    };
    let before = counting::allocated();
    let mut admitted = 0;
    for n in 0..1_000_000 {
        admitted += u32::from(ask(n).await);
        if n == 0 {
            let table = counting::allocated() - before;
            assert!(table <= 2 * 3_300_000, "{table} bytes in two tables");
        }
    }
    let after = counting::allocated() - before;
    assert!(after <= 2 * 3_300_000, "{after} bytes");
    assert!((100_000..=200_001).contains(&admitted), "{admitted}");
}
