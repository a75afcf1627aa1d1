//! The budget under every interleaving of a few threads.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::budget::Budget;
use crate::clock::ManualClock;

/// Runs `f` on two threads and here, and counts how often it says yes.
fn yeses(budget: &Arc<Budget>, f: fn(&Budget) -> bool) -> u32 {
    let threads = [(); 2].map(|()| {
        let budget = budget.clone();
        thread::spawn(move || u32::from(f(&budget)))
    });
    let here = u32::from(f(budget));
    here + threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u32>()
}

#[test]
fn loom_concurrent_withdrawals_never_overdraw() {
    loom::model(|| {
        let budget = Arc::new(Budget::ratio(1.0).clock(ManualClock::new()));
        budget.request();
        budget.request();
        assert_eq!(yeses(&budget, Budget::withdraw), 2);
        assert_eq!(budget.available(), 0);
    });
}

#[test]
fn loom_no_request_is_lost_while_a_part_of_the_window_begins() {
    loom::model(|| {
        let clock = ManualClock::new();
        let budget = Arc::new(Budget::ratio(1.0).clock(clock.clone()));
        budget.request();
        clock.advance(Duration::from_secs(10));
        yeses(&budget, |budget| {
            budget.request();
            true
        });
        assert_eq!(budget.available(), 3, "the first one is too old");
    });
}

#[test]
fn loom_tokens_are_taken_and_given_back_exactly() {
    loom::model(|| {
        let budget = Arc::new(Budget::tokens(10, 0.5));
        yeses(&budget, |budget| {
            budget.failure();
            true
        });
        assert_eq!(budget.available(), 2, "7 of 10, and only what is above 5 can be spent");
        yeses(&budget, |budget| {
            budget.success();
            true
        });
        assert_eq!(budget.available(), 4, "8.5 of 10");
    });
}
