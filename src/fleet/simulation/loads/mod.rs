//! Fleets under load, each beside one breaker that sees the calls of all in the order in which they end.

mod load;
mod rows;
mod run;
mod truth;

pub(super) use load::Load;
pub(super) use rows::rules;
pub(super) use run::Run;
