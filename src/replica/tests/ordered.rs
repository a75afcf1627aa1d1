//! A detector of a user's own, whose evidence cannot be merged by time, sees calls in order of arrival.

use super::*;

fn failures_of(made: &[Vec<bool>]) -> Vec<Vec<Run>> {
    // The later a batch arrives, the older its calls: arrival counts, not time.
    let batches = made.iter().rev().enumerate();
    let mut all: Vec<Vec<Run>> = batches
        .map(|(n, batch)| batch.iter().zip(0..).map(|(failed, i)| run(at(n as u64 * 100 + i), *failed)).collect())
        .collect();
    all.reverse();
    all
}

proptest! {
    #[test]
    fn calls_are_folded_in_order_of_arrival_however_many_at_a_time(
        made in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..12), 1..8),
        together in prop::collection::vec(1_usize..4, 8),
    ) {
        let batches = failures_of(&made);
        let never = Order31 { most: u64::MAX, ..Order31::default() };
        let mut expected = never.clone();
        batches.iter().flatten().for_each(|run| run.show(&mut expected));

        let mut shared = Shared::at(at(2_000));
        let mut one = Instance::new(1, Box::new(never.clone()));
        let mut rest = &batches[..];
        for n in together {
            let (now, later) = rest.split_at(n.min(rest.len()));
            let now: Vec<_> = now.iter().map(|runs| one.batch(&shared.record, runs)).collect();
            shared.merge(&mut one, &now, &[]);
            rest = later;
        }
        for runs in rest {
            let batch = one.batch(&shared.record, runs);
            shared.merge(&mut one, &[batch], &[]);
        }
        prop_assert_eq!(replayed(&shared.record, one.rule, never), expected.save());
    }

    /// It trips at the failure that makes it trip, not on what comes behind.
    #[test]
    fn it_is_judged_after_each_failure(made in prop::collection::vec(any::<bool>(), 1..40)) {
        let detector = Order31 { most: 3, ..Order31::default() };
        let runs = &failures_of(&[made])[0];
        let mut observer = detector.clone();
        let trips = runs.iter().any(|run| {
            run.show(&mut observer);
            run.failed && observer.verdict(run.ended)
        });
        let (mut shared, mut one) = (Shared::at(at(2_000)), Instance::new(1, Box::new(detector)));
        let batch = one.batch(&shared.record, runs);
        prop_assert_eq!(shared.merge(&mut one, &[batch], &[]).began, trips);
    }
}

#[test]
fn its_own_view_is_the_fleets_and_what_it_has_seen_itself() {
    let never = Order31 { most: u64::MAX, ..Order31::default() };
    let (mut one, mut other) = (Instance::new(1, Box::new(never.clone())), Instance::new(2, Box::new(never.clone())));
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    shared.commit(&mut other, &[]);
    for n in 0..5 {
        shared.now = at(n);
        one.call(Outcome::Failure, at(n));
        shared.commit(&mut one, &[]);
        other.call(Outcome::Success, at(n));
        shared.commit(&mut other, &[]);
    }
    let mut expected = never.clone();
    for n in 0..5 {
        expected.record(&Call::failure(at(n)));
        expected.record(&Call::success(at(n)));
    }
    assert_eq!(replayed(&shared.record, one.rule, never), expected.save());
    assert_eq!(other.detector().save(), expected.save());
    one.apply(&shared.record, &[], shared.now);
    assert_eq!(one.detector().save(), expected.save());
}

#[test]
fn bytes_that_another_release_of_it_wrote_mean_that_it_begins_anew() {
    let never = Order31 { most: u64::MAX, ..Order31::default() };
    let mut one = Instance::new(1, Box::new(never.clone()));
    let mut shared = Shared::new();
    let (rule, horizon) = (one.rule, one.horizon);
    let held = shared.record.evidence_mut(rule, &CallLog::new(horizon), at(0));
    held.calls = CallLog::Ordered { state: Some(vec![1, 2, 3]), queue: [failed(at(0))].into() };
    let batch = one.batch(&shared.record, &[fine(at(1)), failed(at(1))]);
    shared.merge(&mut one, &[batch], &[]);
    let mut expected = never.clone();
    for call in [Call::failure(at(0)), Call::success(at(1)), Call::failure(at(1))] {
        expected.record(&call);
    }
    assert_eq!(replayed(&shared.record, rule, never), expected.save());
}

/// A log of calls by arrival is bounded as evidence by time is, whatever its bytes claim.
#[test]
fn calls_beyond_number_are_shown_in_bounds() {
    #[derive(Debug, Default)]
    struct Count(u64);

    impl Detector for Count {
        fn record(&mut self, _call: &Call) {
            self.0 += 1;
        }

        fn save(&self) -> Vec<u8> {
            Vec::new()
        }

        never_trips!();
    }

    let mut log = CallLog::new(Horizon::everything());
    for n in 0..1_000 {
        log.add(Run { count: u64::MAX - n, ..failed(at(n)) });
    }
    let mut shown = Count::default();
    log.replay(&mut shown);
    assert_eq!(shown.0, 1 << 17);
}
