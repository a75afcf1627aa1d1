//! What is counted of the breaker in a cell.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, OnceLock};

use crate::breaker::counts::{Counts, RejectionCount, TransitionCount, count_of};
use crate::circuit::{Fact, Facts, Outcome, RejectReason};
use crate::clock::wall_time;
use crate::counts::{Lane, View, add_rare, add_success};
use crate::sync::{AtomicU64, Ordering::Relaxed, unpoisoned};

/// The counters of a cell. They count on over all the breakers that the cell has held; what was counted before the present one
/// came is its base.
///
/// What calls count without the breaker's lock is in cells of their threads; what happens under the lock is counted here.
#[derive(Debug)]
pub(in crate::breaker) struct CellCounts {
    lane: Lane,
    /// Which registry's breaker it is; [`BY_HAND`] where it is none's.
    home: AtomicU32,
    base: AtomicU64,
    /// Made when something other than a success is counted under the lock, or has to be left out of the next breaker's.
    rest: OnceLock<Box<Rest>>,
}

/// No registry's.
pub(super) const BY_HAND: u32 = 0;

#[derive(Debug, Default)]
struct Rest {
    /// Written under the breaker's lock.
    locked: Locked,
    /// What was counted before, of each of the rarer things, where that is not nothing.
    base: OnceLock<Box<[AtomicU64; Lane::RARE]>>,
    /// Nanoseconds of the wall clock; 0: no transition yet.
    last_transition: AtomicU64,
    transitions: Mutex<Vec<TransitionCount>>,
}

#[derive(Debug, Default)]
struct Locked {
    successes: AtomicU64,
    failures: AtomicU64,
    ignored: AtomicU64,
    cancelled: AtomicU64,
    slow: AtomicU64,
    would_open: AtomicU64,
    detector_panics: AtomicU64,
    forgotten: AtomicU64,
}

/// The rarer things that are counted without the lock: these, and behind them rejections by reason.
const IGNORED: usize = 0;
const CANCELLED: usize = 1;
const REJECTED: usize = 2;

/// By their place among the rarer things.
const REASONS: [RejectReason; 7] = [
    RejectReason::Open,
    RejectReason::ProbesBusy,
    RejectReason::ForcedOpen,
    RejectReason::NotReady,
    RejectReason::StoreDown,
    RejectReason::AwaitingVerdict,
    RejectReason::AwaitingLease,
];

const fn place_of(reason: RejectReason) -> usize {
    REJECTED
        + match reason {
            RejectReason::Open => 0,
            RejectReason::ProbesBusy => 1,
            RejectReason::ForcedOpen => 2,
            RejectReason::NotReady => 3,
            RejectReason::StoreDown => 4,
            RejectReason::AwaitingVerdict => 5,
            RejectReason::AwaitingLease => 6,
        }
}

/// Adds one under the lock, which makes the two halves one.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

impl CellCounts {
    /// Of a new cell. It is never freed, so its lane is never given back.
    pub(super) fn new() -> Self {
        let this =
            Self { lane: Lane::take(), home: AtomicU32::new(BY_HAND), base: AtomicU64::new(0), rest: OnceLock::new() };
        this.begin_anew();
        this
    }

    #[inline]
    pub(super) fn success(&self) {
        add_success(self.lane);
    }

    /// Calls that were rejected, for whichever reason, by all breakers that were here.
    #[cfg(feature = "tracing")]
    pub(super) fn rejections(&self) -> u64 {
        self.lane.rarities()[REJECTED..].iter().sum()
    }

    #[inline]
    pub(super) fn rejected(&self, reason: RejectReason) {
        add_rare(self.lane, place_of(reason));
    }

    /// Counts a call that said nothing; `false` for one that did.
    pub(super) fn nothing_said(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Ignored => add_rare(self.lane, IGNORED),
            Outcome::Cancelled => add_rare(self.lane, CANCELLED),
            Outcome::Success | Outcome::Failure | Outcome::FailureAfter(_) => return false,
        }
        true
    }

    /// Counts how a call ended. Under the breaker's lock.
    pub(super) fn ended(&self, outcome: Outcome, is_slow: bool) {
        let locked = &self.rest().locked;
        add(match outcome {
            Outcome::Success => &locked.successes,
            Outcome::Failure | Outcome::FailureAfter(_) => &locked.failures,
            Outcome::Ignored => &locked.ignored,
            Outcome::Cancelled => &locked.cancelled,
        });
        if is_slow && outcome.verdict().is_some() {
            add(&locked.slow);
        }
    }

    /// Counts what happened in a step. Under the breaker's lock.
    pub(super) fn happened(&self, facts: &Facts) {
        for fact in facts.iter() {
            match fact {
                Fact::Transition(t) => {
                    let rest = self.rest();
                    let like = TransitionCount::none(t.from, t.to, t.reason, t.origin);
                    let mut transitions = unpoisoned(rest.transitions.lock());
                    *count_of(&mut transitions, like) += 1;
                    rest.last_transition.store(wall_time().as_nanos(), Relaxed);
                }
                Fact::WouldOpen(_) => add(&self.rest().locked.would_open),
                Fact::DetectorPanicked => add(&self.rest().locked.detector_panics),
                #[cfg(feature = "fleet")]
                Fact::Fleet(_) => {}
            }
        }
    }

    /// So many calls in all will never be known to the fleet. Under the breaker's lock.
    #[cfg(feature = "fleet")]
    pub(super) fn forgotten(&self, calls: u64) {
        if calls > 0 {
            self.rest().locked.forgotten.fetch_max(calls, Relaxed);
        }
    }

    #[cold]
    fn rest(&self) -> &Rest {
        self.rest.get_or_init(Box::default)
    }

    /// Which registry's breaker it is.
    pub(in crate::breaker) fn home(&self) -> u32 {
        self.home.load(Relaxed)
    }

    /// A number that is this cell's alone.
    pub(in crate::breaker) const fn number(&self) -> u32 {
        self.lane.number()
    }

    /// When the state last changed, in nanoseconds of the wall clock.
    pub(in crate::breaker) fn last_transition(&self) -> Option<u64> {
        Some(self.rest.get()?.last_transition.load(Relaxed)).filter(|at| *at > 0)
    }

    /// What the present breaker has counted. Takes no lock of the breaker.
    pub(in crate::breaker) fn counts(&self) -> Counts {
        self.counts_of(self.lane.successes(), &self.lane.rarities())
    }

    /// The same, of many cells one after another.
    pub(in crate::breaker) fn counts_by(&self, view: &View) -> Counts {
        self.counts_of(view.successes(self.lane), &view.rarities(self.lane))
    }

    // A view that is older than the base has less, if a thread has begun to count in between.
    fn counts_of(&self, successes: u64, rare: &[u64; Lane::RARE]) -> Counts {
        let rest = self.rest.get().map(|rest| &**rest);
        let base = rest.and_then(|rest| rest.base.get());
        let since = |kind: usize| rare[kind].saturating_sub(base.map_or(0, |base| base[kind].load(Relaxed)));
        let locked = |of: fn(&Locked) -> &AtomicU64| rest.map_or(0, |rest| of(&rest.locked).load(Relaxed));
        let rejections = REASONS.map(|reason| RejectionCount { reason, count: since(place_of(reason)) });
        Counts {
            successes: successes.saturating_sub(self.base.load(Relaxed)) + locked(|locked| &locked.successes),
            failures: locked(|locked| &locked.failures),
            ignored: since(IGNORED) + locked(|locked| &locked.ignored),
            cancelled: since(CANCELLED) + locked(|locked| &locked.cancelled),
            slow: locked(|locked| &locked.slow),
            rejections: rejections.into_iter().filter(|rejection| rejection.count > 0).collect(),
            transitions: rest.map_or_else(Vec::new, |rest| unpoisoned(rest.transitions.lock()).clone()),
            would_open: locked(|locked| &locked.would_open),
            detector_panics: locked(|locked| &locked.detector_panics),
            forgotten: locked(|locked| &locked.forgotten),
        }
    }

    /// Begins anew for another breaker, and returns what the last one has counted. Under the breaker's lock, while none is
    /// here. A thread that is about to count for the last one counts for the next: it was so long on its way that a thousand
    /// other cells have been used meanwhile.
    pub(in crate::breaker) fn begin_anew(&self) -> Counts {
        let (successes, rare) = (self.lane.successes(), self.lane.rarities());
        let counts = self.counts_of(successes, &rare);
        self.base.store(successes, Relaxed);
        if self.rest.get().is_some() || rare.iter().any(|sum| *sum > 0) {
            let Rest { locked, base, last_transition, transitions } = self.rest();
            let Locked { successes, failures, ignored, cancelled, slow, would_open, detector_panics, forgotten } =
                locked;
            for counter in [successes, failures, ignored, cancelled, slow, would_open, detector_panics, forgotten] {
                counter.store(0, Relaxed);
            }
            last_transition.store(0, Relaxed);
            if rare.iter().any(|sum| *sum > 0) {
                let base = base.get_or_init(Box::default);
                base.iter().zip(rare).for_each(|(base, sum)| base.store(sum, Relaxed));
            }
            unpoisoned(transitions.lock()).clear();
        }
        counts
    }

    /// The breaker that comes is that registry's.
    pub(in crate::breaker) fn set_home(&self, home: u32) {
        self.home.store(home, Relaxed);
    }
}
