//! Plain configurations, kept for good, so that a call need neither copy nor count what it has of one.

use std::sync::Mutex;

use super::policy::Plain;
use crate::sync::unpoisoned;

/// Those of the process.
pub(super) static KEPT: Kept = Kept::new();

/// A program has a few configurations, which it makes when it starts. One that makes another for each request must not fill
/// the memory with them.
const MOST: usize = 256;

pub(super) struct Kept(Mutex<Vec<&'static Plain>>);

impl Kept {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Finds the place of such a configuration; `None`: it has none, and there is no more room.
    pub(super) fn find(&self, plain: Plain) -> Option<&'static Plain> {
        let mut kept = unpoisoned(self.0.lock());
        if let Some(same) = kept.iter().find(|kept| ***kept == plain) {
            return Some(same);
        }
        if kept.len() >= MOST {
            return None;
        }
        let plain = &*Box::leak(Box::new(plain));
        kept.push(plain);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(max_retries: u32) -> Plain {
        Plain { max_retries, ..Plain::DEFAULT }
    }

    #[test]
    fn equal_ones_have_one_place_and_different_ones_do_not() {
        let kept = Kept::new();
        let [a, b, again] = [1, 2, 1].map(|n| kept.find(retries(n)).expect("room"));
        assert!(std::ptr::eq(a, again) && !std::ptr::eq(a, b));
        assert_eq!([*a, *b], [retries(1), retries(2)]);
    }

    #[test]
    fn ever_new_ones_do_not_fill_the_memory() {
        let kept = Kept::new();
        let found = (0..10_000).filter(|n| kept.find(retries(*n)).is_some()).count();
        assert_eq!(found, MOST);
        assert_eq!(kept.find(retries(0)), Some(&retries(0)), "those that are kept stay");
        assert_eq!(kept.find(retries(10_000)), None);
    }
}
