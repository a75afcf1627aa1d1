//! What instances make of a record that they did not expect.

use sha2::{Digest, Sha256};

use super::*;

fn unreadable(instance: &Instance) -> usize {
    kinds(&instance.events.take(), |kind| kind == EventKind::RecordUnreadable)
}

#[tokio::test]
async fn a_record_of_a_newer_release_is_left_alone() {
    let bed = Bed::new();
    let [one, other] = bed.fleet(usual).await;
    let mut newer = b"FB\x09what a later release writes".to_vec();
    let checksum = Sha256::digest(&newer);
    newer.extend(&checksum[..4]);
    bed.put(newer.clone()).await;
    one.breaker.flush().await;
    until("the key is on its own", || one.breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_some())).await;
    fail(&one.breaker, 3);
    assert!(one.breaker.is_open(), "the breaker works on its own");
    flush([&one, &other]).await;
    assert_eq!(bed.stored().await.record, newer);
    assert_eq!((unreadable(&one), unreadable(&other)), (1, 1));
}

#[tokio::test]
async fn a_damaged_record_never_closes_an_open_fleet() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    let good = bed.stored().await.record;
    let mut damaged = good.to_vec();
    damaged[7] ^= 1;
    bed.put(damaged).await;
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    for _ in 0..50 {
        flush(&fleet).await;
        tokio::time::sleep(ms(5)).await;
        if bed.stored().await.record == good {
            break;
        }
    }
    let fresh = bed.instance(usual);
    fresh.breaker.flush().await;
    assert_eq!(fresh.breaker.state(), State::Open, "it was written again");
}

#[tokio::test]
async fn damage_that_nobody_knows_better_than_is_replaced_in_the_end() {
    let bed = Bed::new();
    bed.put("not a record at all").await;
    let one = bed.instance(usual);
    one.breaker.flush().await;
    assert!(unreadable(&one) >= 1);
    fail(&one.breaker, 1);
    let deadline = support::timer_now() + secs(30);
    while !bed.stored().await.record.starts_with(b"FB") {
        assert!(support::timer_now() < deadline, "it was never replaced");
        one.breaker.flush().await;
        tokio::time::sleep(ms(50)).await;
    }
    until("the store is in use again", || one.breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_none())).await;
}

#[tokio::test]
async fn an_open_circuit_survives_a_store_that_forgot_everything() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    let generation = fleet[0].breaker.snapshot().fleet.and_then(|fleet| fleet.generation);
    fleet.iter().for_each(|instance| drop(instance.events.take()));
    bed.store.clear();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    let deadline = support::timer_now() + secs(20);
    while bed.stored().await.record.is_empty() {
        assert!(support::timer_now() < deadline, "nobody gave it back");
        flush(&fleet).await;
        tokio::time::sleep(ms(5)).await;
    }
    let late = bed.instance(usual);
    late.breaker.flush().await;
    assert_eq!(late.breaker.state(), State::Open);
    assert_eq!(late.breaker.snapshot().fleet.and_then(|fleet| fleet.generation), generation, "the same generation");
    assert_eq!(late.breaker.retry_after(), Some(secs(30)));
    assert!(fleet.iter().all(|instance| instance.events.take().is_empty()), "nothing has changed");
}

#[tokio::test]
async fn an_override_survives_a_store_that_forgot_everything() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.set_override(Override::disable("load test").by("ana"));
    flush(&fleet).await;
    bed.store.clear();
    let deadline = support::timer_now() + secs(20);
    while bed.stored().await.record.is_empty() {
        assert!(support::timer_now() < deadline, "nobody gave it back");
        flush(&fleet).await;
        tokio::time::sleep(ms(5)).await;
    }
    let late = bed.instance(usual);
    late.breaker.flush().await;
    assert_eq!(late.breaker.snapshot().overridden.map(|order| order.by() == Some("ana")), Some(true));
}

#[tokio::test]
async fn a_restart_keeps_state_and_counts() {
    let bed = Bed::new();
    let one = bed.instance(usual);
    one.breaker.flush().await;
    fail(&one.breaker, 2);
    one.breaker.flush().await;
    drop(one);
    let one = bed.instance(usual);
    one.breaker.flush().await;
    assert_eq!((one.breaker.state(), failures(&one.breaker)), (State::Closed, 2));
    fail(&one.breaker, 1);
    one.breaker.flush().await;
    drop(one);
    bed.clock.advance(secs(10));
    let one = bed.instance(usual);
    one.breaker.flush().await;
    assert_eq!((one.breaker.state(), one.breaker.retry_after()), (State::Open, Some(secs(20))));
}

#[tokio::test]
async fn failures_before_the_first_word_from_the_store_are_not_lost() {
    let bed = Bed::new();
    let (one, other) = (bed.instance(usual), bed.instance(usual));
    fail(&one.breaker, 1);
    fail(&other.breaker, 1);
    flush([&one, &other]).await;
    assert_eq!((failures(&one.breaker), failures(&other.breaker)), (2, 2));
}

/// Open in generation 8 for 30 s, with a round of which one probe has succeeded; without its checksum.
const OF_FORMAT_1: &str = "4642010108000000000000004d00000000000000004a61e07e8d030004\
    00f684dc858d030000ac23fc06000000020000000101\
    0100000001000000ffffffffffffffff070000000000000005000000020000000100000000\
    0000";

#[tokio::test]
async fn a_record_of_format_1_counts_and_is_written_anew_without_a_call() {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
    };
    let mut old = bytes(OF_FORMAT_1);
    let checksum = Sha256::digest(&old);
    old.extend(&checksum[..4]);
    let bed = Bed::new();
    bed.put(old).await;
    let [one, other] = bed.fleet(usual).await;
    until("they follow it", || one.breaker.is_open() && other.breaker.is_open()).await;
    let deadline = support::timer_now() + secs(10);
    while bed.stored().await.record[2] != 2 {
        assert!(support::timer_now() < deadline, "it is still of format 1");
        tokio::time::sleep(ms(5)).await;
    }
    flush([&one, &other]).await;
    assert_eq!(states([&one, &other]), [State::Open; 2]);
    let generation = |instance: &Instance| instance.breaker.snapshot().fleet.and_then(|fleet| fleet.generation);
    assert_eq!(generation(&one).map(|generation| generation.get()), Some(8));
}
