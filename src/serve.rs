//! The HTTP side: a layer that answers requests for streams, and passes every other request through untouched.
//!
//! A request goes route -> [`Authorizer`](crate::Authorizer) -> [`Grant`](crate::Grant) ->
//! [`Subscription`](crate::Subscription) -> [`SseBody`]. Each step has its files:
//!
//! | file | what it decides |
//! | --- | --- |
//! | `route` | which paths are streams, and with what settings |
//! | `ask`, `accept` | what a request asks for, and whether it is valid |
//! | `answer`, `response` | how the authorizer's and the hub's answer becomes an HTTP response |
//! | `stream`, `preamble`, `retry`, `webkit` | what is sent, and how it begins |
//! | `transform`, `output`, `shape`, `incomplete` | what is sent instead of the events as they are, and how a strict stream ends |
//! | `keep_alive`, `idle`, `wheel`, `coalesce`, `close` | when it is sent, and what is sent while the stream is idle |
//! | `publish` | what a request to publish asks for, and what becomes of it |
//! | `inspect` | what an operator is shown, and the page |
//! | `parameters`, `refused` | what the services that are no streams share: parameters of a query, and refusals |
//! | `layer`, `config`, `service`, `future`, `body`, `not_found` | the tower and http-body types around them |

mod accept;
mod answer;
#[cfg(any(feature = "inspect", feature = "publish"))]
mod answering;
mod ask;
mod body;
mod close;
mod coalesce;
mod config;
mod future;
mod greeting;
pub(crate) mod idle;
mod incomplete;
#[cfg(feature = "inspect")]
mod inspect;
mod keep_alive;
mod layer;
mod not_found;
mod output;
#[cfg(any(feature = "inspect", feature = "publish"))]
mod parameters;
mod preamble;
#[cfg(feature = "publish")]
mod publish;
#[cfg(any(feature = "inspect", feature = "publish"))]
mod refused;
pub(crate) mod response;
mod retry;
mod route;
mod service;
mod shape;
mod stream;
mod transform;
mod webkit;
mod wheel;

#[cfg(any(feature = "inspect", feature = "publish"))]
pub use self::answering::AnswerFuture;
#[cfg(feature = "inspect")]
pub use self::inspect::Inspect;
#[cfg(feature = "publish")]
pub use self::publish::PublishService;
pub use self::{
    ask::last_event_id,
    body::{NoBody, SseBody},
    future::SseFuture,
    incomplete::Incomplete,
    keep_alive::KeepAlive,
    layer::SseLayer,
    not_found::NotFound,
    output::Output,
    retry::Retry,
    route::Route,
    service::SseService,
    transform::Transform,
    webkit::WebKitRepair,
};
