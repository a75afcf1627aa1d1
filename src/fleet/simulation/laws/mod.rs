//! The laws of a fleet, stated against a breaker without a store: what each test finds true is said by a machine that has
//! seen the same calls and knows of no protocol.

mod fleet_of_one;
mod openings;
mod pair;
mod recovery;
mod schedule;
mod storms;
