//! Blocks of counters, one for each thread that counts.

use std::sync::OnceLock;

use super::segments::Segments;
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed, lock};

/// How many rarer things a lane counts.
pub(crate) const RARE: usize = 16;

/// So many threads have a block of their own at one time; further ones share one.
const MAX_BLOCKS: usize = 64;

/// So many counters, at least, has a block that counts.
const MIN_LANES: usize = 64;

/// Counters on each side of a block's that nothing uses, so that the stores of no other thread share a line of the cache with
/// them, nor the pair of lines that processors fetch together.
const PADDING: usize = 16;

/// Counters by lane. Where a lane comes up that is beyond them, a longer table takes their place.
pub(crate) type Counters = &'static [AtomicU64];

/// The rarer counters of a lane, made for the first of them that counts.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Row([AtomicU64; RARE]);

/// Rows by lane.
pub(crate) type Rows = &'static [OnceLock<&'static Row>];

/// What a thread counts in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tables {
    successes: Counters,
    rows: Rows,
}

/// Counters by lane. The count of a lane is the sum over all blocks: it only ever grows, since nothing but its owner writes a
/// block, and a block whose thread has ended keeps its counts and goes on to another thread.
#[derive(Debug)]
pub(crate) struct Ledger {
    blocks: Mutex<Blocks>,
    shared: Shared,
}

#[derive(Debug, Default)]
struct Blocks {
    tables: Vec<Tables>,
    free: Vec<Block>,
}

/// What threads count in that have no block, by counted additions.
#[derive(Debug)]
struct Shared {
    successes: Segments<AtomicU64>,
    rows: Segments<Row>,
}

/// The right to write a block: one thread has it at a time.
#[derive(Debug)]
pub(crate) struct Block(usize);

/// Adds one, where there is such a counter. Only for the thread that has the block: without others, two halves are a whole.
#[inline]
pub(crate) fn add_success(counters: Counters, lane: usize) -> bool {
    let Some(counter) = counters.get(lane) else {
        return false;
    };
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    true
}

/// The same for one of the rarer things.
#[inline]
pub(crate) fn add_rare(rows: Rows, lane: usize, kind: usize) -> bool {
    let Some(Row(counters)) = rows.get(lane).and_then(OnceLock::get) else {
        return false;
    };
    let counter = &counters[kind % RARE];
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    true
}

impl Row {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn add_to(&self, sums: &mut [u64; RARE]) {
        sums.iter_mut().zip(&self.0).for_each(|(sum, counter)| *sum = sum.wrapping_add(counter.load(Relaxed)));
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Mutex::new(Blocks::default()),
            shared: Shared { successes: Segments::new(), rows: Segments::new() },
        }
    }

    /// Takes a block for the thread that asks; `None` where there are enough, and it shares.
    pub(crate) fn take(&self) -> Option<Block> {
        let mut blocks = lock(&self.blocks);
        if let Some(block) = blocks.free.pop() {
            return Some(block);
        }
        let next = blocks.tables.len();
        if next == MAX_BLOCKS {
            return None;
        }
        blocks.tables.push(Tables::default());
        Some(Block(next))
    }

    /// Hands a block on to the next thread that takes one.
    pub(crate) fn give_back(&self, block: Block) {
        lock(&self.blocks).free.push(block);
    }

    /// The counters of a block, the lane's among them. Only for the thread that has it.
    pub(crate) fn successes(&self, block: &Block, lane: usize) -> Counters {
        let mut blocks = lock(&self.blocks);
        let Tables { successes, .. } = &mut blocks.tables[block.0];
        if lane >= successes.len() {
            *successes = longer(successes, lane);
        }
        successes
    }

    /// The rows of a block, the lane's among them. Only for the thread that has it.
    pub(crate) fn rows(&self, block: &Block, lane: usize) -> Rows {
        let mut blocks = lock(&self.blocks);
        let Tables { rows, .. } = &mut blocks.tables[block.0];
        if lane >= rows.len() {
            let known = rows.iter().cloned();
            let longer = known.chain(std::iter::repeat_with(OnceLock::new)).take(length_for(lane));
            *rows = Vec::leak(longer.collect());
        }
        rows[lane].get_or_init(|| Box::leak(Box::new(Row::new())));
        rows
    }

    /// Adds one for a thread without a block.
    pub(crate) fn add_shared_success(&self, lane: usize) {
        self.shared.successes.with(lane, || AtomicU64::new(0), |counter| counter.fetch_add(1, Relaxed));
    }

    /// The same for one of the rarer things.
    pub(crate) fn add_shared_rare(&self, lane: usize, kind: usize) {
        self.shared.rows.with(lane, Row::new, |Row(counters)| counters[kind % RARE].fetch_add(1, Relaxed));
    }

    /// All tables as they are now.
    pub(crate) fn tables(&self) -> Vec<Tables> {
        lock(&self.blocks).tables.clone()
    }

    /// What was counted in a lane, by these tables and without a block.
    pub(crate) fn sum_of_successes<'a>(&self, tables: impl IntoIterator<Item = &'a Tables>, lane: usize) -> u64 {
        let counters = tables.into_iter().filter_map(|tables| tables.successes.get(lane));
        counters.chain(self.shared.successes.get(lane)).map(|counter| counter.load(Relaxed)).sum()
    }

    /// The same of each of the rarer things.
    pub(crate) fn sums_of_rarities<'a>(
        &self,
        tables: impl IntoIterator<Item = &'a Tables>,
        lane: usize,
    ) -> [u64; RARE] {
        let mut sums = [0; RARE];
        let rows = tables.into_iter().filter_map(|tables| tables.rows.get(lane)?.get().copied());
        rows.chain(self.shared.rows.get(lane)).for_each(|row| row.add_to(&mut sums));
        sums
    }
}

fn length_for(lane: usize) -> usize {
    (lane + 1).next_power_of_two().max(MIN_LANES)
}

/// A longer table with the same counts, for the one thread that counts in it. Others may read by the old one for as long as
/// they like: what is left of tables is less than the newest.
fn longer(counters: Counters, lane: usize) -> Counters {
    let (length, none) = (length_for(lane), || AtomicU64::new(0));
    let padding = || std::iter::repeat_with(none).take(PADDING);
    let known = counters.iter().map(|counter| AtomicU64::new(counter.load(Relaxed)));
    let all = padding().chain(known).chain(std::iter::repeat_with(none)).take(PADDING + length).chain(padding());
    &Vec::leak(all.collect())[PADDING..PADDING + length]
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;

    fn add(ledger: &Ledger, block: &Block, lane: usize) {
        assert!(add_success(ledger.successes(block, lane), lane));
        assert!(add_rare(ledger.rows(block, lane), lane, 3));
    }

    /// Successes, and of the rarer things all there are.
    fn sums(ledger: &Ledger, lane: usize) -> (u64, u64) {
        let tables = ledger.tables();
        (ledger.sum_of_successes(&tables, lane), ledger.sums_of_rarities(&tables, lane).iter().sum())
    }

    #[test]
    fn a_block_that_is_handed_on_keeps_its_counts() {
        let ledger = Ledger::new();
        let block = ledger.take().expect("the first");
        (0..3).for_each(|_| add(&ledger, &block, 7));
        ledger.give_back(block);
        let next = ledger.take().expect("the same one");
        add(&ledger, &next, 7);
        assert_eq!((sums(&ledger, 7), sums(&ledger, 8)), ((4, 4), (0, 0)));
        assert_eq!(ledger.tables().len(), 1);
    }

    #[test]
    fn threads_beyond_the_most_share_a_block() {
        let ledger = Ledger::new();
        let blocks: Vec<_> = (0..MAX_BLOCKS).map(|_| ledger.take().expect("there are so many")).collect();
        assert!(ledger.take().is_none());
        for lane in [0, 1, 63, 64, 191, 192, 1_000_000] {
            blocks.iter().for_each(|block| add(&ledger, block, lane));
            ledger.add_shared_success(lane);
            ledger.add_shared_rare(lane, 15);
            assert_eq!(sums(&ledger, lane), (MAX_BLOCKS as u64 + 1, MAX_BLOCKS as u64 + 1));
        }
    }

    #[test]
    fn a_table_that_grows_keeps_its_counts() {
        let ledger = Ledger::new();
        let block = ledger.take().expect("the first");
        let early = ledger.tables();
        for lane in [0, 63, 64, 100_000] {
            (0..3).for_each(|_| add(&ledger, &block, lane));
        }
        for lane in [0, 63, 64, 100_000] {
            assert_eq!(sums(&ledger, lane), (3, 3));
        }
        assert_eq!(sums(&ledger, 99_999), (0, 0));
        assert_eq!(ledger.sum_of_successes(&early, 0), 0, "what was seen stays as it was");
    }
}
