//! What the record of a breaker promises, whichever instance writes it and in whatever order.

mod advice;
mod bench;
mod bytes;
mod census;
mod clocks;
mod combining;
mod commands;
mod evidence;
mod format_1;
mod generations;
mod handovers;
mod late_heads;
mod malice;
mod opaque;
mod operated;
mod peek;
mod probes;
mod recovery;
mod resting;
mod rules;
mod samples;
mod search;
mod sizes;
mod small_fleet;
mod votes;

use std::sync::Arc;
use std::time::Duration;

use bench::{ENDS, Instance, Order31, Shared, at, failed, fine, ms, patient, run};
pub(crate) use peek::calls_in;
use proptest::prelude::*;

use super::batch::{Batch, Command, ProbeNews, Probed, Vote, Voter};
use super::state::Merged;
use super::{Record, Replica, Terms, WhenDown};
use crate::circuit::detector::{failures, never_trips};
use crate::circuit::{
    Call, Decision, Detector, Facts, Generation, Input, LoadError, Machine, Outcome, Probes, Rules, Run, State,
    StepContext, Tally,
};
use crate::time::Timestamp;
