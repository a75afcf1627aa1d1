//! Cells in memory: used again, never freed.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::sync::unpoisoned;

/// The cells that are free.
pub(super) struct Arena<T: 'static> {
    free: Mutex<VecDeque<&'static T>>,
}

/// A cell rests until so many others wait with it: a rejection that outlives its breaker can still be told by name.
const MIN_RESTING: usize = 1024;

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { free: Mutex::new(VecDeque::new()) }
    }

    /// Finds a cell. Breakers made and dropped one after another take up memory for the most that lived at one time, and
    /// 1,024 more.
    pub(super) fn alloc(&self, vacant: impl FnOnce() -> T) -> &'static T {
        let rested = {
            let mut free = unpoisoned(self.free.lock());
            // Under the model checker cells may not outlive a run.
            if free.len() > MIN_RESTING && !cfg!(fusebox_loom) { free.pop_front() } else { None }
        };
        rested.unwrap_or_else(|| Box::leak(Box::new(vacant())))
    }

    pub(super) fn release(&self, cell: &'static T) {
        if !cfg!(fusebox_loom) {
            unpoisoned(self.free.lock()).push_back(cell);
        }
    }
}
