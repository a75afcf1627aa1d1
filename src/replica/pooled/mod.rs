//! How a fleet judges the calls of all its instances together, although it has not been told of all of them.
//!
//! Failures are told at once, so silence means success: what an instance has not told can only make a rule less met. Where
//! the evidence of a rule says that it may be met, all are asked once what they have seen (a *suspicion*), and the verdict
//! is about the calls up to a moment that it names (the *cut*), of all that answered. `docs/fleet-protocol.md` tells the
//! protocol.

mod advice;
mod bad_times;
mod cell;
mod evidence;
#[cfg(all(test, not(fusebox_loom)))]
mod judging_tests;
mod logs;
mod opaque;
mod question;
mod resolution;
mod rule;
#[cfg(all(test, not(fusebox_loom)))]
pub(super) mod samples;
mod sequence;
mod slots;
mod suspicion;
mod telling;
#[cfg(all(test, not(fusebox_loom)))]
mod tests;
mod told;
mod untold;
mod verdict;
mod voices;
mod window;

pub(super) use advice::of_calls as advice_of_calls;
pub(super) use evidence::{Judgement, RuleEvidence, kept_at_first};
pub(crate) use resolution::time_resolution;
pub(super) use sequence::TICK_BITS;
pub(super) use suspicion::{LONGEST_SUSPICION, Suspicion};
pub(super) use telling::{Telling, Trip};
pub(super) use untold::{Moment, Rates, Untold};
pub(super) use verdict::Verdict;
pub(super) use voices::IDLE_AFTER;
