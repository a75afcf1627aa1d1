//! The rules of the breaker: pure values in, pure values out.
//!
//! Nothing here reads a clock, takes a lock, waits or does I/O. `Machine` makes every decision and every transition;
//! the shell in `breaker` moves data in and out of it.

mod advice;
mod bounds;
mod codec;
mod cooldown;
#[cfg(all(test, not(fusebox_loom)))]
mod decision_table;
pub mod detector;
mod evidence;
mod horizon;
#[cfg(all(test, not(fusebox_loom)))]
mod late_heads;
mod machine;
mod machine_state;
mod mixing;
mod opening;
mod outcome;
mod overrides;
mod probe_round;
mod probes;
mod reason;
mod recovery;
mod rules;
mod run;
mod slowness;
mod state;
mod step;
#[cfg(feature = "fleet")]
mod verdict;
mod view;
mod window;

pub use cooldown::{Cooldown, CooldownContext};
#[cfg(any(feature = "fleet", test))]
pub(crate) use detector::LoadError;
pub use detector::PartTally;
#[cfg(feature = "fleet")]
pub(crate) use detector::Run;
pub(crate) use detector::{Call, Detector, Horizon, Tally};
pub use outcome::Outcome;
pub use overrides::{Override, OverrideKind, StandingOverride};
pub use probes::{ProbeTally, Probes};
pub use reason::{RejectReason, TransitionReason};
pub use state::{Generation, Origin, State, StateScope};

pub use advice::Advice;
#[cfg(feature = "fleet")]
pub(crate) use codec::{Reader, Writer};
pub(crate) use machine::Machine;
#[cfg(feature = "fleet")]
pub(crate) use machine_state::{History, MachineState};
#[cfg(feature = "fleet")]
pub(crate) use overrides::Standing;
#[cfg(feature = "fleet")]
pub(crate) use probe_round::{Hold, Lease, ProbeRound, held_until};
pub(crate) use rules::Rules;
pub(crate) use slowness::Slowness;
#[cfg(feature = "fleet")]
pub(crate) use step::FleetFact;
pub(crate) use step::{Decision, Fact, Facts, Input, PermitId, StepContext};
#[cfg(feature = "fleet")]
pub use verdict::Verdict;
pub(crate) use view::{Admission, RefusedBy, View};
#[cfg(feature = "fleet")]
pub(crate) use window::CountWindow;
