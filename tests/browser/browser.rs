//! What a person in front of a browser gets: the example's page, and the plain `EventSource`.

mod agent;
mod ai_sdk;
mod conversation;
mod driver;
mod engine;
mod engines;
#[path = "../common/example.rs"]
mod example;
mod inspect;
mod page;
mod proxy;
mod recipes;
mod round_trip;
mod standard;
