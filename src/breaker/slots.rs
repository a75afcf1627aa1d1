//! Places for breakers: used again, never freed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::core::{Contents, Core};

static FREE: Mutex<VecDeque<&'static Core>> = Mutex::new(VecDeque::new());

/// A place rests until so many others wait with it: a rejection that outlives its breaker can still be told by name.
const RESTING: usize = 1024;

/// Finds a place for a breaker. Breakers made and dropped one after another take up memory for the most that lived at
/// one time, and 1,024 more.
pub(super) fn occupy(contents: Contents) -> &'static Core {
    let rested = {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the model checker places may not outlive a run.
        if free.len() > RESTING && !cfg!(fusebox_loom) { free.pop_front() } else { None }
    };
    let core = rested.unwrap_or_else(|| Box::leak(Box::new(Core::vacant())));
    core.move_in(contents);
    core
}

/// Empties a place.
#[cold]
#[inline(never)]
pub(super) fn vacate(core: &'static Core) {
    core.move_out();
    if !cfg!(fusebox_loom) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push_back(core);
    }
}
