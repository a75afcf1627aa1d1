//! Looking at a fleet, and commanding it, over its store alone.

mod change;
mod check;
mod error;
mod filter;
#[expect(clippy::module_inception, reason = "the file of the type that the folder is about")]
mod operator;
mod reader;
mod row;
mod watch;

pub use change::FleetChange;
pub use check::{Right, StoreCheck};
pub use error::OperatorError;
pub use filter::FleetFilter;
pub use operator::Operator;
pub use row::{FleetBreaker, FleetProbes, FleetRecord, FleetSnapshot, RecordTrouble, RecordTroubleKind};
pub use watch::{FleetTransition, FleetWatch};
