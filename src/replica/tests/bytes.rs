//! The record as bytes.

use sha2::{Digest, Sha256};

use super::samples::{detectors, record, said, time, told};
use super::*;
use crate::circuit::Writer;
use crate::replica::clocks::translate;
use crate::replica::record::Unreadable;

/// The bytes with a checksum that fits.
pub(super) fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&body);
    body.extend(&checksum[..4]);
    body
}

proptest! {
    #[test]
    fn any_record_comes_back_from_its_bytes(record in record()) {
        prop_assert_eq!(Record::load(&record.save()), Ok(record));
    }

    #[test]
    fn any_flipped_bit_is_damage(record in record(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = record.save();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(matches!(Record::load(&bytes), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn anything_cut_off_is_damage(record in record(), len in any::<prop::sample::Index>(), more in 1_usize..9) {
        let mut bytes = record.save();
        let cut = &bytes[..len.index(bytes.len())];
        prop_assert!(matches!(Record::load(cut), Err(Unreadable::Corrupt(_))));
        // A checksum that fits does not make it whole.
        let body = &bytes[..len.index(bytes.len() - 4)];
        prop_assert!(matches!(Record::load(&sealed(body.to_vec())), Err(Unreadable::Corrupt(_))));
        bytes.extend(vec![0; more]);
        prop_assert!(matches!(Record::load(&bytes), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn a_newer_format_is_told_from_damage(body in prop::collection::vec(any::<u8>(), 0..200), format in 3_u8..) {
        let newer = sealed([b"FB", &[format][..], &body].concat());
        prop_assert_eq!(Record::load(&newer), Err(Unreadable::Newer(format)));
        let mut damaged = newer;
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        prop_assert!(matches!(Record::load(&damaged), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn there_was_no_format_before_the_first(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let older = sealed([b"FB\0", &body[..]].concat());
        prop_assert!(matches!(Record::load(&older), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn a_batch_comes_back_from_its_bytes(
        generation in any::<u64>(),
        told in prop::option::of((0..detectors().len(), told(), prop::option::of(any::<u64>()))),
        probes in prop::collection::vec((any::<u32>(), (0_usize..7, 0_u8..16), time(), prop::option::of(0..u64::MAX)), 0..6),
        vote in prop::option::of(("\\PC{0,20}", time(), time(), any::<bool>())),
    ) {
        let probes = probes.into_iter().map(|(lease, (news, slow), at, wait)| {
            let all = [ProbeNews::Began, ProbeNews::Accepted].into_iter().chain(ENDS.iter().copied()).nth(news);
            let probed = Probed::new(lease, all.expect("one of seven"), at);
            Probed { slow, retry_after: wait.map(Duration::from_nanos), ..probed }
        });
        let telling = told.and_then(|(nth, told, suspicion)| {
            told.first().map(|told| said(told, &*detectors()[nth], at(5_000), suspicion))
        });
        let batch = Batch {
            generation: Generation::new(generation),
            telling,
            probes: probes.collect(),
            vote: vote.map(|(voter, cast, until, by_slowness)| Vote { voter: voter.into(), cast, until, by_slowness }),
        };
        prop_assert_eq!(Batch::load(&batch.save()).expect("its own bytes"), batch);
    }

    /// Times keep their distance, on whichever clock; evidence stays with the clock that it is judged by.
    #[test]
    fn a_record_goes_to_another_clock_and_back(
        record in record_of_today(),
        here in 2_000_000_000_000_000_u64..4_000_000_000_000_000,
    ) {
        let (here, there) = (Timestamp::from_nanos(here), at(500_000));
        let elsewhere = record.by_clock(there, here);
        let without = Record { evidence: Vec::new(), handovers: 0, extension: Vec::new(), ..record.clone() };
        let back = Record { verdict: record.verdict, ..elsewhere.by_clock(here, there) };
        let want = |record: &Record| record.wants.iter().map(|want| want.writer).collect::<Vec<_>>();
        prop_assert_eq!(want(&back), want(&without));
        prop_assert_eq!(Record { wants: Vec::new(), ..back }, Record { wants: Vec::new(), ..without });
        prop_assert_eq!(elsewhere.matters(here), record.matters(there));
        prop_assert_eq!(elsewhere.ttl(here), record.ttl(there));
        prop_assert_eq!(elsewhere.live_votes(here), record.live_votes(there));
        prop_assert_eq!(elsewhere.generation(), record.generation());
    }
}

/// A record whose times are within half an hour.
fn record_of_today() -> impl Strategy<Value = Record> {
    (record(), 0_u64..1_000_000).prop_map(|(record, n)| {
        let near = |time: Timestamp| {
            if time == Timestamp::MAX { time } else { at((time.as_nanos() ^ n) % 1_000_000) }
        };
        let mut record = record;
        record.machine.since = near(record.machine.since);
        record.machine.history_mut().move_times(near);
        record.votes.iter_mut().for_each(|vote| (vote.cast, vote.until) = (near(vote.cast), near(vote.until)));
        record
    })
}

#[test]
fn never_is_never_on_every_clock() {
    assert_eq!(translate(Timestamp::MAX, at(5), at(9)), Timestamp::MAX);
    assert_eq!(translate(at(4), at(5), Timestamp::ZERO), Timestamp::ZERO, "no clock goes below its origin");
    assert_eq!(translate(at(7), at(5), at(9)), at(11));
}

#[test]
fn a_length_that_the_bytes_do_not_have_asks_for_no_memory() {
    for huge in [u32::MAX, 1 << 30, 70_000] {
        let mut out = Writer::with_head(&[2]);
        out.u64(1);
        out.u8(0);
        out.u32(huge);
        assert!(Batch::load(&out.finish()).is_err());
    }
}

/// No time is kept that no other release could read.
#[test]
fn what_a_later_release_of_the_format_adds_stays_as_long_as_the_generation() {
    let (mut one, mut shared) = (Instance::new(1, patient()), Shared::at(at(5)));
    shared.record.extension = vec![1, 2, 3];
    let batch = one.batch(&shared.record, &[failed(at(4))]);
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!(shared.record.extension, [1, 2, 3]);
    shared.order(&mut one, Command::Trip);
    assert!(shared.record.extension.is_empty());
}
