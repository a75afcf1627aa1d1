//! Cells in memory: used again, never freed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::sync::unpoisoned;

/// The cells of a process.
pub(super) struct Arena<T: 'static> {
    free: Mutex<VecDeque<&'static T>>,
    blocks: Mutex<Blocks<T>>,
}

/// Cells lie in blocks, so that all of them can be found and none has to know the next.
struct Blocks<T: 'static> {
    all: Vec<&'static [T]>,
    /// How many cells of the newest block have been given out.
    used: usize,
}

/// A cell rests until so many others wait with it: a rejection that outlives its breaker can still be told by name.
const MIN_RESTING: usize = 1024;
/// The first block is one cell, each further one twice the one before, up to so many.
const MAX_BLOCK: usize = 64;

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { free: Mutex::new(VecDeque::new()), blocks: Mutex::new(Blocks { all: Vec::new(), used: 0 }) }
    }

    /// Finds a cell. Breakers made and dropped one after another take up memory for the most that lived at one time, and
    /// 1,024 more.
    pub(super) fn alloc(&self, vacant: impl Fn() -> T) -> &'static T {
        // Under the model checker cells may not outlive a run.
        if cfg!(fusebox_loom) {
            return Box::leak(Box::new(vacant()));
        }
        let rested = {
            let mut free = unpoisoned(self.free.lock());
            if free.len() > MIN_RESTING { free.pop_front() } else { None }
        };
        rested.unwrap_or_else(|| self.blocks().next(vacant))
    }

    pub(super) fn release(&self, cell: &'static T) {
        if !cfg!(fusebox_loom) {
            unpoisoned(self.free.lock()).push_back(cell);
        }
    }

    /// All cells that were ever given out, and a few that were not, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static T> + use<T> {
        let blocks = self.blocks().all.clone();
        blocks.into_iter().flatten()
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks<T>> {
        unpoisoned(self.blocks.lock())
    }
}

impl<T> Blocks<T> {
    fn next(&mut self, vacant: impl Fn() -> T) -> &'static T {
        if let Some(cell) = self.all.last().and_then(|newest| newest.get(self.used)) {
            self.used += 1;
            return cell;
        }
        let size = self.all.last().map_or(1, |newest| (2 * newest.len()).min(MAX_BLOCK));
        let block: &'static [T] = Box::leak((0..size).map(|_| vacant()).collect());
        self.all.push(block);
        self.used = 1;
        &block[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_found_once_and_those_that_rested_come_again() {
        let arena = Arena::new();
        let cells: Vec<_> = (0..500).map(|_| arena.alloc(|| 0_u8)).collect();
        let places = |cells: &mut dyn Iterator<Item = &'static u8>| {
            let mut places: Vec<_> = cells.map(|cell| std::ptr::from_ref(cell).addr()).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        let (all, given) = (places(&mut arena.all()), places(&mut cells.iter().copied()));
        assert_eq!(given.len(), 500, "none was given out twice");
        assert!(given.iter().all(|place| all.contains(place)) && all.len() < 500 + MAX_BLOCK);
        let more: Vec<_> = (0..MIN_RESTING).map(|_| arena.alloc(|| 0)).collect();
        let known = arena.all().count();
        cells.iter().chain(&more).for_each(|cell| arena.release(cell));
        (0..500).for_each(|_| assert_eq!(*arena.alloc(|| 0), 0));
        assert_eq!(arena.all().count(), known, "no memory was needed");
    }
}
