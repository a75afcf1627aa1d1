//! Events, and how they come to listeners, to readers of streams and to callers that wait for the circuit.

mod backlog;
mod channel;
mod event;
mod listener;
mod notifier;
mod stream;
mod wait_queue;

pub use event::{Event, EventKind};
pub use stream::Events;

pub(super) use channel::Channel;
pub(super) use event::Occurrence;
pub(super) use listener::{EventListener, Listener, Subject};
pub(super) use notifier::{Notifier, tell_of_none};
pub(super) use stream::Source;
pub(super) use wait_queue::WaitQueue;
