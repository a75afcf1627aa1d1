//! The rules of the breaker: pure values in, pure values out.
//!
//! Nothing here reads a clock, takes a lock, waits or does I/O. `Machine` makes every decision and every transition;
//! the shell in `breaker` moves data in and out of it.

mod cooldown;
#[cfg(all(test, not(fusebox_loom)))]
mod decision_table;
pub mod detector;
mod evidence;
mod machine;
mod outcome;
mod overrides;
mod probes;
mod reason;
mod rules;
#[cfg(feature = "fleet")]
mod shared;
mod state;
mod step;
mod view;
mod window;

pub use cooldown::{Cooldown, CooldownContext};
pub use detector::{Combined, Counted, Detector, LoadError, PartTally, Tally};
pub use evidence::{Evidence, Horizon, Run};
pub use outcome::{Call, Outcome};
pub use overrides::{Override, OverrideKind};
pub use probes::{ProbeTally, Probes};
pub use reason::{RejectReason, TransitionReason};
#[cfg(feature = "fleet")]
pub use shared::{FleetStatus, WhenDown};
pub use state::{Generation, State};
pub use step::{Origin, StateScope};

pub(crate) use machine::Machine;
pub(crate) use rules::Rules;
#[cfg(feature = "fleet")]
pub(crate) use shared::{Clocks, Folded, Led, Met, Needs, Order, Record, Ring, Unreadable};
pub(crate) use step::{Decision, Fact, Facts, Input, PermitId, StepContext};
pub(crate) use view::{Admission, RefusedBy, View};
