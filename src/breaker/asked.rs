//! Whether a configuration's outcomes are heeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether anything has asked for the outcomes of a configuration, or of its clones: what has not asked cannot heed them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<AtomicBool>);

impl Asked {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
