//! What the instances of a fleet share of a breaker: the record, its merge, and its bytes.
//!
//! A record is a breaker's machine by the store's clock, written down. Taking in batches and orders means to make a machine
//! of the record, step it, and write it down again, so that the rules of one process are the rules of the fleet.

mod adopt;
mod batch;
mod fold;
mod held;
mod leading;
mod led;
#[cfg(all(test, not(fusebox_loom)))]
mod peek;
mod record;
mod status;
#[cfg(all(test, not(fusebox_loom)))]
mod tests;

pub(crate) use adopt::{Clocks, Met};
pub(crate) use batch::Order;
pub(in crate::circuit) use batch::Probed;
pub(crate) use fold::Folded;
pub(crate) use led::{Led, Needs, Ring};
pub(crate) use record::{Record, Unreadable};
pub use status::{FleetStatus, WhenDown};
