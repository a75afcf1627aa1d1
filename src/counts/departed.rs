//! What was counted by what is gone, by a name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::sync::unpoisoned;

/// Counts that come to one.
pub(crate) trait Sum: Clone + Default + PartialEq {
    fn add(&mut self, other: &Self);
}

/// What was counted by what is gone, by a name: a counter of that name would fall without it. Those of the names that
/// went first are forgotten where there are too many, or names made from requests could fill the memory.
#[derive(Debug)]
pub(crate) struct Departed<C> {
    counts: BTreeMap<Arc<str>, C>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
}

const MAX_NAMES: usize = 1_024;

impl<C> Departed<C> {
    pub(crate) const fn new() -> Self {
        Self { counts: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<C: Sum> Departed<C> {
    pub(crate) fn add(&mut self, name: &Arc<str>, counts: &C) {
        if *counts == C::default() {
            return;
        }
        if let Some(known) = self.counts.get_mut(name) {
            known.add(counts);
            return;
        }
        if self.order.len() == MAX_NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        self.order.push_back(Arc::clone(name));
        self.counts.insert(Arc::clone(name), counts.clone());
    }

    /// What was counted under that name; nothing, where that is not known.
    pub(crate) fn of(&self, name: &str) -> C {
        self.counts.get(name).cloned().unwrap_or_default()
    }
}

/// Locks what knows the living and the departed, together with all the living.
///
/// One that was let go of by its last owner, and has not got the lock yet to be among the departed, is in neither: it is
/// waited for, which takes no longer than others hold the lock. So each takes none but itself from the living. What is
/// returned is to be dropped when the lock is free again, since its last owner takes it.
pub(crate) fn lock_with_all<A, T>(
    all: &Mutex<A>,
    living: impl Fn(&A) -> &Vec<Weak<T>>,
) -> (MutexGuard<'_, A>, Vec<Arc<T>>) {
    loop {
        let guard = unpoisoned(all.lock());
        let known = living(&guard);
        let found: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        if found.len() == known.len() {
            return (guard, found);
        }
        drop(guard);
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sum for u32 {
        fn add(&mut self, other: &Self) {
            *self += other;
        }
    }

    #[test]
    fn the_oldest_of_too_many_names_is_forgotten() {
        let mut departed = Departed::new();
        let name = |n: usize| Arc::<str>::from(n.to_string());
        (0..MAX_NAMES).for_each(|n| departed.add(&name(n), &1));
        departed.add(&name(0), &1);
        assert_eq!(departed.of("0"), 2);
        departed.add(&name(MAX_NAMES), &1);
        assert_eq!(departed.of("0"), 0);
        assert_eq!((departed.counts.len(), departed.order.len()), (MAX_NAMES, MAX_NAMES));
        departed.add(&name(MAX_NAMES + 1), &0);
        assert_eq!(departed.of("1"), 1, "one that has counted nothing takes no place");
    }
}
