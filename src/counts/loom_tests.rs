//! What must hold under every interleaving of the threads that count and those that read.

use loom::sync::Arc;
use loom::thread;

use super::ledger::{Block, Ledger, add_rare, add_success};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(f);
}

fn add(ledger: &Ledger, block: &Block, lane: usize) {
    assert!(add_success(ledger.successes(block, lane), lane));
}

fn sum(ledger: &Ledger, lane: usize) -> u64 {
    ledger.sum_of_successes(&ledger.tables(), lane)
}

#[test]
fn loom_a_reader_sees_counts_grow_and_in_the_end_all_of_them() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let counting = |ledger: Arc<Ledger>| {
            move || {
                let block = ledger.take().expect("two are not too many");
                (0..2).for_each(|_| add(&ledger, &block, 1));
            }
        };
        let one = thread::spawn(counting(ledger.clone()));
        let other = thread::spawn(counting(ledger.clone()));
        let (first, second) = (sum(&ledger, 1), sum(&ledger, 1));
        assert!(first <= second && second <= 4, "{first}, then {second}");
        one.join().expect("no panic");
        other.join().expect("no panic");
        assert_eq!(sum(&ledger, 1), 4);
    });
}

#[test]
fn loom_a_block_that_goes_on_to_another_thread_loses_nothing() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let briefly = |ledger: Arc<Ledger>| {
            move || {
                let block = ledger.take().expect("two are not too many");
                add(&ledger, &block, 0);
                ledger.give_back(block);
            }
        };
        let one = thread::spawn(briefly(ledger.clone()));
        let other = thread::spawn(briefly(ledger.clone()));
        let seen = sum(&ledger, 0);
        one.join().expect("no panic");
        other.join().expect("no panic");
        assert!(seen <= 2);
        assert_eq!(sum(&ledger, 0), 2);
    });
}

/// That the segment is made once and seen whole is the standard library's promise, which the model checker knows nothing of: it
/// is made beforehand.
#[test]
fn loom_threads_that_share_a_block_lose_nothing() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        ledger.add_shared_success(3);
        let sharing = |ledger: Arc<Ledger>| move || ledger.add_shared_success(3);
        let one = thread::spawn(sharing(ledger.clone()));
        let other = thread::spawn(sharing(ledger.clone()));
        let (first, second) = (sum(&ledger, 3), sum(&ledger, 3));
        assert!(first <= second, "{first}, then {second}");
        one.join().expect("no panic");
        other.join().expect("no panic");
        assert_eq!(sum(&ledger, 3), 3);
    });
}

/// A lane goes on to another breaker: what is read as the end of the one is the beginning of the other, so that a count is
/// in one of the two whatever comes between.
#[test]
fn loom_counts_around_a_change_of_tenant_belong_to_one_of_the_two() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let block = ledger.take().expect("the first");
        add(&ledger, &block, 0);
        let counting = ledger.clone();
        let late = thread::spawn(move || {
            add(&counting, &block, 0);
            add(&counting, &block, 0);
        });
        let base = sum(&ledger, 0);
        late.join().expect("no panic");
        let (before, after) = (base, sum(&ledger, 0) - base);
        assert!(before >= 1);
        assert_eq!(before + after, 3);
    });
}

/// The rarer things are counted in rows, which come one by one.
#[test]
fn loom_rows_that_come_while_a_reader_looks_are_seen_in_the_end() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let counting = ledger.clone();
        let one = thread::spawn(move || {
            let block = counting.take().expect("the first");
            for lane in [0, 1, 0] {
                assert!(add_rare(counting.rows(&block, lane), lane, 5));
            }
        });
        let rare = || ledger.sums_of_rarities(&ledger.tables(), 0)[5];
        let (first, second) = (rare(), rare());
        assert!(first <= second && second <= 2, "{first}, then {second}");
        one.join().expect("no panic");
        assert_eq!(rare(), 2);
    });
}
