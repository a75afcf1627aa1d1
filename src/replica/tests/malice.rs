//! Records that no instance writes: what is read can be merged in bounded time, and an operator can lift what stands.

use super::bytes::sealed;
use super::samples::{detectors, record, said, told};
use super::*;
use crate::circuit::detector::{Over, Shape, Threshold};
use crate::circuit::{MachineState, Writer};

/// An instance meets the bytes in a store, tells a failure, and an operator resets the breaker.
fn survives(bytes: &[u8]) {
    let Ok(mut record) = Record::load(bytes) else {
        return;
    };
    let mut one = Instance::new(1, Box::new(failures(3).of_last(5)));
    record.cut_to(at(0), one.rules.probes.deadline_after());
    let mut shared = Shared::holding(record, at(0));
    let batches = [one.batch(&shared.record, &[failed(at(0))])];
    let merged = shared.merged_by(&mut one, &batches, &[Command::Look, Command::Lease { may_want: true }]);
    one.apply(&merged.record, at(0));
    merged.record.save();
    shared.record = merged.record;
    let commands = [Command::Resume, Command::Reset];
    let merged = shared.merged_by(&mut one, &batches, &commands);
    assert_eq!(merged.record.state(), State::Closed, "an operator lifts anything");
    assert!(merged.record.machine.standing().is_none());
    one.apply(&merged.record, at(0));
    assert_eq!(one.replica.machine().state(), State::Closed);
}

proptest! {
    #[test]
    fn bytes_of_chance_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Record::load(&bytes).is_err());
        Batch::load(&bytes).ok();
        for format in [1, 2] {
            survives(&sealed([b"FB", &[format][..], &bytes].concat()));
        }
    }

    /// A record of this release with bytes changed and a checksum that fits.
    #[test]
    fn a_record_made_in_malice_is_read_and_merged_without_panic(
        record in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = record.save();
        bytes.truncate(bytes.len() - 4);
        for (at, byte) in changes {
            let at = 3 + at.index(bytes.len() - 3);
            bytes[at] = byte;
        }
        survives(&sealed(bytes));
    }

    #[test]
    fn a_batch_made_in_malice_is_merged_without_panic(
        told in told(),
        nth in 0..detectors().len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut one = Instance::new(1, patient());
        let mut shared = Shared::at(at(5_000));
        for told in &told {
            let telling = said(told, &*detectors()[nth], at(5_000), Some(0));
            let generation = shared.record.generation();
            let batch = Batch { generation, telling: Some(telling), probes: Vec::new(), vote: None };
            let mut bytes = batch.save();
            for (at, byte) in &changes {
                let at = 1 + at.index(bytes.len() - 1);
                bytes[at] = *byte;
            }
            let merged = shared.merged_by(&mut one, &[bytes], &[]);
            shared.record = Record::load(&merged.record.save()).expect("what is written can be read");
        }
    }
}

/// A record whose only evidence is of a rule, with what `calls` writes behind it.
fn holding(shape: &Shape, calls: impl Fn(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::with_head(b"FB\x02");
    let state = MachineState::closed(Generation::new(1), at(0));
    out.u8(State::Closed.to_byte());
    out.u64(1);
    out.u64(5);
    out.time(at(0));
    state.history().save(&mut out);
    out.u8(1);
    out.u64(99);
    out.time(at(0));
    out.u8(0);
    shape.save(&mut out);
    calls(&mut out);
    // Judged up to the beginning of time, seen by many; no trip, no suspicion, no voices, no slow telling.
    out.time(Timestamp::ZERO);
    out.u8(2);
    out.flag(false);
    out.flag(false);
    out.varint(0);
    out.varint(0);
    out.varint(0);
    out.varint(0);
    out.varint(0);
    out.time(at(0));
    out.varint(0);
    // No votes, no verdict, no wants, no handovers, nothing more.
    out.u32(0);
    out.flag(false);
    out.u32(0);
    out.varint(0);
    out.u32(0);
    sealed(out.finish())
}

/// Ticks that end now, each with so many calls of so many classes: of one instance, or of several.
fn ticks(out: &mut Writer, ticks: u64, of_one: bool, classes: std::ops::Range<u64>, stretches: u64, count: u64) {
    out.u8(25);
    out.varint(ticks);
    let last = at(0).as_nanos() >> 25;
    for nth in 0..ticks {
        out.varint(if nth == 0 { last - ticks + 1 } else { 1 });
        out.varint(1);
        out.u8(u8::from(of_one));
        if of_one {
            out.u8(1);
            out.u8(1);
        }
        out.varint(0);
        out.varint(stretches << 1);
        for nth in 0..stretches {
            let classes = classes.clone();
            out.varint(count << 3 | (classes.start + nth % (classes.end - classes.start)));
        }
    }
}

/// What these claim took minutes to replay call by call.
#[test]
fn huge_counts_in_a_sequence_are_judged_in_bounded_time() {
    const HUGE: u64 = 1 << 40;
    let limits = [2_000, 3_000, 4_000].map(ms);
    let mut rules = vec![
        Threshold::in_a_row(u32::MAX),
        Threshold::count(u32::MAX, Over::Calls(u32::MAX)),
        Threshold::rate(1.0, Over::Calls(u32::MAX)).min_calls(u32::MAX),
        Threshold::rate(1.0, Over::Calls(10_000)),
        Threshold::rate(0.9, Over::Calls(20)).min_calls(u32::MAX),
    ];
    let slow = limits.map(|limit| Threshold::rate(1.0, Over::Calls(10_000)).slower_than(limit));
    rules.extend(slow);
    let shape = Shape::Any(rules.into_iter().map(Shape::from).collect());
    let few = holding(&shape, |out| ticks(out, 400, false, 0..8, 8, HUGE));
    let many = holding(&shape, |out| ticks(out, 1_000, false, 0..8, 8, HUGE));
    let ordered = holding(&shape, |out| ticks(out, 1, true, 1..8, 9_000, HUGE));
    for bytes in [few, many, ordered] {
        assert!(bytes.len() < 64 * 1_024, "{} bytes", bytes.len());
        assert!(Record::load(&bytes).is_ok(), "it is read");
        survives(&bytes);
    }
}

#[test]
fn huge_counts_by_time_are_judged_in_bounded_time() {
    const HUGE: u64 = 1 << 40;
    let over = Over::Time(Duration::from_nanos(1 << 62));
    let limits = (1..=3).map(|n| Threshold::rate(1.0, over).slower_than(ms(1_000 * n)).min_calls(u32::MAX));
    let shape = Shape::Any(limits.chain([Threshold::rate(1.0, over)]).map(Shape::from).collect());
    let slots = holding(&shape, |out| {
        out.varint(1 << 62);
        out.u8(25);
        out.varint(40);
        out.varint(30);
        for _ in 0..30 {
            out.varint(1);
            out.varint(0);
            out.varint(2);
            out.varint(HUGE << 3 | 1);
            out.varint(HUGE << 3);
        }
        out.varint(0);
    });
    let shape = Shape::from(Threshold::count(u32::MAX, Over::Time(Duration::MAX)));
    let instants = holding(&shape, |out| {
        out.varint(7_500);
        for nth in 0..7_500 {
            out.varint(if nth == 0 { at(0).as_nanos() - 1_000_000 } else { 1 });
            out.varint(HUGE);
            out.varint(0);
        }
    });
    for bytes in [slots, instants] {
        assert!(bytes.len() < 64 * 1_024, "{} bytes", bytes.len());
        assert!(Record::load(&bytes).is_ok(), "it is read");
        survives(&bytes);
    }
}

/// Times at the end of the calendar are as good as any other to read.
#[test]
fn slots_at_the_end_of_time_are_read_without_panic() {
    let window = 10_000_000_000_u64;
    let shape = Shape::from(Threshold::rate(0.5, Over::Time(Duration::from_nanos(window))));
    let bytes = holding(&shape, |out| {
        let bits = 25;
        out.varint(window);
        out.u8(25);
        out.varint(0);
        out.varint(0);
        out.varint(1);
        out.varint((u64::MAX >> bits) - 1);
        out.varint(0);
        out.varint(1);
        out.varint(9 << 3 | 1);
    });
    survives(&bytes);
    if let Ok(record) = Record::load(&bytes) {
        let mut shared = Shared::holding(record, Timestamp::MAX);
        let mut one = Instance::new(1, patient());
        let merged = shared.merged_by(&mut one, &[], &[Command::Look]);
        shared.record = merged.record;
    }
}
