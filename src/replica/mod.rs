//! What an instance knows of the fleet that shares a breaker, and the protocol by which it learns and tells: pure values in,
//! pure values out.
//!
//! A [`Replica`](replica::Replica) is a machine with all protocol state of one shared breaker. A record is such a machine,
//! written down by the store's clock. Taking in batches and commands means to make a machine of the record, step it, and
//! write it down again, so that the rules of one process are the rules of the fleet. `docs/fleet-protocol.md` tells the
//! protocol.

mod batch;
mod census;
mod clocks;
mod commit;
mod copy_on_write;
mod handle;
mod leases;
mod merge;
mod notice;
mod operated;
mod poll;
mod pooled;
mod probing;
mod protection;
mod push;
mod reconcile;
mod record;
#[expect(clippy::module_inception, reason = "the file of the type that the folder is about")]
mod replica;
mod resting;
mod state;
mod status;
#[cfg(all(test, not(fusebox_loom)))]
mod tests;

pub use status::{FleetStatus, WhenDown};

pub(crate) use batch::Voter;
pub(crate) use handle::Response;
pub(crate) use notice::Announcement;
pub(crate) use operated::{Operated, Order, Refusal, Sight};
pub(crate) use poll::{Polled, Priority, Request, WakeUp};
pub(crate) use pooled::time_resolution;
#[cfg(all(test, not(fusebox_loom)))]
pub(crate) use record::Record;
pub(crate) use record::Unreadable;
pub(crate) use replica::{Replica, Turn};
pub(crate) use resting::RestingStates;
pub(crate) use state::{POLL_INTERVAL, Terms};
#[cfg(all(test, not(fusebox_loom)))]
pub(crate) use tests::calls_in;
