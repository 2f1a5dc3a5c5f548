//! The engine against the model of `tests/model/model.rs`, steered by the fuzzer instead of by chance.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use model::{After, Id, New, Op, Options};
use tower_sse::{Duplicates, Start};

#[path = "../../tests/model/model.rs"]
#[allow(dead_code, unused_imports)]
mod model;

#[derive(Debug)]
struct Case {
    held: usize,
    ops: Vec<Op>,
}

/// Uses the ranges of the model's own strategies.
impl Arbitrary<'_> for Case {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let held = bytes.choose_index(model::LENGTHS)?;
        let mut ops = Vec::new();
        while !bytes.is_empty() && ops.len() < 80 {
            ops.push(op(bytes)?);
        }
        Ok(Self { held, ops })
    }
}

fn op(bytes: &mut Unstructured<'_>) -> Result<Op> {
    let channel = bytes.int_in_range(0..=2)?;
    Ok(match bytes.int_in_range(0..=18u8)? {
        0..=3 => Op::Publish {
            channel,
            target: bytes.int_in_range(0..=2)?,
            except: except(bytes)?,
            custom: bytes.ratio(1, 4)?,
            last: bytes.ratio(1, 50)?,
            size: bytes.choose_index(model::SIZES.len())?,
        },
        4 | 5 => Op::Open {
            channels: bytes.int_in_range(1..=7)?,
            client: bytes.int_in_range(0..=2)?,
            tab: bytes.arbitrary()?,
            options: options(bytes)?,
            id: id(bytes)?,
        },
        6 | 7 => Op::Poll { reader: index(bytes)?, times: bytes.int_in_range(1..=4)? },
        8 => Op::Drop { reader: index(bytes)? },
        9 => Op::Age { seconds: bytes.int_in_range(1..=12)? },
        10 => match bytes.int_in_range(0..=3u8)? {
            0 => Op::Close { channel },
            1 => Op::Disconnect { client: bytes.int_in_range(1..=2)?, channel: None },
            _ => Op::Disconnect { client: bytes.int_in_range(1..=2)?, channel: Some(channel) },
        },
        11 | 12 => Op::Write {
            channel,
            events: (0..bytes.int_in_range(0..=5)?).map(|_| new(bytes)).collect::<Result<_>>()?,
            after: match bytes.int_in_range(0..=7u8)? {
                0 => After::Nothing,
                1 | 2 => After::Last,
                3 => After::Of(index(bytes)?),
                _ => After::Anything,
            },
            fence: fence(bytes)?,
            last: bytes.ratio(1, 25)?,
        },
        13 if bytes.ratio(1, 4)? => Op::End { channel, fence: fence(bytes)? },
        16 => Op::Info { channel },
        17 => Op::Reauthorize { client: bytes.int_in_range(1..=2)?, channels: bytes.int_in_range(0..=7)? },
        18 => Op::Read {
            channel,
            client: bytes.int_in_range(0..=2)?,
            after: id(bytes)?,
            limit: bytes.int_in_range(0..=5)?,
        },
        14 | 15 => Op::Pass { channel, target: bytes.int_in_range(0..=2)?, except: except(bytes)? },
        _ => Op::Recent { channel, client: bytes.int_in_range(0..=2)?, n: bytes.int_in_range(0..=5)? },
    })
}

fn new(bytes: &mut Unstructured<'_>) -> Result<New> {
    Ok(New {
        target: bytes.int_in_range(0..=2)?,
        except: except(bytes)?,
        custom: bytes.ratio(1, 4)?,
        key: if bytes.ratio(1, 5)? { Some(bytes.int_in_range(0..=3)?) } else { None },
        size: bytes.choose_index(model::SIZES.len())?,
    })
}

/// Whom an event excludes.
fn except(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(if bytes.ratio(3, 7)? { bytes.int_in_range(1..=4)? } else { 0 })
}

fn fence(bytes: &mut Unstructured<'_>) -> Result<Option<u64>> {
    Ok(if bytes.ratio(1, 3)? { Some(bytes.int_in_range(0..=3)?) } else { None })
}

/// The index of an event or a reader, of which there are few.
fn index(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(bytes.arbitrary::<u8>()?))
}

fn options(bytes: &mut Unstructured<'_>) -> Result<Options> {
    let (start, duplicates) = (start(bytes)?, duplicates(bytes)?);
    Ok(Options { start, duplicates, existing: bytes.ratio(1, 5)?, recheck: bytes.arbitrary()? })
}

fn start(bytes: &mut Unstructured<'_>) -> Result<Start> {
    Ok(match bytes.int_in_range(0..=6usize)? {
        0 => Start::Live,
        1 => Start::Earliest,
        2 => Start::Whole,
        n => Start::Last(n - 3),
    })
}

fn duplicates(bytes: &mut Unstructured<'_>) -> Result<Duplicates> {
    Ok(match bytes.int_in_range(0..=5u8)? {
        0 => Duplicates::Replace,
        1 => Duplicates::Refuse,
        _ => Duplicates::Keep,
    })
}

fn id(bytes: &mut Unstructured<'_>) -> Result<Id> {
    Ok(match bytes.int_in_range(0..=9u8)? {
        0 | 1 => Id::None,
        2 | 3 => Id::Of(index(bytes)?),
        4 => Id::At(index(bytes)?),
        5 | 6 => Id::Reader(index(bytes)?),
        7 => Id::Future,
        8 => Id::OtherEpoch,
        _ => bytes.choose(&[Id::Unknown, Id::Garbage])?.clone(),
    })
}

fuzz_target!(|case: Case| model::run(case.held, case.ops));
