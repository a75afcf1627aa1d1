//! What goes into the machine and what comes out.

use std::time::Duration;

use super::detector::Tally;
use super::{Generation, Origin, Outcome, Override, RejectReason, State, TransitionReason};
#[cfg(feature = "fleet")]
use super::{advice::Advice, verdict::Verdict};
use crate::time::Timestamp;

/// What a step takes besides its input: the time, and a seed for what depends on chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepContext {
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
}

/// Something the machine must decide about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A call asks to go through. `reserve`: it will go through later, or not at all.
    Acquire { reserve: bool },
    /// A reserved call goes through now.
    Begin(PermitId),
    /// The dependency has answered a call, after so long where that matters, and the response is on its way.
    #[cfg_attr(
        not(any(feature = "http", feature = "fleet", test)),
        expect(dead_code, reason = "only responses with bodies are accepted before they end")
    )]
    Accept { permit: PermitId, took: Option<Duration> },
    /// A call ended. `took`: until the dependency had answered, where that matters.
    Report { permit: PermitId, outcome: Outcome, took: Option<Duration> },
    /// Open, by command.
    Trip,
    /// Close and forget, by command.
    Reset,
    /// An operator takes hold.
    Override(&'a Override),
    /// An operator lets go.
    Resume,
    /// A look from outside: an override may end by itself now.
    Look,
    /// Asks whether a call would be rejected, and how, without making one; where one would go through, the answer is `Done`.
    /// What time has ended has ended then, or it never would for a caller that asks before each call.
    Poll,
}

/// What an admitted call carries until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PermitId {
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
    Admitted(PermitId),
    /// The call may not; `until` says when to come back, where that is known.
    Rejected { reason: RejectReason, until: Option<Timestamp> },
    /// The outcome, or the reservation, is of another time and changes nothing.
    Stale,
    /// The command is refused because an override stands.
    Overridden,
}

impl Decision {
    /// All probes are on their way, and when one of them ends is not known.
    pub(crate) const PROBES_BUSY: Self = Self::Rejected { reason: RejectReason::ProbesBusy, until: None };
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transition {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) reason: TransitionReason,
    pub(crate) generation: Generation,
    pub(crate) origin: Origin,
    /// The fleet's generation, where the whole fleet changes its state.
    pub(crate) fleet: Option<Generation>,
}

/// Something that happened in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fact {
    Transition(Transition),
    /// In a dry run: the circuit would have opened.
    WouldOpen(Tally),
    /// The detector panicked and was reset.
    DetectorPanicked,
    /// A fact of a breaker that a fleet shares.
    #[cfg(feature = "fleet")]
    Fleet(FleetFact),
}

/// What only a breaker that a fleet shares has to tell.
#[cfg(feature = "fleet")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FleetFact {
    /// The store does not answer.
    StoreDegraded,
    /// The store answers again.
    StoreRecovered,
    /// The store works, and one of its side steps does not.
    StoreImpaired,
    /// It does again.
    StoreMended,
    /// The record was handed batches that are none.
    BatchUnreadable,
    /// The store holds a record that this release cannot use.
    RecordUnreadable,
    /// The record holds evidence of another rule.
    ConfigDrift,
    /// More rules than a record has room for: the evidence of one gave way.
    EvidenceDropped,
    /// This instance rejects calls by itself, until the fleet has a verdict.
    ProtectionBegan,
    /// It does so no more.
    ProtectionEnded,
    /// The fleet has reached a verdict: on what evidence.
    Judged(Verdict),
    /// What the fleet would be better off with.
    Advised(Advice),
}

/// The facts of a step, in order. The first few need no memory of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    first: [Option<Fact>; 4],
    more: Vec<Fact>,
}

impl Facts {
    pub(crate) fn push(&mut self, fact: Fact) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(fact),
            None => self.more.push(fact),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Fact> + '_ {
        self.first.iter().map_while(|fact| *fact).chain(self.more.iter().copied())
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first[0].is_none()
    }
}
