//! The registries of the process.

use std::sync::{Arc, Mutex, Weak};

use super::registry_contents::Inner;
use crate::sync::unpoisoned;

static REGISTRIES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

pub(super) fn add(registry: &Arc<Inner>) {
    let mut registries = unpoisoned(REGISTRIES.lock());
    registries.retain(|registry| registry.strong_count() > 0);
    registries.push(Arc::downgrade(registry));
}

/// Those that there are, in the order in which they were made.
pub(super) fn all() -> Vec<Arc<Inner>> {
    unpoisoned(REGISTRIES.lock()).iter().filter_map(Weak::upgrade).collect()
}
