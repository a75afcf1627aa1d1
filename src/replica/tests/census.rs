//! How soon an instance does its part while all are asked.

use super::*;
use crate::circuit::detector::failure_rate;
use crate::replica::Announcement;
use crate::replica::handle::Response;
use crate::replica::poll::Request;
use crate::replica::pooled::Suspicion;
use crate::store::{Committed, StoreTime, Stored, Version};

fn of_ten_seconds(writer: u64) -> Instance {
    Instance::new(writer, Box::new(failure_rate(0.5).within(ms(10_000)).min_calls(5)))
}

fn calls(failed: usize, fine: usize, ended: u64) -> Vec<Run> {
    let failed = std::iter::repeat_n(run(at(ended), true), failed);
    std::iter::repeat_n(run(at(ended), false), fine).chain(failed).collect()
}

fn suspicion(shared: &Shared, of: &Instance) -> Option<Suspicion> {
    shared.record.evidence_of(of.rule).and_then(|evidence| evidence.suspicion()).copied()
}

/// One tells what it had; by that, all are asked. Returns the suspicion.
fn is_told(shared: &mut Shared, of: &mut Instance, runs: &[Run]) -> Suspicion {
    let batch = of.batch(&shared.record, runs);
    shared.merge(of, &[batch], &[]);
    suspicion(shared, of).expect("a suspicion")
}

/// A notice says that all are asked.
fn hear(one: &mut Instance, shared: &Shared, suspicion: Suspicion) {
    let announcement = Announcement::suspected(one.rule, &suspicion);
    let heard = Response::Changed { version: Version(shared.version.0 + 1), announcement };
    one.turn(shared.now, |replica, turn| replica.handle(heard, turn.now, turn));
}

/// It waited for 200 ms after whatever it had told last, and the verdict waited for it.
#[test]
fn one_that_has_told_a_moment_ago_answers_in_time() {
    let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
    one.poll(&mut shared);
    (0..20).for_each(|_| assert!(one.call(Outcome::Success, at(1_000))));
    assert!(one.call(Outcome::Failure, at(1_000)));
    assert!(one.look(&mut shared), "a failure is told at once");
    assert_eq!(suspicion(&shared, &one), None, "one of many");

    shared.now = at(1_050);
    let asked = is_told(&mut shared, &mut two, &calls(30, 0, 1_045));
    hear(&mut one, &shared, asked);
    assert!(one.call(Outcome::Success, at(1_055)));
    shared.now = asked.cut + ms(21);
    assert!(shared.now < at(1_200), "a moment ago");
    assert!(one.poll(&mut shared), "it answers");

    // Of those who only send notices, none makes it tell more often.
    let answered = shared.now;
    let mut forged = asked;
    (forged.number, forged.cut) = (asked.number + 1, answered);
    hear(&mut one, &shared, forged);
    assert!(one.call(Outcome::Success, answered));
    shared.now = answered + ms(150);
    assert!(!one.look(&mut shared));
    shared.now = answered + ms(230);
    assert!(one.look(&mut shared));
}

/// Beside many that tell what they see, it lost one race after the other, and waited longer after each.
#[test]
fn who_asked_ends_it_however_often_others_write_in_between() {
    let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
    assert!(one.call(Outcome::Failure, at(1_000)));
    assert!(one.look(&mut shared));
    let asked = suspicion(&shared, &one).expect("a suspicion");
    shared.now = asked.cut + ms(21);
    let told = two.batch(&shared.record, &calls(9, 0, 1_010));
    shared.merge(&mut two, &[told], &[]);
    one.poll(&mut shared);

    shared.now = asked.last + ms(2);
    for nth in 0..5 {
        let polled = one.turn(shared.now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
        let Some(Request::Commit(commit)) = polled.request else {
            panic!("after {nth} lost races it waits: {polled:?}");
        };
        assert_eq!(Record::load(&commit.record).expect("its own bytes").state(), State::Open);
        shared.version = Version(shared.version.0 + 1);
        let stored = Stored::new(shared.version, shared.record.save().into(), StoreTime::from(shared.now));
        let answer = Committed::Conflict(stored);
        one.turn(shared.now, |replica, turn| replica.handle(Response::Committed(Ok(&answer)), turn.now, turn));
    }
    assert!(one.look(&mut shared));
    assert_eq!(shared.record.state(), State::Open);
}

/// While each verdict is followed by the next question, a fleet of which all protect themselves had nothing more to tell: it
/// was open without a verdict.
#[test]
fn who_awaits_a_verdict_goes_on_for_a_moment_before_the_next_one() {
    let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
    one.poll(&mut shared);
    (0..10).for_each(|_| assert!(one.call(Outcome::Failure, at(1_000))));
    assert!(one.look(&mut shared));
    let first = suspicion(&shared, &one).expect("a suspicion");
    assert!(!one.call(Outcome::Failure, at(1_150)), "it awaits the verdict");

    shared.now = first.until + ms(40);
    let before = shared.now.since(at(0)).as_millis();
    let later = u64::try_from(before).expect("few") - 10;
    let runs = [calls(0, 11, 1_010), calls(8, 0, later)].concat();
    let second = is_told(&mut shared, &mut two, &runs);
    assert_eq!(second.number, first.number + 1, "the first came to nothing, and there is a second");

    hear(&mut one, &shared, second);
    assert!(!one.call(Outcome::Failure, shared.now), "a notice alone ends nothing");
    one.look(&mut shared);
    assert!(one.call(Outcome::Failure, shared.now), "what the store says does");
    assert!(one.call(Outcome::Failure, shared.now), "for a moment");
    assert!(!one.call(Outcome::Failure, shared.now + ms(100)));
}

/// It was for ever: nothing was left that the store could have taken.
#[test]
fn who_went_alone_because_nothing_was_taken_comes_back_when_nothing_waits_any_more() {
    let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
    one.poll(&mut shared);
    (0..10).for_each(|_| assert!(one.call(Outcome::Failure, at(1_000))));
    // Each time, another instance was first.
    let mut now = at(1_000);
    while one.replica.state.is_reachable() {
        now = now + ms(5);
        assert!(now < at(4_000), "it waits for ever");
        shared.now = now;
        let polled = one.turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
        if let Some(Request::Commit(_)) = polled.request {
            shared.version = Version(shared.version.0 + 1);
            let stored = Stored::new(shared.version, shared.record.save().into(), StoreTime::from(now));
            let answer = Committed::Conflict(stored);
            one.turn(now, |replica, turn| replica.handle(Response::Committed(Ok(&answer)), turn.now, turn));
        }
    }
    let away = |one: &Instance| one.replica.status(now).away;
    assert_eq!(away(&one).as_deref(), Some("the store answers, but takes nothing of this breaker"));
    assert_eq!(one.replica.machine().state(), State::Open, "by itself");

    // Another one opens the circuit for all: what was to be told belongs to a time that is over.
    shared.order(&mut two, Command::Trip);
    for _ in 0..3 {
        shared.now = shared.now + ms(1_000);
        one.poll(&mut shared);
    }
    assert_eq!(away(&one), None);
    assert_eq!(one.replica.status(now).generation, Some(shared.record.generation()));
}

/// An answer by the notice is one: the record, which comes with the store's word on it, asks no second time. One that came
/// too early, because the notice said so, is none.
#[test]
fn one_that_hears_by_a_notice_answers_once_and_again_where_that_came_too_early() {
    for (early, answers) in [(false, 1), (true, 2)] {
        let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
        one.poll(&mut shared);
        (0..20).for_each(|_| assert!(one.call(Outcome::Success, at(1_000))));
        shared.now = at(1_050);
        let asked = is_told(&mut shared, &mut two, &calls(30, 0, 1_045));
        let mut said = asked;
        said.cut = if early { at(1_050) } else { asked.cut };
        hear(&mut one, &shared, said);
        let mut written = 0;
        for later in (1_050..asked.until.since(at(0)).as_millis()).step_by(10) {
            shared.now = at(u64::try_from(later).expect("few"));
            // What a commit brings is the newest record; here it is loaded where a commit is due.
            let polled = one.turn(shared.now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
            if polled.request.is_some() {
                one.replica.ask_again();
                written += u32::from(one.poll(&mut shared));
            }
            one.call(Outcome::Success, shared.now);
        }
        assert_eq!(written, answers, "too early: {early}");
    }
}

/// A stranger says over and over that it is over.
#[test]
fn no_notice_of_an_end_keeps_a_suspicion_from_its_end() {
    for is_raiser in [true, false] {
        let (mut one, mut two, mut shared) = (of_ten_seconds(1), of_ten_seconds(2), Shared::at(at(1_000)));
        one.poll(&mut shared);
        two.poll(&mut shared);
        let (raiser, other) = if is_raiser { (&mut one, &mut two) } else { (&mut two, &mut one) };
        assert!(raiser.call(Outcome::Failure, at(1_000)));
        assert!(raiser.look(&mut shared));
        let asked = suspicion(&shared, raiser).expect("a suspicion");
        other.poll(&mut shared);
        let mut now = asked.last;
        while suspicion(&shared, &one).is_some() {
            now = now + ms(20);
            shared.now = now;
            let announcement = Announcement::Cleared { rule: one.rule, number: asked.number };
            let heard = Response::Changed { version: Version(shared.version.0 + 1), announcement };
            one.turn(now, |replica, turn| replica.handle(heard, now, turn));
            one.look(&mut shared);
            let most = if is_raiser { ms(100) } else { ms(3_000) };
            assert!(now <= asked.last + most, "raised by itself: {is_raiser}");
        }
    }
}
