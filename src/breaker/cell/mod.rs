//! A breaker's place in memory: what calls look at without a lock, and the machine behind the lock.

mod acquire;
mod admission_word;
mod arena;
mod breaker_cell;
#[cfg(feature = "tracing")]
mod call_logs;
#[cfg(feature = "counts")]
mod cell_counts;
#[cfg(feature = "tracing")]
mod episode;
mod info;
mod inspect;
mod report;
mod success_counter;
#[cfg(feature = "counts")]
mod view;

pub(crate) use acquire::Refusal;

#[cfg(feature = "fleet")]
pub(super) use breaker_cell::Visit;
pub(super) use breaker_cell::{Body, BreakerCell, CellRef, Contents};
#[cfg(feature = "counts")]
pub(super) use cell_counts::CellCounts;
