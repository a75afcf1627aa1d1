//! Callers that wait for a flush, by number.

use std::collections::HashMap;

use super::member::MemberId;

/// Which flushes are over.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// Who waits for which breaker.
    waiting: HashMap<MemberId, Vec<u64>>,
    /// For one breaker each.
    over: Vec<u64>,
    /// For how many breakers those wait that are not about one.
    left: HashMap<u64, usize>,
}

impl Flushes {
    /// A caller waits for so many breakers.
    pub(super) fn wait_for(&mut self, waiter: u64, breakers: usize) {
        if breakers == 0 {
            self.end_at_once(waiter);
        } else {
            self.left.insert(waiter, breakers);
        }
    }

    /// A caller waits for a breaker.
    pub(super) fn begin(&mut self, id: MemberId, waiter: u64) {
        self.waiting.entry(id).or_default().push(waiter);
    }

    /// Tells whether a caller waits for a breaker.
    pub(super) fn awaits(&self, id: MemberId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// For which breakers callers wait, in their order.
    pub(super) fn awaited(&self) -> Vec<MemberId> {
        let mut ids: Vec<_> = self.waiting.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// A breaker has nothing more to say to those that wait for it.
    pub(super) fn end(&mut self, id: MemberId) {
        self.over.extend(self.waiting.remove(&id).into_iter().flatten());
    }

    /// A caller need not wait.
    pub(super) fn end_at_once(&mut self, waiter: u64) {
        self.over.push(waiter);
    }

    /// Takes those that are over with the last of their breakers.
    pub(super) fn take(&mut self) -> Vec<u64> {
        let mut over = std::mem::take(&mut self.over);
        over.retain(|waiter| {
            let Some(left) = self.left.get_mut(waiter) else {
                return true;
            };
            *left -= 1;
            let is_last = *left == 0;
            if is_last {
                self.left.remove(waiter);
            }
            is_last
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_several_is_over_with_the_last() {
        let mut flushes = Flushes::default();
        flushes.wait_for(1, 2);
        flushes.wait_for(2, 0);
        let (one, other) = (MemberId(3), MemberId(4));
        flushes.begin(one, 7);
        flushes.begin(one, 1);
        flushes.begin(other, 1);
        assert!(flushes.awaits(one) && flushes.awaited() == [one, other]);
        flushes.end(one);
        assert_eq!(flushes.take(), [2, 7]);
        assert!(!flushes.awaits(one));
        flushes.end(one);
        flushes.end(other);
        assert_eq!((flushes.take(), flushes.take()), (vec![1], vec![]));
    }
}
