//! What goes into the machine and what comes out.

use std::time::Duration;

use super::detector::Tally;
use super::{Generation, Outcome, Override, RejectReason, State, TransitionReason};
use crate::time::Timestamp;

/// When something happens, with a seed for whatever needs chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
}

/// Something the machine must decide about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A call asks to go through. `reserve`: it will go through later, or not at all.
    Acquire { reserve: bool },
    /// A reserved call goes through now.
    Begin(Ticket),
    /// A call ended.
    Report { ticket: Ticket, outcome: Outcome, took: Option<Duration> },
    /// Open, by command.
    Trip,
    /// Close and forget, by command.
    Reset,
    /// An operator takes hold.
    Override(&'a Override),
    /// An operator lets go.
    Resume,
    /// Somebody looks: an override may end by itself now.
    Look,
    /// Somebody wants to know whether a call would go through.
    Poll,
}

/// What an admitted call carries until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) generation: Generation,
    /// The probe's lease, when the call is a probe.
    pub(crate) lease: Option<u32>,
}

/// The answer to an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Done, or nothing to do.
    Done,
    /// The call may go through.
    Admitted(Ticket),
    /// The call may not; `until` says when to come back, where that is known.
    Rejected { reason: RejectReason, until: Option<Timestamp> },
    /// All probes are on their way.
    Busy,
    /// The outcome, or the reservation, is of another time and changes nothing.
    Stale,
    /// The command is refused because an override stands.
    Overridden,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transition {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) reason: TransitionReason,
    pub(crate) generation: Generation,
}

/// Something that happened in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fact {
    Transition(Transition),
    /// In a dry run: the circuit would have opened.
    WouldOpen(Tally),
    /// The detector panicked and was reset.
    DetectorPanicked,
}

/// The facts of a step, in order; a step has at most four.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Facts([Option<Fact>; 4]);

impl Facts {
    pub(super) fn push(&mut self, fact: Fact) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(fact);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Fact> + '_ {
        self.0.iter().map_while(|fact| *fact)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }
}
