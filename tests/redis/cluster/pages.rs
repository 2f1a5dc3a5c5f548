//! Reads channels page by page and opens whole ones, on one node after the other, and compares what is found with every
//! acknowledged publish.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::post as on_post,
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower_sse::{ChannelName, Delivery, EventId, GapReason, Grant, OpenOptions, Publisher, Resumed, Start};

use crate::{
    Cluster,
    check::{Ledger, Publish, split},
    http::post,
    publisher::repeat,
};

/// So many tasks read at once.
pub const TASKS: usize = 2;

/// A node waits this long for the first event of a subscription.
const FIRST: Duration = Duration::from_secs(1);

type Asked = Query<HashMap<String, String>>;
type Answer = Result<String, (StatusCode, String)>;

/// The routes of a node that answer it all.
pub fn routes() -> Router<Publisher> {
    Router::new().route("/read", on_post(read)).route("/info", on_post(info)).route("/whole", on_post(whole))
}

fn unavailable(error: impl ToString) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

async fn read(State(publisher): State<Publisher>, Query(asked): Asked) -> Answer {
    let after = asked.get("after").and_then(|id| EventId::parse(id.as_bytes()));
    let page = publisher.channel(&asked["channel"]).read(after, asked["limit"].parse().unwrap()).await;
    let page = page.map_err(unavailable)?;
    let events: Vec<_> = page.events.iter().map(|event| (event.id().to_string(), event.data())).collect();
    let gap = page.gap.map(|gap| gap.reason.as_str());
    Ok(json!({ "events": events, "next": page.next.to_string(), "caught_up": page.caught_up, "gap": gap }).to_string())
}

async fn info(State(publisher): State<Publisher>, Query(asked): Asked) -> Answer {
    let info = publisher.channel(&asked["channel"]).info().await.map_err(unavailable)?;
    Ok(json!({
        "state": format!("{:?}", info.state),
        "first": info.first.map(|first| first.to_string()),
        "last": info.last.map(|last| last.to_string()),
        "events": info.events,
        "last_event": info.last_event.map(|event| event.data()),
    })
    .to_string())
}

/// Opens a subscription to a whole channel, or one that resumes after an event. Its answer looks like a page that ends with the first
/// event.
async fn whole(State(publisher): State<Publisher>, Query(asked): Asked) -> Answer {
    let grant = Grant::new([ChannelName::try_from(&asked["channel"][..]).unwrap()]);
    let after = asked.get("after").map(|id| id.as_bytes());
    let options = OpenOptions::new().start(Start::Whole);
    let mut subscription = options.open(&publisher, grant, after).await.map_err(unavailable)?;
    let (resumed, epoch) = (subscription.resumed(), subscription.cursor().epoch);
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while events.is_empty() {
        match timeout(FIRST, subscription.next()).await {
            Ok(Some(Delivery::Event(event))) if event.is_ephemeral() => {}
            Ok(Some(Delivery::Event(event))) => events.push((event.id().to_string(), event.data())),
            Ok(Some(Delivery::Gap(gap))) => gaps.push(gap.reason),
            Ok(_) => return Err(unavailable("it ended")),
            Err(_) => break,
        }
    }
    let next = subscription.cursor();
    if next.epoch != epoch {
        return Err(unavailable("another epoch began meanwhile"));
    }
    // When the read begins, it does not know what will be evicted.
    let first: Vec<_> = gaps.iter().filter(|reason| **reason != GapReason::Lagged).copied().collect();
    let agrees = match resumed {
        Resumed::Gap(reason) => first == [reason],
        Resumed::Fresh => first.is_empty() && after.is_none(),
        _ => first.is_empty() && after.is_some(),
    };
    // The cursor may be beyond the first event.
    let next = events.first().map_or_else(|| next.to_string(), |(id, _)| id.clone());
    let gap = gaps.first().map(|reason| reason.as_str());
    Ok(json!({ "events": events, "next": next, "caught_up": false, "gap": gap, "agrees": agrees }).to_string())
}

/// What a node answered.
#[derive(Clone)]
pub struct Page {
    channel: usize,
    after: Option<String>,
    /// How many events had been acknowledged before it was asked.
    acknowledged: usize,
    /// How often the store had lost some by when it answered. Then the beginning of a channel may be among that.
    losses: usize,
    events: Vec<(String, String)>,
    next: String,
    caught_up: bool,
    gap: Option<String>,
    /// Whether a subscription began as it had said.
    agrees: bool,
    /// Whether the page before it has a gap and no events. Then nothing was left that could be gone since.
    is_told: bool,
}

impl Page {
    fn new(channel: usize, after: Option<String>, (acknowledged, losses): (usize, usize), answer: &str) -> Self {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_string);
        let pair = |event: &Value| (text(&event[0]).unwrap(), text(&event[1]).unwrap());
        Self {
            channel,
            after,
            acknowledged,
            losses,
            events: answer["events"].as_array().unwrap().iter().map(pair).collect(),
            next: text(&answer["next"]).unwrap(),
            caught_up: answer["caught_up"].as_bool().unwrap(),
            gap: text(&answer["gap"]),
            agrees: answer["agrees"].as_bool().unwrap_or(true),
            is_told: false,
        }
    }
}

/// Until the run is over, reads a few pages of a channel, from its beginning or after some event, or opens a subscription to it.
pub async fn browse(cluster: Arc<Cluster>, number: usize) -> Vec<Page> {
    let mut random = cluster.settings.random(5_000 + number as u64);
    let mut pages = Vec::new();
    while !cluster.is_over() {
        let channel = random.below(cluster.settings.channels as u64) as usize;
        let mut after = {
            let ledger = cluster.ledger.lock().unwrap();
            let known = ledger.acknowledged.iter().filter(|publish| publish.channel == channel).count() as u64;
            let at = random.below(2 * known + 1);
            ledger
                .acknowledged
                .iter()
                .filter(|publish| publish.channel == channel)
                .nth(at as usize)
                .map(|p| p.id.clone())
        };
        let (verb, most) = if random.below(3) == 0 { ("whole", 1) } else { ("read", 1 + random.below(6)) };
        let mut is_told = false;
        for _ in 0..most {
            let port = cluster.nodes.any(&mut random).port();
            let Some(page) = ask(&cluster, port, verb, channel, after, 1 + random.below(200)).await else { break };
            after = Some(page.next.clone());
            let ended = page.caught_up;
            pages.push(Page { is_told, ..page });
            is_told = pages.last().is_some_and(|page| page.gap.is_some() && page.events.is_empty());
            if ended {
                break;
            }
        }
        sleep(Duration::from_millis(random.below(200))).await;
    }
    pages
}

async fn ask(
    cluster: &Cluster,
    port: u16,
    verb: &str,
    channel: usize,
    after: Option<String>,
    limit: u64,
) -> Option<Page> {
    let acknowledged = cluster.ledger.lock().unwrap().acknowledged.len();
    let from = after.as_ref().map(|id| format!("&after={id}")).unwrap_or_default();
    let uri = format!("/{verb}?channel=c{channel}&limit={limit}{from}");
    match post(port, &uri, String::new()).await {
        Some((200, answer)) => {
            let losses = cluster.ledger.lock().unwrap().losses;
            Some(Page::new(channel, after, (acknowledged, losses), &answer))
        }
        // It is gone, or does not use its store for now.
        None | Some((503, _)) => None,
        Some(other) => panic!("{other:?}"),
    }
}

/// A channel at the end, and what a node said of it.
pub struct Last {
    pages: Vec<Page>,
    info: Value,
}

/// Reads all of each channel, each page on any node, after the last words.
pub async fn read_all(cluster: &Cluster) -> Vec<Last> {
    let mut random = cluster.settings.random(78);
    let mut all = Vec::new();
    for channel in 0..cluster.settings.channels {
        let (mut pages, mut after, mut tries) = (Vec::new(), None, 0);
        while pages.last().is_none_or(|page: &Page| !page.caught_up) {
            let port = cluster.nodes.any(&mut random).port();
            match ask(cluster, port, "read", channel, after.clone(), 1 + random.below(1_000)).await {
                Some(page) => {
                    after = Some(page.next.clone());
                    let is_told = pages.last().is_some_and(|page| page.gap.is_some() && page.events.is_empty());
                    pages.push(Page { is_told, ..page });
                }
                None => {
                    tries += 1;
                    assert!(tries < 600, "nobody reads channel {channel}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let (info, _) = repeat(cluster, &mut random, &format!("/info?channel=c{channel}"), "").await.unwrap();
        all.push(Last { pages, info: serde_json::from_str(&info).unwrap() });
    }
    all
}

/// Each of these must be zero.
#[derive(Debug, Default, PartialEq)]
struct Wrong {
    /// Acknowledged events that are missing where no gap says so.
    lost: usize,
    unordered: usize,
    /// Events that nobody published to the channel, or as another one.
    foreign: usize,
    /// Events for single clients.
    leaked: usize,
    false_alarms: usize,
    /// Subscriptions that began otherwise than they said.
    surprises: usize,
}

/// What is acknowledged, by its text and by where it is.
struct Index<'a> {
    ledger: &'a Ledger,
    by_text: HashMap<&'a str, &'a Publish>,
    /// With the place in the order of the acknowledgements.
    by_place: HashMap<(usize, &'a str), BTreeMap<u64, usize>>,
    /// The first offset of each epoch that was acknowledged.
    begins: HashMap<&'a str, u64>,
}

impl<'a> Index<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        let by_text = ledger.acknowledged.iter().map(|publish| (&publish.text[..], publish)).collect();
        let (mut by_place, mut begins): (HashMap<_, BTreeMap<_, _>>, HashMap<_, u64>) = Default::default();
        for (index, publish) in ledger.acknowledged.iter().enumerate() {
            let (epoch, offset) = split(&publish.id);
            by_place.entry((publish.channel, epoch)).or_default().insert(offset, index);
            begins.entry(epoch).and_modify(|first| *first = offset.min(*first)).or_insert(offset);
        }
        Self { ledger, by_text, by_place, begins }
    }

    /// Whether a page may have a gap. One in the epoch of its cursor may be about events of the epoch before, which are held
    /// until the channel gets another event: if the page before it left some of them, they may be gone since.
    fn may_have_gap(&self, page: &Page) -> bool {
        let Some((of, offset)) = page.after.as_deref().map(split) else { return page.losses > 0 };
        of != split(&page.next).0 || !page.is_told && self.begins.get(of).is_some_and(|begin| offset < *begin)
    }

    fn check(&self, page: &Page, wrong: &mut Wrong) {
        let evicts = self.ledger.evicts;
        let (epoch, next) = split(&page.next);
        let goes_on = page.after.as_deref().map(split).filter(|(of, _)| *of == epoch).map(|(_, offset)| offset);
        let is_elsewhere = page.after.is_some() && goes_on.is_none();
        // Of another epoch, and no gap tells it.
        wrong.lost += usize::from(is_elsewhere && page.gap.is_none());
        if page.gap.is_some() && !evicts && !self.may_have_gap(page) {
            wrong.false_alarms += 1;
            println!("alarm: {:?} after {:?} up to {}, {} losses", page.gap, page.after, page.next, page.losses);
        }
        wrong.surprises += usize::from(!page.agrees);
        let mut last = if page.gap.is_some() { 0 } else { goes_on.unwrap_or_default() };
        let mut from = if page.gap.is_some() { next } else { last };
        for (index, (id, text)) in page.events.iter().enumerate() {
            let (of, offset) = split(id);
            wrong.unordered += usize::from(of != epoch || offset <= last || offset > next);
            last = offset;
            if index == 0 && page.gap.is_some() {
                from = offset;
            }
            let Some(publish) = self.by_text.get(&text[..]).filter(|publish| publish.channel == page.channel) else {
                wrong.foreign += 1;
                println!("foreign: {id} {text} in channel {}", page.channel);
                continue;
            };
            wrong.leaked += usize::from(publish.client.is_some());
            // What is known of the first try may be evicted, and then the second one is another event.
            let may_be_twice = evicts && publish.tries > 1;
            wrong.foreign += usize::from(split(&publish.id).0 == of && publish.id != *id && !may_be_twice);
        }
        // A channel of which all was evicted looks new.
        if !evicts || page.after.is_some() {
            wrong.lost += self.lost(page, from, if page.caught_up { u64::MAX } else { next });
        }
    }

    /// How many events after one offset, up to the other one, should be on the page and are not.
    fn lost(&self, page: &Page, from: u64, to: u64) -> usize {
        let Some(places) = self.by_place.get(&(page.channel, split(&page.next).0)) else { return 0 };
        let given: std::collections::HashSet<_> = page.events.iter().map(|(_, text)| text).collect();
        let is_lost = |index: usize| {
            let publish = &self.ledger.acknowledged[index];
            let is_lost = index < page.acknowledged && publish.client.is_none() && !given.contains(&publish.text);
            if is_lost {
                println!("unread: {} {} after {:?} up to {}", publish.id, publish.text, page.after, page.next);
            }
            is_lost
        };
        places.iter().filter(|(offset, index)| **offset > from && **offset <= to && is_lost(**index)).count()
    }
}

/// Checks the pages that were read meanwhile, and all of the channels at the end.
pub fn check(pages: &[Page], last: &[Last], ledger: &Ledger) {
    let (index, mut wrong) = (Index::new(ledger), Wrong::default());
    pages.iter().chain(last.iter().flat_map(|last| &last.pages)).for_each(|page| index.check(page, &mut wrong));
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    let gaps = pages.iter().filter(|page| page.gap.is_some()).count();
    println!("{} pages with {events} events, {gaps} with a gap; {wrong:?}", pages.len());
    assert_eq!(wrong, Wrong::default());
    last.iter().enumerate().for_each(|(channel, last)| check_last(&index, channel, last));
}

/// A channel is what was read of it, and ends with its last word.
fn check_last(index: &Index<'_>, channel: usize, Last { pages, info }: &Last) {
    let text = format!("last:{channel}");
    let held: Vec<_> = pages.iter().flat_map(|page| &page.events).collect();
    let id = &index.by_text[&text[..]].id;
    let (first, found) = (held[0], held[held.len() - 1]);
    assert_eq!((&found.1, &info["last_event"], &info["state"]), (&text, &json!(text), &json!("Open")));
    assert_eq!(info["last"], json!(found.0));
    assert!(split(info["first"].as_str().unwrap()).1 <= split(&first.0).1, "{info} but {first:?}");
    if index.ledger.evicts {
        return;
    }
    assert_eq!(*id, found.0);
    // What is for single clients is not read, and some of an epoch that is over may be lost.
    let (epoch, events) = (split(id).0, info["events"].as_u64().unwrap() as usize);
    let all = index.ledger.acknowledged.iter().filter(|publish| publish.channel == channel);
    let targeted = |publish: &&Publish| publish.client.is_some();
    let at_least = held.len() + all.clone().filter(targeted).filter(|publish| split(&publish.id).0 == epoch).count();
    let at_most = held.len() + all.filter(targeted).count();
    assert!((at_least..=at_most).contains(&events), "{at_least}..={at_most} events are held, not {info}");
}

#[test]
fn the_checker_finds_what_is_wrong_with_a_page() {
    let mut ledger = Ledger::default();
    for (offset, client) in [(1, None), (2, Some("ana")), (3, None), (4, None)] {
        ledger.acknowledged.push(Publish {
            channel: 0,
            client: client.map(str::to_string),
            except: None,
            text: offset.to_string(),
            id: format!("00000000000a-{offset}"),
            number: offset,
            tries: 1,
        });
    }
    let id = |offset: u64| format!("00000000000a-{offset}");
    let page = |after: Option<u64>, offsets: &[u64], next| Page {
        channel: 0,
        after: after.map(id),
        acknowledged: 4,
        losses: 0,
        events: offsets.iter().map(|offset| (id(*offset), offset.to_string())).collect(),
        next: id(next),
        caught_up: false,
        gap: None,
        agrees: true,
        is_told: false,
    };
    let wrong = |ledger: &Ledger, page: Page| {
        let mut wrong = Wrong::default();
        Index::new(ledger).check(&page, &mut wrong);
        wrong
    };
    let check = |page: Page| wrong(&ledger, page);
    assert_eq!(check(page(None, &[1, 3], 3)), Wrong::default());
    assert_eq!(check(page(Some(1), &[3], 3)), Wrong::default());
    assert_eq!(check(Page { acknowledged: 3, caught_up: true, ..page(Some(1), &[3], 3) }), Wrong::default());
    assert_eq!(check(page(None, &[3], 3)), Wrong { lost: 1, ..Wrong::default() });
    assert_eq!(check(Page { caught_up: true, ..page(Some(1), &[3], 3) }), Wrong { lost: 1, ..Wrong::default() });
    assert_eq!(check(page(None, &[1, 2, 3], 3)), Wrong { leaked: 1, ..Wrong::default() });
    assert_eq!(check(page(Some(3), &[3, 4], 4)), Wrong { unordered: 1, ..Wrong::default() });
    assert_eq!(check(Page { channel: 1, ..page(None, &[1], 1) }), Wrong { foreign: 1, ..Wrong::default() });
    assert_eq!(check(Page { agrees: false, ..page(None, &[1], 1) }), Wrong { surprises: 1, ..Wrong::default() });
    let gap = Some("evicted".to_string());
    assert_eq!(check(Page { gap, ..page(None, &[3], 3) }), Wrong { false_alarms: 1, ..Wrong::default() });
    let moved = |gap| Page { after: Some("00000000000b-9".into()), gap, ..page(None, &[3], 3) };
    assert_eq!(check(moved(Some("other-epoch".into()))), Wrong::default());
    assert_eq!(check(moved(None)).lost, 2, "one, and that it is of another epoch");
    // The first events of an epoch may be those of the one before it.
    ledger.acknowledged.remove(0);
    let told = |after| Page { gap: Some("evicted".into()), ..page(Some(after), &[3], 3) };
    let alarms = |page| wrong(&ledger, page).false_alarms;
    assert_eq!([alarms(told(1)), alarms(told(2)), alarms(Page { is_told: true, ..told(1) })], [0, 1, 1]);
}
