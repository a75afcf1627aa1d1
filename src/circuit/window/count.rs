//! The last n calls.

/// The last n calls, exactly: one bit each, set for those that are counted against the dependency.
#[derive(Clone, Debug)]
pub(crate) struct CountWindow {
    bits: Box<[u64]>,
    size: u32,
    len: u32,
    /// Where the next call goes.
    head: u32,
    bad: u32,
}

impl CountWindow {
    /// The longest window there can be.
    pub(crate) const MAX_SIZE: u32 = 1 << 20;

    pub(crate) fn new(size: u32) -> Self {
        // A size that `check` will refuse must not allocate first.
        let kept = size.min(Self::MAX_SIZE);
        Self { bits: vec![0; kept.div_ceil(64) as usize].into(), size, len: 0, head: 0, bad: 0 }
    }

    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn bad(&self) -> u32 {
        self.bad
    }

    /// Tells whether one more good call would change nothing.
    pub(crate) const fn is_clean(&self) -> bool {
        self.len == self.size && self.bad == 0
    }

    pub(crate) fn clear(&mut self) {
        self.bits.fill(0);
        self.len = 0;
        self.head = 0;
        self.bad = 0;
    }

    pub(crate) fn push(&mut self, bad: bool) {
        if self.size == 0 {
            return;
        }
        let (word, bit) = ((self.head / 64) as usize, 1_u64 << (self.head % 64));
        let was = self.bits[word] & bit != 0;
        if was != bad {
            self.bits[word] ^= bit;
            if bad {
                self.bad += 1;
            } else {
                self.bad -= 1;
            }
        }
        let size = self.size.min(Self::MAX_SIZE);
        self.head = if self.head + 1 == size { 0 } else { self.head + 1 };
        self.len = (self.len + 1).min(size);
    }

    /// Adds `count` good calls.
    pub(crate) fn push_good(&mut self, count: u64) {
        let size = self.size.min(Self::MAX_SIZE);
        let mut left = match u32::try_from(count) {
            Ok(count) if count < size => count,
            _ => {
                self.clear();
                self.len = size;
                return;
            }
        };
        self.len = (self.len + left).min(size);
        // As many at a time as lie in one word.
        while left > 0 {
            let (word, bit) = ((self.head / 64) as usize, self.head % 64);
            let n = left.min(64 - bit).min(size - self.head);
            let mask = (u64::MAX >> (64 - n)) << bit;
            let out = self.bits[word] & mask;
            if out != 0 {
                self.bad -= out.count_ones();
                self.bits[word] ^= out;
            }
            self.head = if self.head + n == size { 0 } else { self.head + n };
            left -= n;
        }
    }

    /// The calls, oldest first, `true` for the bad ones.
    pub(crate) fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        let oldest = if self.len == self.size { self.head } else { 0 };
        (0..self.len).map(move |i| {
            let at = (u64::from(oldest) + u64::from(i)) % u64::from(self.size);
            self.bits[(at / 64) as usize] >> (at % 64) & 1 == 1
        })
    }
}

/// By the calls that they hold, wherever in the bits the oldest one is.
impl PartialEq for CountWindow {
    fn eq(&self, other: &Self) -> bool {
        let count = |window: &Self| (window.size, window.len, window.bad);
        count(self) == count(other) && self.iter().eq(other.iter())
    }
}

impl Eq for CountWindow {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_exactly_the_last_n(size in 1_u32..200, calls in prop::collection::vec(any::<bool>(), 0..600)) {
            let mut window = CountWindow::new(size);
            for (i, bad) in calls.iter().enumerate() {
                window.push(*bad);
                let last: Vec<bool> = calls[(i + 1).saturating_sub(size as usize)..=i].to_vec();
                prop_assert_eq!(window.iter().collect::<Vec<_>>(), last.clone());
                prop_assert_eq!(window.len() as usize, last.len());
                prop_assert_eq!(window.bad() as usize, last.iter().filter(|b| **b).count());
            }
        }

        #[test]
        fn many_good_calls_are_the_same_as_one_after_another(
            size in 1_u32..150, before in prop::collection::vec(any::<bool>(), 0..300), count in 0_u64..300,
            after in prop::collection::vec(any::<bool>(), 0..50),
        ) {
            let mut at_once = CountWindow::new(size);
            before.iter().for_each(|b| at_once.push(*b));
            let mut singly = at_once.clone();
            at_once.push_good(count);
            (0..count).for_each(|_| singly.push(false));
            for bad in after {
                at_once.push(bad);
                singly.push(bad);
            }
            prop_assert_eq!(at_once.iter().collect::<Vec<_>>(), singly.iter().collect::<Vec<_>>());
            prop_assert_eq!(at_once.bad(), singly.bad());
        }
    }

    /// A record of a round with five results for a window of four was not equal to itself, read from its own bytes.
    #[test]
    fn windows_of_the_same_calls_are_equal() {
        let window = |calls: &[bool]| {
            let mut window = CountWindow::new(4);
            calls.iter().for_each(|bad| window.push(*bad));
            window
        };
        assert_eq!(window(&[true, true, false, true, true]), window(&[true, false, true, true]));
        assert_ne!(window(&[true, true, false, true, true]), window(&[true, true, false, true]));
        assert_ne!(window(&[true]), window(&[true, false]));
    }

    #[test]
    fn clean_means_full_and_without_a_bad_call() {
        let mut window = CountWindow::new(2);
        window.push(false);
        assert!(!window.is_clean(), "not full");
        window.push(true);
        window.push(false);
        assert!(!window.is_clean(), "one is bad");
        window.push(false);
        assert!(window.is_clean());
    }
}
