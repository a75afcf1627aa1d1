//! What a command has changed.

use super::row::FleetBreaker;

/// What a command has changed.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{State, fleet::Operator, store::MemoryStore};
///
/// # tokio_test::block_on(async {
/// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
/// let change = operator.trip("payments").await?;
/// assert!(change.changed && change.before.is_none());
/// assert_eq!(change.after.and_then(|row| row.state()), Some(State::Open));
/// assert!(!operator.trip("payments").await?.changed, "it is open");
/// # Ok::<(), fusebox::fleet::OperatorError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetChange {
    /// What there was before; `None`: nothing.
    pub before: Option<FleetBreaker>,
    /// What there is now; `None`: nothing, it was [forgotten](super::Operator::forget).
    pub after: Option<FleetBreaker>,
    /// Whether anything was written. A circuit that is open is not tripped, and where no override stands none is ended.
    pub changed: bool,
}

impl FleetChange {
    pub(super) fn none(seen: Option<FleetBreaker>) -> Self {
        Self { before: seen.clone(), after: seen, changed: false }
    }
}
