//! Curves, backoffs of one's own, iterators, and seeds. The bounds of jitter are in `conformance/retry.rs`.

use super::*;

/// The waits that a failing call is told of, without waiting.
async fn waits(retry: &RetryLayer, events: &Record<RetryEvent>) -> Vec<Duration> {
    assert_eq!(retry.call(failing()).await.map_err(drop), Err(()));
    let of = |event: &RetryEvent| match event.kind() {
        RetryEventKind::Retrying { after, .. } => Some(after),
        _ => None,
    };
    events.take().iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn the_curve_of_the_configuration_is_the_one_that_is_waited() {
    let curve = backoff::exponential(ms(100)..=ms(900)).factor(3.0).jitter(Jitter::None);
    let (builder, events) = listening(RetryConfig::builder().backoff(curve).max_retries(4));
    let before = timer_now();
    assert_eq!(waits(&retry(builder), &events).await, [ms(100), ms(300), ms(900), ms(900)]);
    assert_eq!(before.elapsed(), ms(2_200));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_iterator_is_the_end_of_the_retries_of_each_request_anew() {
    let (builder, events) = listening(RetryConfig::builder().backoff(vec![secs(1), secs(5)]).max_retries(10));
    let retry = retry(builder);
    for _ in 0..3 {
        assert_eq!(waits(&retry, &events).await, [secs(1), secs(5)]);
    }
    let (builder, events) = listening(RetryConfig::builder().backoff(std::iter::repeat(secs(2))).max_retries(2));
    assert_eq!(waits(&super::retry(builder), &events).await, [secs(2), secs(2)]);
    let growing = std::iter::successors(Some(secs(1)), |delay| Some(*delay * 10)).take(3);
    let (builder, events) = listening(RetryConfig::builder().backoff(growing).max_retries(10));
    assert_eq!(waits(&super::retry(builder), &events).await, [secs(1), secs(10), secs(100)]);
}

/// A backoff that notes the seeds it gets.
struct Noting(Record<u64>);

impl Backoff for Noting {
    fn delays(&self, seed: u64) -> backoff::Delays {
        self.0.add(seed);
        backoff::Delays::new([Duration::ZERO; 2].into_iter())
    }
}

#[test]
fn a_backoff_of_ones_own_is_asked_once_for_each_request_that_fails_with_a_seed_of_its_own() {
    let seeds = Record::default();
    let retry = retry(RetryConfig::builder().backoff(Noting(seeds.clone())));
    assert_eq!(retry.call_blocking(|| Ok::<_, Down>(7)), Ok(7));
    assert!(seeds.take().is_empty(), "no failure, no delays");
    for _ in 0..100 {
        assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(3)));
    }
    let mut seen = seeds.take();
    assert_eq!(seen.len(), 100);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_waits_in_the_order_of_failing_requests() {
    let curve = backoff::exponential(secs(1)..=secs(100));
    let runs = async |seed: Option<u64>| {
        let builder = RetryConfig::builder().backoff(curve);
        let (builder, events) = listening(if let Some(seed) = seed { builder.seed(seed) } else { builder });
        let retry = retry(builder);
        let first = waits(&retry, &events).await;
        assert_eq!(retry.call(|| ready(Ok::<_, Down>(7))).await, Ok(7), "which uses up no seed");
        [first, waits(&retry.clone(), &events).await]
    };
    let seven = runs(Some(7)).await;
    assert_eq!(seven, runs(Some(7)).await);
    assert_ne!(seven[0], seven[1], "requests differ from each other");
    let eight = runs(Some(8)).await;
    assert_ne!(seven, eight);
    assert_ne!(runs(None).await, runs(None).await, "chance by default");
}

#[test]
fn the_same_seed_makes_the_same_delays_and_neighbours_share_none() {
    let curve = backoff::decorrelated(secs(1)..=secs(100));
    let of = |seed| curve.delays(seed).take(10).collect::<Vec<_>>();
    assert_eq!(of(7), of(7));
    let (a, b) = (of(7), of(8));
    assert!(a.iter().all(|delay| !b.contains(delay)), "{a:?} {b:?}");
}

#[test]
fn decorrelated_delays_grow_to_at_most_three_times_the_one_before() {
    let s = secs;
    let curve = backoff::decorrelated(s(1)..=s(1_000));
    let mut grew = 0;
    for seed in 0..200 {
        let delays: Vec<_> = curve.delays(seed).take(20).collect();
        assert!((s(1)..=s(3)).contains(&delays[0]));
        assert!(delays.windows(2).all(|pair| pair[1] <= pair[0] * 3 && pair[1] >= s(1)));
        grew += usize::from(delays.windows(2).any(|pair| pair[1] > pair[0] * 2));
    }
    assert!(grew > 190, "{grew}");
}

#[test]
fn delays_of_a_curve_never_end_and_are_printed_by_it() {
    let curve = backoff::fixed(secs(2));
    assert_eq!(curve.delays(0).nth(1_000_000), Some(secs(2)));
    assert!(format!("{:?}", curve.delays(0)).contains("Fixed"));
    assert_eq!(format!("{:?}", backoff::Delays::new(std::iter::empty())), "Delays { .. }");
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_panics_panics_for_its_caller_alone() {
    let panicking = std::iter::once(secs(1)).map(|_| -> Duration { panic!("the iterator was told to panic") });
    let retry = retry(RetryConfig::builder().backoff(panicking));
    let call = std::panic::AssertUnwindSafe(retry.call(failing())).catch_unwind();
    assert!(call.await.is_err());
    assert_eq!(retry.call(|| ready(Ok::<_, Down>(7))).await, Ok(7));
}
