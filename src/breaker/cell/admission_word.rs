//! The atomic face of a breaker: one word that tells how calls go through.

use crate::circuit::{Admission, Generation, RefusedBy, RejectReason, View};

/// `generation << 8 | flags`. A transition every nanosecond would use up the 56 bits in two years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdmissionWord(pub(super) u64);

/// What never changes while a breaker lives and is asked on every call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallNeeds {
    /// A rule asks how long calls take.
    pub(super) timed: bool,
    /// Listeners hear of every call.
    pub(super) every_call: bool,
    /// A detector, or a fleet, asks when successes end.
    pub(super) dated: bool,
    /// Who may probe, a fleet says.
    pub(super) shared: bool,
}

/// The bits of [`Admission`]; zero for `All`.
const ADMISSION: u64 = 0b11;
/// The lowest bit is set where not every call is admitted.
const NONE: u64 = 1;
const UNJUDGED: u64 = 2;
const ASK: u64 = 3;
/// With `All`: one more success changes nothing.
const CLEAN: u64 = 1 << 2;
/// With `NONE`: by a store that is away.
#[cfg(feature = "fleet")]
const AWAY: u64 = CLEAN;
/// With `NONE`: by an operator. With `UNJUDGED`: outcomes are recorded.
const MARK: u64 = 1 << 3;
const TIMED: u64 = 1 << 4;
const EVERY_CALL: u64 = 1 << 5;
/// When a success ends makes a difference. Not together with `CLEAN`.
const DATED: u64 = 1 << 6;
/// With `NONE`: whether a call is a probe when that time is over is not this process's to say alone.
const SHARED: u64 = 1 << 7;
const FLAGS: u32 = 8;

impl AdmissionWord {
    #[inline]
    pub(super) fn new(view: View, needs: CallNeeds) -> Self {
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        let admission = match view.admission {
            Admission::All => 0,
            Admission::None { by: RefusedBy::Circuit, .. } => NONE,
            Admission::None { by: RefusedBy::Operator, .. } => NONE | MARK,
            #[cfg(feature = "fleet")]
            Admission::None { by: RefusedBy::Store, .. } => NONE | AWAY,
            Admission::Ask => ASK,
            Admission::Unjudged { recorded, .. } => UNJUDGED | flag(recorded, MARK),
        };
        let shared = needs.shared && admission == NONE;
        let dated = !view.clean && (needs.dated || view.recovers);
        Self(
            view.generation.get() << FLAGS
                | admission
                | flag(view.clean, CLEAN)
                | flag(needs.timed, TIMED)
                | flag(needs.every_call, EVERY_CALL)
                | flag(dated, DATED)
                | flag(shared, SHARED),
        )
    }

    /// A cell without a breaker: nothing that reports here is of this generation.
    #[inline]
    pub(super) const fn vacant(generation: Generation) -> Self {
        Self(generation.get() << FLAGS | UNJUDGED)
    }

    #[inline]
    pub(super) const fn generation(self) -> Generation {
        Generation::new(self.0 >> FLAGS)
    }

    /// The circuit is closed and calls are not timed: admission is this one look.
    #[inline]
    pub(super) const fn admits_at_sight(self) -> bool {
        self.0 & (ADMISSION | TIMED) == 0
    }

    /// A success of this generation would change nothing, no listener hears of it, and no rule asks how long it took.
    #[inline]
    pub(super) const fn absorbs_success_of(self, generation: Generation) -> bool {
        self.0 == generation.get() << FLAGS | CLEAN
    }

    /// Closed, in this generation, and nothing to look at but the count of its successes.
    #[inline]
    pub(super) const fn only_counts(self, generation: Generation) -> bool {
        self.0 == generation.get() << FLAGS
    }

    /// Closed, in this generation; no listener hears of every call, and no rule asks when one began or ended.
    #[inline]
    pub(super) const fn only_judges(self, generation: Generation) -> bool {
        self.0 & !CLEAN == generation.get() << FLAGS
    }

    #[inline]
    pub(super) const fn admits_all(self) -> bool {
        self.0 & ADMISSION == 0
    }

    #[inline]
    pub(super) const fn admits_none(self) -> bool {
        self.0 & ADMISSION == NONE
    }

    /// Open, by no operator and no fleet: the next call is a probe as soon as the cooldown is over.
    #[inline]
    pub(super) const fn probes_next(self) -> bool {
        self.0 & (ADMISSION | CLEAN | MARK | SHARED) == NONE
    }

    /// Why a call is rejected while none is admitted.
    #[inline]
    pub(super) const fn refusal_reason(self) -> RejectReason {
        #[cfg(feature = "fleet")]
        if self.0 & AWAY != 0 {
            return RejectReason::StoreDown;
        }
        if self.is_forced_open() { RejectReason::ForcedOpen } else { RejectReason::Open }
    }

    #[inline]
    pub(super) const fn must_ask(self) -> bool {
        self.0 & ADMISSION == ASK
    }

    #[inline]
    pub(super) const fn is_unjudged(self) -> bool {
        self.0 & ADMISSION == UNJUDGED
    }

    #[inline]
    pub(super) const fn is_forced_open(self) -> bool {
        self.admits_none() && self.0 & MARK != 0
    }

    #[inline]
    pub(super) const fn records(self) -> bool {
        !self.is_unjudged() || self.0 & MARK != 0
    }

    #[inline]
    pub(super) const fn is_clean(self) -> bool {
        self.0 & CLEAN != 0
    }

    #[inline]
    pub(super) const fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// When a success ends makes a difference.
    #[inline]
    pub(super) const fn is_dated(self) -> bool {
        self.0 & DATED != 0
    }

    #[inline]
    pub(super) const fn tells_every_call(self) -> bool {
        self.0 & EVERY_CALL != 0
    }
}
