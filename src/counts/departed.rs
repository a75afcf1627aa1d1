//! What was counted by what is gone, by a name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

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
