//! What goes into the machine and what comes out.

use std::time::Duration;

use super::detector::Tally;
use super::{Generation, Outcome, Override, RejectReason, State, TransitionReason};
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
    /// The dependency has answered a call, and the response is on its way.
    #[cfg_attr(
        not(any(feature = "http", feature = "fleet")),
        expect(dead_code, reason = "only responses with bodies are accepted before they end")
    )]
    Accept(PermitId),
    /// A call ended.
    Report { permit: PermitId, outcome: Outcome, took: Option<Duration> },
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
    pub(crate) origin: Origin,
    /// The fleet's generation, where the whole fleet changes its state.
    pub(crate) fleet: Option<Generation>,
}

/// Whose state it is.
///
/// A breaker that shares its state with nobody has a state of its own. One that a [fleet](crate::CircuitBreaker) shares has
/// the fleet's, except while its store is away, or where instances vote and the fleet is closed.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, StateScope};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// assert_eq!(breaker.snapshot().scope, StateScope::Instance);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum StateScope {
    /// This instance's.
    Instance,
    /// The whole fleet's.
    Fleet,
}

/// Who made a transition.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Origin};
/// use futures::{executor::block_on, StreamExt};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments")); // shares its state with nobody
/// let mut events = breaker.events();
/// breaker.trip()?;
/// assert_eq!(block_on(events.next()).unwrap().origin(), Origin::Decided);
/// # Ok::<(), fusebox::Overridden>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Origin {
    /// This instance.
    Decided,
    /// Another instance of its fleet; this one does as that one did.
    Adopted,
}

/// Something that happened in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fact {
    Transition(Transition),
    /// In a dry run: the circuit would have opened.
    WouldOpen(Tally),
    /// The detector panicked and was reset.
    DetectorPanicked,
    /// The record holds evidence of another rule.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "only a fleet can have two rules"))]
    ConfigDrift,
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
