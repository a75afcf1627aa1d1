//! A list that grows without moving what it holds, for any number of threads.

use std::sync::OnceLock;

/// Items by index, each segment twice as long as the one before.
#[derive(Debug)]
pub(super) struct Segments<T>([OnceLock<Box<[T]>>; SEGMENTS]);

/// Of the first segment.
const FIRST: usize = 64;
/// Enough for more lanes than there are numbers for.
const SEGMENTS: usize = 27;

/// Which segment an item is in, and where in it.
fn place(index: usize) -> (usize, usize) {
    let segment = (index / FIRST + 1).ilog2() as usize;
    (segment, index - FIRST * ((1 << segment) - 1))
}

impl<T> Segments<T> {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (segment, at) = place(index);
        self.0.get(segment)?.get()?.get(at)
    }

    /// Does something with an item, made with its neighbours if need be.
    pub(super) fn with<R>(&self, index: usize, new: impl Fn() -> T, f: impl FnOnce(&T) -> R) -> Option<R> {
        let (segment, at) = place(index);
        let items = self.0.get(segment)?.get_or_init(|| std::iter::repeat_with(new).take(FIRST << segment).collect());
        items.get(at).map(f)
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(place(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(place(u32::MAX as usize).0 < SEGMENTS);
    }
}
