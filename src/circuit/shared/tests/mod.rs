//! What the record of a breaker promises, whoever writes it and in whatever order.

mod bench;
mod bytes;
mod evidence;
mod generations;
mod ordered;
mod orders;
mod probes;
mod rules;
mod sizes;
mod votes;

use std::sync::Arc;
use std::time::Duration;

use bench::{Instance, Order31, Shared, at, failed, fine, moment, ms, patient, replayed, run, slow};
use proptest::prelude::*;

use super::batch::{Batch, Calls, Order, Probed};
use super::held::Seen;
use super::led::fingerprint;
use super::record::Vote;
use super::{Clocks, Folded, Led, Record, WhenDown};
use crate::circuit::detector::failures;
use crate::circuit::{
    Call, Decision, Detector, Facts, Generation, Horizon, Input, LoadError, Machine, Outcome, Probes, Rules, Run,
    State, StepContext, Tally,
};
use crate::time::Timestamp;
