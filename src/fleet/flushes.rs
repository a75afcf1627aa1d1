//! Callers that wait for a flush, by number.

use std::collections::HashMap;

/// Which flushes are over.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// For one breaker each.
    over: Vec<u64>,
    /// For how many breakers those wait that are not about one.
    left: HashMap<u64, usize>,
}

impl Flushes {
    /// A caller waits for so many breakers.
    pub(super) fn wait_for(&mut self, waiter: u64, breakers: usize) {
        if breakers == 0 {
            self.over.push(waiter);
        } else {
            self.left.insert(waiter, breakers);
        }
    }

    /// One breaker has nothing more to say to these.
    pub(super) fn end(&mut self, waiters: &mut Vec<u64>) {
        self.over.append(waiters);
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
        flushes.end(&mut vec![7, 1]);
        assert_eq!(flushes.take(), [2, 7]);
        flushes.end(&mut vec![1]);
        assert_eq!((flushes.take(), flushes.take()), (vec![1], vec![]));
    }
}
