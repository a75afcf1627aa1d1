//! A fleet in virtual time.
//!
//! Many instances over one store, each with an engine and a clock of its own, and between them a network that loses,
//! delays, doubles and cuts; all of it in one thread, with the chance of one seed. After every step it is checked what must
//! hold whatever happens. A run that fails says its seed and what happened last; `FUSEBOX_SIM_SEEDS` makes it more runs.

mod calls;
mod checking;
mod checks;
mod event;
mod faults;
mod history;
mod laws;
mod loads;
mod member;
mod network;
mod recovering;
mod regressions;
mod rng;
mod runner;
mod scenarios;
mod setup;
mod strangers;
mod transport;
mod world;
