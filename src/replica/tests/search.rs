//! Every order in which two instances and a store can come to what they come to: calls, looks of the engines, requests and
//! answers that arrive, are lost or come twice, a crash, an outage, an operator.
#![expect(clippy::panic, reason = "a broken promise must be told")]
#![expect(clippy::print_stdout, reason = "how much was searched is told")]

use std::collections::{HashSet, VecDeque};

use super::small_fleet::{Act, Bounds, Fleet, Rule, Troubles};

/// A replica cannot be copied: a state is come to anew, by what led there.
fn play(bounds: Bounds, path: &[Act]) -> (Fleet, bool) {
    let mut fleet = Fleet::new(bounds);
    let counts = path.iter().fold(true, |_, act| fleet.act(*act));
    (fleet, counts)
}

/// Visits states, those first that few acts lead to, until there are no more, or `most`. Ends well from some of them.
/// Returns how many there are, and whether these are all.
fn search(bounds: Bounds, most: usize) -> (usize, bool) {
    let mut seen = HashSet::new();
    let mut frontier = VecDeque::from([Vec::new()]);
    while let Some(path) = frontier.pop_front() {
        if seen.len() >= most {
            return (seen.len(), false);
        }
        let mut next = Vec::new();
        let visit = || {
            let (mut fleet, counts) = play(bounds, &path);
            let state = fleet.hash();
            if counts && seen.insert(state) {
                next = fleet.acts();
                if state.is_multiple_of(8) {
                    fleet.end_well();
                }
            }
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(visit)).is_err() {
            panic!("{bounds:?}: {path:?}");
        }
        frontier.extend(next.into_iter().map(|act| [&path[..], &[act]].concat()));
    }
    (seen.len(), true)
}

fn each_trouble() -> [Troubles; 6] {
    let none = Troubles::default();
    [
        none,
        Troubles { losses: 1, ..none },
        Troubles { doubles: 1, ..none },
        Troubles { crashes: 1, ..none },
        Troubles { outages: 1, ..none },
        Troubles { holds: 1, ..none },
    ]
}

#[test]
fn in_every_order_of_two_failures_the_fleet_comes_to_what_it_must() {
    for troubles in each_trouble() {
        let (states, is_all) = search(Bounds { calls: 1, rule: Rule::Failures(2), troubles, forgetful: false }, 20_000);
        println!("{troubles:?}: {states} states, all: {is_all}");
        assert!(is_all, "more than {states} states");
    }
}

/// How many states a longer search visits: `FUSEBOX_SEARCH_STATES`.
fn most() -> Option<usize> {
    std::env::var("FUSEBOX_SEARCH_STATES").ok().and_then(|most| most.parse().ok())
}

/// Visits the first states, or all where that is asked for.
fn search_six_calls(rule: Rule, troubles: Troubles, all: bool) {
    let most = most().unwrap_or(if all { 50_000 } else { 3_000 });
    let (states, is_all) = search(Bounds { calls: 3, rule, troubles, forgetful: false }, most);
    println!("{rule:?} {troubles:?}: {states} states, all: {is_all}");
    assert!(is_all || !all && states == most, "{states} states");
}

#[test]
fn of_six_calls_and_an_outage_under_an_override_as_well() {
    let both = Troubles { outages: 1, holds: 1, ..Troubles::default() };
    for troubles in each_trouble().into_iter().chain([both]) {
        search_six_calls(Rule::Failures(3), troubles, troubles == Troubles::default());
    }
}

/// A verdict takes all that an instance has seen: it is asked.
#[test]
fn of_six_calls_that_are_judged_by_what_all_have_answered() {
    for rule in [Rule::Rate, Rule::InARow] {
        for troubles in each_trouble() {
            search_six_calls(rule, troubles, false);
        }
    }
}

#[test]
fn a_store_that_forgets_which_batches_it_took_is_found_out() {
    let troubles = Troubles { losses: 1, ..Troubles::default() };
    let bounds = Bounds { calls: 2, rule: Rule::Failures(9), troubles, forgetful: true };
    assert!(std::panic::catch_unwind(|| search(bounds, 20_000)).is_err(), "a batch that was told twice counts twice");
}
