//! The tables of the configuration, one file for each of our own types.

mod backoffs;
mod breakers;
mod budgets;
mod cooldowns;
mod detectors;
mod file;
mod fleets;
mod growth;
mod outcomes;
mod overrides;
mod probes;
mod retries;

pub(super) use backoffs::BACKOFF;
pub(super) use breakers::{BREAKER, apply};
pub(super) use budgets::BUDGET;
pub(super) use cooldowns::COOLDOWN;
pub(super) use detectors::DETECTOR;
pub(super) use file::FILE;
#[cfg(feature = "fleet")]
pub(super) use fleets::FLEET;
pub(super) use outcomes::OUTCOMES;
pub(super) use overrides::OVERRIDE;
pub(super) use probes::PROBES;
pub(super) use retries::{RETRY, UNTIMED_RETRY, retry};
