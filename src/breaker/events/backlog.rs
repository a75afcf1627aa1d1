//! News that wait for a listener or a reader: bounded, and what matters most stays longest.

use std::collections::VecDeque;
#[cfg(feature = "counts")]
use std::sync::atomic::{AtomicU64, Ordering};

/// How many news were lost in the whole process.
#[cfg(feature = "counts")]
static LOST: AtomicU64 = AtomicU64::new(0);

#[cfg(feature = "counts")]
pub(crate) fn lost_news() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Something that is told.
pub(super) trait News {
    /// Tells whether a state has changed: of those, the newest says how things stand.
    fn is_change(&self) -> bool;
}

/// A queue that is full loses the oldest of what is no change of state, and changes of state only where there is
/// nothing else.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    items: VecDeque<T>,
    most: usize,
    /// How many were lost since that was last asked.
    lost: u64,
}

impl<T: News> Backlog<T> {
    pub(super) const fn new(most: usize) -> Self {
        Self { items: VecDeque::new(), most, lost: 0 }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.items.len() >= self.most {
            self.lost += 1;
            #[cfg(feature = "counts")]
            LOST.fetch_add(1, Ordering::Relaxed);
            match self.items.iter().position(|item| !item.is_change()) {
                Some(oldest) => {
                    self.items.remove(oldest);
                }
                // All that wait matter more.
                None if !item.is_change() => return,
                None => {
                    self.items.pop_front();
                }
            }
        }
        self.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    pub(super) const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl News for (bool, u32) {
        fn is_change(&self) -> bool {
            self.0
        }
    }

    fn left(backlog: &mut Backlog<(bool, u32)>) -> Vec<u32> {
        std::iter::from_fn(|| backlog.pop()).map(|(_, n)| n).collect()
    }

    #[test]
    fn changes_outlive_the_rest_and_the_newest_stays() {
        let mut backlog = Backlog::new(3);
        for item in [(false, 1), (true, 2), (false, 3), (false, 4), (true, 5)] {
            backlog.push(item);
        }
        assert_eq!((left(&mut backlog), backlog.take_lost()), (vec![2, 4, 5], 2));
        for n in 0..10 {
            backlog.push((true, n));
        }
        backlog.push((false, 10));
        assert_eq!((left(&mut backlog), backlog.take_lost()), (vec![7, 8, 9], 8));
        assert_eq!(backlog.take_lost(), 0);
    }
}
