//! Events, and how they come to listeners, to readers of streams and to callers that wait for the circuit.

mod backlog;
mod channel;
#[cfg(feature = "tracing")]
mod details;
mod event;
mod listener;
mod notifier;
mod stream;
#[cfg(feature = "tracing")]
pub(super) mod trace;
mod wait_queue;

#[cfg(feature = "counts")]
pub(crate) use backlog::lost_news;
pub use event::{Event, EventKind};
pub use stream::Events;

pub(super) use channel::Channel;
#[cfg(feature = "tracing")]
pub(super) use details::Details;
pub(super) use event::Occurrence;
pub(super) use listener::{EventListener, Listener, Subject};
#[cfg(feature = "tracing")]
pub(super) use notifier::Item;
pub(super) use notifier::{Notifier, tell_of_none};
pub(super) use stream::Source;
pub(super) use wait_queue::WaitQueue;
