//! What breakers have counted that are gone, by a name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::counts::Counts;

/// What breakers have counted that are gone, by a name: a counter of that name would fall without it. Those of the names that
/// went first are forgotten where there are too many, or names made from requests could fill the memory.
#[derive(Debug)]
pub(super) struct Departed {
    counts: BTreeMap<Arc<str>, Counts>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
}

const MAX_NAMES: usize = 1_024;

impl Departed {
    pub(super) const fn new() -> Self {
        Self { counts: BTreeMap::new(), order: VecDeque::new() }
    }

    pub(super) fn add(&mut self, name: &Arc<str>, counts: &Counts) {
        if *counts == Counts::default() {
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

    pub(super) fn get(&self, name: &str) -> Option<&Counts> {
        self.counts.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Counts {
        Counts { successes: 1, ..Counts::default() }
    }

    #[test]
    fn the_oldest_of_too_many_names_is_forgotten() {
        let mut departed = Departed::new();
        let name = |n: usize| Arc::<str>::from(n.to_string());
        (0..MAX_NAMES).for_each(|n| departed.add(&name(n), &one()));
        departed.add(&name(0), &one());
        assert_eq!(departed.get("0").map(|counts| counts.successes), Some(2));
        departed.add(&name(MAX_NAMES), &one());
        assert_eq!(departed.get("0"), None);
        assert_eq!((departed.counts.len(), departed.order.len()), (MAX_NAMES, MAX_NAMES));
        departed.add(&name(MAX_NAMES + 1), &Counts::default());
        assert!(departed.get("1").is_some(), "one that has counted nothing takes no place");
    }
}
