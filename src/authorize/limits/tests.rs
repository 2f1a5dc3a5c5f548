use std::{
    net::IpAddr,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::time::advance;
use tower_service::Service;

use super::{table::Table, *};
use crate::{
    authorize::{AllowAll, authorizer_fn},
    error::BoxError,
    hub::Grant,
    wire::name::{ChannelName, ClientId},
};

const SECOND: Duration = Duration::from_secs(1);

/// The key of a new principal.
fn key() -> Key {
    Keys::default().key(Principal::Unknown)
}

fn admitted(limiter: &Limiter, key: Key, attempts: usize) -> usize {
    (0..attempts).filter(|_| limiter.charge(key, 1).is_ok()).count()
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_admitted_at_once_and_the_rate_after_that() {
    let limiter = Limiter::new(Rate::per_second(5).burst(20), 100);
    assert_eq!(admitted(&limiter, key(), 100), 20);
    assert_eq!(limiter.charge(key(), 1), Ok(()));
    let one = key();
    assert_eq!(admitted(&limiter, one, 100), 20);
    advance(SECOND).await;
    assert_eq!(admitted(&limiter, one, 100), 5);
    assert_eq!(limiter.charge(one, 1), Err(SECOND / 5));
    advance(SECOND / 5 - Duration::from_millis(1)).await;
    assert_eq!(limiter.charge(one, 1), Err(Duration::from_millis(1)));
    advance(Duration::from_millis(1)).await;
    assert_eq!(limiter.charge(one, 1), Ok(()));
    advance(100 * SECOND).await;
    assert_eq!(admitted(&limiter, one, 100), 20);
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_is_left_is_admitted_once_and_paid_for_afterwards() {
    let limiter = Limiter::new(Rate::per_second(10), 100);
    let one = key();
    assert_eq!(limiter.charge(one, 50), Ok(()));
    // 40 are missing, and one more has to be there.
    let wait = Duration::from_millis(4_100);
    assert_eq!(limiter.charge(one, 1), Err(wait));
    assert_eq!(limiter.charge(one, 50), Err(wait), "a refusal costs nothing");
    advance(wait).await;
    assert_eq!(limiter.charge(one, 1), Ok(()));
    limiter.add(one, 10);
    assert_eq!(limiter.charge(one, 1), Err(Duration::from_millis(1_100)));
}

#[tokio::test(start_paused = true)]
async fn any_rate_and_any_cost_gives_a_time_of_bounded_length() {
    let day = 86_400 * SECOND;
    let some = [0, 1, 7, 1_000_000, u32::MAX];
    for (count, burst) in some.into_iter().flat_map(|count| some.map(|burst| (count, burst))) {
        for period in [Duration::ZERO, Duration::from_nanos(1), SECOND, 400 * day, Duration::MAX] {
            let (limiter, one) = (Limiter::new(Rate::new(count, period).burst(burst), 1), key());
            for cost in [0, 1, 1_000, u64::MAX, u64::MAX, 1] {
                let waits = limiter.charge(one, cost).err().unwrap_or_default();
                assert!(waits <= 2 * day, "{count} {burst} {period:?}: {waits:?}");
                limiter.add(one, cost);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_keys_gets_no_more_than_one_key_and_takes_nothing_from_known_ones() {
    let limiter = Limiter::new(Rate::per_minute(10), 1_000);
    // These keys spread evenly over the sets. With random keys, some might find no room.
    let key = |n: u64| Key(NonZeroU64::new((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap());
    // Some clients, which have used most of what they may.
    let known: Vec<_> = (0..500).map(key).collect();
    for known in &known {
        assert_eq!(admitted(&limiter, *known, 8), 8);
    }
    let slots = Table::new(1_000, clock::Ticks::new()).slots();
    let flood = (1_000..1_001_000).filter(|n| limiter.charge(key(*n), 1).is_ok()).count();
    assert!(flood <= slots - known.len() + 10, "{flood} of a million");
    let more = (2_000_000..2_100_000).filter(|n| limiter.charge(key(*n), 1).is_ok()).count();
    assert_eq!(more, 0);
    for known in &known {
        assert_eq!(admitted(&limiter, *known, 8), 2, "what was left, and no more");
    }
    // Each of the flood has used one, which has come back by now.
    advance(6 * SECOND).await;
    let new: Vec<_> = (3_000_000..3_000_100).map(key).collect();
    assert_eq!(new.iter().map(|new| admitted(&limiter, *new, 20)).sum::<usize>(), 100 * 10);
    for known in &known {
        assert_eq!(admitted(&limiter, *known, 8), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_has_room_for_nearly_all_of_the_keys_that_it_is_made_for() {
    let (limiter, keys) = (Limiter::new(Rate::per_second(1), 100_000), Keys::default());
    let admitted = (0..100_000).filter(|n| limiter.charge(keys.key(Principal::Net(*n)), 1).is_ok()).count();
    assert!(admitted >= 99_700, "{admitted}");
}

#[test]
fn threads_that_share_a_key_get_one_burst_together() {
    let limiter = Limiter::new(Rate::new(1_000, Duration::from_secs(1_000_000)), 10);
    let one = key();
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&limiter, one, 1_000))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    // The first ones may have raced for the key's slot.
    assert!((1_000..=1_000 + 3).contains(&admitted), "{admitted}");
}

#[test]
fn addresses_of_one_customer_count_together() {
    let principal = |text: &str| Principal::of_address(Some(text.parse::<IpAddr>().unwrap()));
    assert_eq!(principal("2001:db8::1"), principal("2001:db8::ffff:ffff:ffff:ffff"));
    assert_ne!(principal("2001:db8::1"), principal("2001:db8:0:1::1"));
    assert_eq!(principal("::ffff:203.0.113.7"), principal("203.0.113.7"));
    assert_ne!(principal("203.0.113.7"), principal("203.0.113.8"));
    // The first 64 bits are all zero.
    assert_ne!(principal("::1"), principal("0.0.0.0"));
}

/// Requests from an address, for the client that the URL claims.
fn request(address: &str, client: Option<&'static str>) -> AuthorizeRequest {
    let parts = http::Request::get("/").header("x-forwarded-for", address).body(()).unwrap().into_parts().0;
    AuthorizeRequest::new(parts, [ChannelName::from_static("a")], client.map(ClientId::from_static))
}

async fn ask<A>(authorizer: &Limited<A>, request: AuthorizeRequest) -> Result<Grant, BoxError>
where
    A: Service<AuthorizeRequest, Response = Grant, Error: Into<BoxError>> + Clone,
{
    let mut authorizer = authorizer.clone();
    std::future::poll_fn(|cx| authorizer.poll_ready(cx)).await?;
    authorizer.call(request).await
}

fn is_limited<T>(result: Result<T, BoxError>) -> bool {
    result.is_err_and(|error| RateLimited::find(&*error).is_some())
}

#[tokio::test(start_paused = true)]
async fn the_authorizer_is_not_asked_about_a_flood_from_one_address() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let authorizer = authorizer_fn(move |request: AuthorizeRequest| {
        counting.fetch_add(1, SeqCst);
        async move { Ok::<_, BoxError>(request.grant()) }
    });
    let limits = RateLimit::new().address(Address::forwarded_for(1)).requests_per_address(Rate::per_second(3));
    let authorizer = limits.around(authorizer);
    for n in 0..1_000 {
        // What it claims to be does not matter.
        let request = request(&format!("10.0.0.{n}, 203.0.113.7"), None);
        assert_eq!(is_limited(ask(&authorizer, request).await), n >= 3);
    }
    assert_eq!(asked.load(SeqCst), 3);
    assert!(ask(&authorizer, request("203.0.113.8", None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_is_limited_wherever_it_comes_from_and_a_reader_without_one_by_its_address() {
    let limits = RateLimit::new().address(Address::forwarded_for(1)).connects(Rate::per_second(2));
    let authorizer = limits.around(AllowAll);
    for (address, client, admitted) in [
        ("1.1.1.1", Some("ana"), true),
        ("2.2.2.2", Some("ana"), true),
        ("3.3.3.3", Some("ana"), false),
        ("3.3.3.3", Some("bob"), true),
        ("3.3.3.3", None, true),
        ("3.3.3.3", None, true),
        ("3.3.3.3", None, false),
        ("4.4.4.4", None, true),
        ("nonsense", None, true),
        ("other nonsense", None, true),
        ("more nonsense", None, false),
    ] {
        let asked = ask(&authorizer, request(address, client)).await;
        assert_eq!(!is_limited(asked), admitted, "{address} {client:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clones_count_together_until_one_of_them_is_changed() {
    let limits = RateLimit::new().connects(Rate::per_second(2));
    let (one, other) = (limits.around(AllowAll), limits.clone().around(AllowAll));
    assert!(ask(&one, request("", None)).await.is_ok());
    assert!(ask(&other, request("", None)).await.is_ok());
    assert!(is_limited(ask(&one, request("", None)).await));
    let changed = limits.max_keys(7).around(AllowAll);
    assert!(ask(&changed, request("", None)).await.is_ok());
}
