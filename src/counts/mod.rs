//! Counters that many threads write and a scrape reads: each thread by plain stores into cells of its own.

#[cfg(feature = "counts")]
mod departed;
#[cfg_attr(not(feature = "counts"), expect(dead_code, reason = "the model checker looks at the ledger alone"))]
mod ledger;
#[cfg(all(test, fusebox_loom))]
mod loom_tests;
mod segments;
#[cfg(feature = "counts")]
mod thread;

#[cfg(feature = "counts")]
pub(crate) use departed::{Departed, Sum, lock_with_all};
#[cfg(feature = "counts")]
pub(crate) use thread::{Lane, View, add_rare, add_success};
