//! Why something happened.

use std::fmt;

use super::detector::Tally;

/// Why a breaker went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TransitionReason {
    /// The detector tripped; the tally it tripped on.
    Detected(Tally),
    /// The cooldown was over and a call asked.
    CooldownOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed.
    ProbeFailed,
    /// A probe did not end before its deadline.
    ProbeExpired,
    /// Probes went out for ten cooldowns and none was evidence of anything.
    ProbesInconclusive,
    /// Somebody called `trip()`.
    Tripped,
    /// Somebody called `reset()`.
    Reset,
    /// An operator set an override.
    Overridden,
    /// An operator ended the override.
    Resumed,
    /// The override ended by itself.
    OverrideExpired,
}

impl fmt::Display for TransitionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detected(tally) => return tally.fmt(f),
            Self::CooldownOver => "the cooldown is over",
            Self::ProbesSucceeded => "probes succeeded",
            Self::ProbeFailed => "a probe failed",
            Self::ProbeExpired => "a probe did not end before its deadline",
            Self::ProbesInconclusive => "the probes gave no verdict",
            Self::Tripped => "tripped by command",
            Self::Reset => "reset by command",
            Self::Overridden => "overridden by an operator",
            Self::Resumed => "override ended by an operator",
            Self::OverrideExpired => "override expired",
        })
    }
}

/// Why a call was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RejectReason {
    /// The circuit is open and its cooldown is not over.
    Open,
    /// The circuit is half-open and all its probes are on their way.
    ProbesBusy,
    /// An operator forced the circuit open.
    ForcedOpen,
    /// The circuit was open when the service said it was ready to answer, and had recovered by the time of the call;
    /// the inner service had not been asked whether it is ready. The next call goes through.
    NotReady,
}

impl RejectReason {
    /// Returns the reason in snake case, as a metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ProbesBusy => "probes_busy",
            Self::ForcedOpen => "forced_open",
            Self::NotReady => "not_ready",
        }
    }
}
