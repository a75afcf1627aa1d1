//! Every breaker of the process, whatever holds it.

use super::cell::BreakerCell;
use super::trouble::Trouble;

/// A breaker that is met on a walk over all of them. Nothing holds it: it may be gone in the next moment.
pub(crate) struct Met(&'static BreakerCell);

/// Shows every breaker of the process, made by hand or by a registry. No breaker is locked for it; one that is made
/// meanwhile may be missed.
pub(crate) fn each(f: impl FnMut(Met)) {
    BreakerCell::all().map(Met).for_each(f);
}

impl Met {
    /// What is to be said of it, unless its circuit is closed: that is seen by one look, without a lock.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.0.trouble()
    }
}
