//! 14 and 26 to 33 as far as they concern retries of any protocol.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use fusebox::backoff::{self, Backoff};
use fusebox::{
    Budget, EventKind, Jitter, Rejected, RetryConfig, RetryConfigBuilder, RetryLayer, classify,
    retry::{RetryEvent, RetryEventKind, RetryStats, StopReason, WhenRejected},
};

use super::*;
use crate::support::timer_now;

/// A configuration whose retries follow at once.
fn at_once() -> RetryConfigBuilder {
    RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO))
}

fn waiting(delay: Duration) -> RetryConfigBuilder {
    RetryConfig::builder().backoff(backoff::fixed(delay))
}

fn retry(builder: RetryConfigBuilder) -> RetryLayer {
    RetryLayer::new(builder.build().expect("a configuration that works"))
}

/// The waits that `calls` failing calls are told of, on the builder's settings.
async fn waits(builder: RetryConfigBuilder, calls: usize) -> Vec<Vec<Duration>> {
    let waits = Record::default();
    let listener = waits.clone();
    let mut service = retry(builder.on_retry(move |event| listener.add(wait_of(event)))).layer(Stub::new(Answer::Err));
    let mut all = Vec::new();
    for _ in 0..calls {
        assert_eq!(service.ready().await.expect("ready").call(1).await, Err(Down));
        all.push(waits.take());
    }
    all
}

fn wait_of(event: &RetryEvent) -> Duration {
    let RetryEventKind::Retrying { after, .. } = event.kind() else { panic!("no retry: {event}") };
    after
}

/// How many different ones there are.
fn different<T: Ord>(items: impl IntoIterator<Item = T>) -> usize {
    items.into_iter().collect::<std::collections::BTreeSet<_>>().len()
}

// 14

#[tokio::test]
async fn c14_retries_over_an_open_breaker_never_kill_a_buffer() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Ok);
    let retry = retry(at_once().when_rejected(WhenRejected::Retry));
    let mut service = ServiceBuilder::new().buffer(8).layer(retry).layer(layer).service(stub.clone());
    breaker.trip().expect("no override stands");
    for n in 0..100 {
        let error = service.ready().await.expect("the buffer lives").call(n).await.expect_err("open");
        assert!(rejection(&*error).is_some());
    }
    breaker.reset().expect("no override stands");
    assert_eq!(service.ready().await.expect("the buffer lives").call(7).await.expect("closed"), 7);
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn c14_retries_over_an_open_breaker_drop_no_endpoint_from_a_balance() {
    let endpoints: Vec<_> = (0..2)
        .map(|_| {
            let (breaker, clock) = tripping_at(1);
            (breaker, clock, Stub::new(Answer::Ok))
        })
        .collect();
    let services: Vec<_> = endpoints
        .iter()
        .map(|(breaker, _, stub)| {
            let guarded = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
            tower::load::Constant::new(retry(at_once()).layer(guarded), 1)
        })
        .collect();
    let mut balance = tower::balance::p2c::Balance::new(ServiceList::new::<u32>(services));
    for (breaker, ..) in &endpoints {
        breaker.trip().expect("no override stands");
    }
    for n in 0..50 {
        let error = balance.ready().await.expect("ready to reject").call(n).await.expect_err("open");
        assert!(rejection(&*error).is_some());
    }
    for (breaker, ..) in &endpoints {
        breaker.reset().expect("no override stands");
    }
    for n in 0..50 {
        assert_eq!(balance.ready().await.expect("ready").call(n).await.expect("closed"), n);
    }
    assert_eq!(balance.len(), 2);
    assert!(endpoints.iter().all(|(.., stub)| stub.calls() > 1), "both endpoints work again");
}

// 26

#[test]
fn c26_jitter_never_exceeds_the_cap_and_proportional_jitter_keeps_both_ends() {
    let (min, max) = (ms(70), Duration::from_nanos(7_777_777_777));
    for (jitter, least) in [
        (Jitter::None, min),
        (Jitter::Full, Duration::ZERO),
        (Jitter::Equal, min / 2),
        (Jitter::proportional(0.5), min),
        (Jitter::proportional(1.0), min),
    ] {
        for factor in [1.0, 2.0, 1e9] {
            let curve = backoff::exponential(min..=max).factor(factor).jitter(jitter);
            let delays: Vec<_> = (0..500).flat_map(|seed| curve.delays(seed).take(20)).collect();
            assert!(delays.iter().all(|delay| (least..=max).contains(delay)), "{curve}");
        }
    }
    let decorrelated = backoff::decorrelated(min..=max);
    let delays: Vec<_> = (0..500).flat_map(|seed| decorrelated.delays(seed).take(20)).collect();
    assert!(delays.iter().all(|delay| (min..=max).contains(delay)));
    assert!(delays.iter().any(|delay| *delay > max * 99 / 100), "the cap is reached");
    let at_the_cap = delays.iter().filter(|delay| **delay == max).count();
    assert!(at_the_cap < 5, "{at_the_cap} of {} are the cap", delays.len());
}

#[test]
fn c26_every_kind_of_jitter_uses_all_of_its_range() {
    for (jitter, low, high) in [
        (Jitter::Full, 0.0, 1.0),
        (Jitter::Equal, 0.5, 1.0),
        (Jitter::proportional(0.1), 0.9, 1.1),
        (Jitter::proportional(1.0), 0.0, 2.0),
    ] {
        let curve = backoff::fixed(secs(1)).jitter(jitter);
        let seen: Vec<_> = (0..1_000).map(|seed| curve.delays(seed).next().expect("without end")).collect();
        let margin = (high - low) / 20.0;
        for delay in &seen {
            assert!((low..=high).contains(&delay.as_secs_f64()), "{jitter:?}: {delay:?}");
        }
        assert!(seen.iter().any(|delay| delay.as_secs_f64() < low + margin), "{jitter:?}");
        assert!(seen.iter().any(|delay| delay.as_secs_f64() > high - margin), "{jitter:?}");
        assert!(different(seen) > 990, "{jitter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c26_the_waits_of_two_requests_differ() {
    for curve in [backoff::exponential(secs(1)..=secs(10)), backoff::exponential(secs(10)..=secs(10))] {
        let all = waits(RetryConfig::builder().backoff(curve).max_retries(4), 100).await;
        for retry in 0..4 {
            assert!(different(all.iter().map(|waits| waits[retry])) > 95, "retry {retry}");
        }
        assert!(all.iter().all(|waits| different(waits) == 4), "the retries of one request differ, too");
    }
    let all = waits(RetryConfig::builder().backoff(backoff::decorrelated(secs(1)..=secs(10))), 100).await;
    assert!(different(all.iter().map(|waits| waits[0])) > 95);
}

#[tokio::test(start_paused = true)]
async fn c26_jitter_exists_for_delays_of_whole_seconds() {
    let builder = RetryConfig::builder;
    for builder in [
        builder().backoff(backoff::fixed(secs(1)).jitter(Jitter::proportional(0.1))),
        builder().backoff(backoff::fixed(secs(1)).jitter(Jitter::Full)),
        builder().backoff(backoff::exponential(secs(1)..=secs(60))),
        builder().backoff(backoff::exponential(secs(1)..=secs(60)).jitter(Jitter::Equal)),
        builder().backoff(backoff::decorrelated(secs(1)..=secs(60))),
    ] {
        let all: Vec<_> = waits(builder, 100).await.concat();
        assert!(all.iter().filter(|wait| wait.subsec_nanos() % 1_000_000 != 0).count() > all.len() * 9 / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn c26_the_default_has_jitter() {
    let all = waits(RetryConfig::builder(), 200).await;
    for (retry, cap) in [(0, ms(100)), (1, ms(200)), (2, ms(400))] {
        let nth: Vec<_> = all.iter().map(|waits| waits[retry]).collect();
        assert!(nth.iter().all(|wait| *wait <= cap));
        assert!(nth.iter().any(|wait| *wait < cap / 5) && nth.iter().any(|wait| *wait > cap / 5 * 4));
    }

    let mut took = Vec::new();
    let mut service = RetryLayer::new(RetryConfig::default()).layer(Stub::new(Answer::Err));
    for _ in 0..20 {
        let before = timer_now();
        assert!(service.ready().await.expect("ready").call(1).await.is_err());
        took.push(before.elapsed());
    }
    assert!(different(took) > 10, "without a builder, too");
}

// 27

/// What [`Budget::ratio`] is to do, in the plainest way: a count for each tenth of the window.
#[derive(Default)]
struct Ledger {
    requests: Vec<u64>,
    retries: Vec<u64>,
}

impl Ledger {
    fn available(&self, now: u64, percent: u64, reserve: u64) -> u64 {
        let recent = |times: &[u64]| times.iter().filter(|&&at| at + 10 > now).count() as u64;
        (recent(&self.requests) * percent / 100 + reserve).saturating_sub(recent(&self.retries))
    }
}

#[test]
fn c27_a_budget_of_sixty_percent_allows_sixty_percent_of_the_calls_through_a_layer() {
    for percent in [0, 1, 20, 60, 99, 100_u32] {
        let stub = Stub::new(Answer::Err);
        let budget = Budget::ratio(f64::from(percent) / 100.0).clock(ManualClock::new());
        let mut service = retry(at_once().max_retries(1).budget(budget.clone())).layer(stub.clone());
        for _ in 0..100 {
            assert_eq!(call(&mut service, 1), Err(Down));
        }
        assert_eq!(stub.calls(), 100 + percent as usize);
        assert_eq!(budget.available(), 0);
    }
}

#[test]
fn c27_a_budget_is_exact_at_every_step() {
    let budget = Budget::ratio(0.6).clock(ManualClock::new());
    let mut retries = 0;
    for requests in 1..=10_000_u64 {
        budget.request();
        retries += (0..3).filter(|_| budget.withdraw()).count() as u64;
        assert_eq!(retries, requests * 60 / 100, "after {requests} requests");
    }
}

#[test]
fn c27_a_budget_agrees_with_plain_bookkeeping_while_time_passes() {
    for (percent, reserve) in [(60, 0), (20, 10), (150, 0), (0, 3)] {
        let clock = ManualClock::new();
        let ratio = f64::from(u32::try_from(percent).expect("small")) / 100.0;
        let budget = Budget::ratio(ratio).reserve_per_second(reserve).clock(clock.clone());
        let (mut ledger, mut now, mut random) = (Ledger::default(), 0, 1_u64);
        for step in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match random >> 60 {
                0..=7 => {
                    budget.request();
                    ledger.requests.push(now);
                }
                8..=13 => {
                    let allowed = ledger.available(now, percent, u64::from(reserve) * 10) > 0;
                    assert_eq!(budget.withdraw(), allowed, "{percent} %, step {step}");
                    if allowed {
                        ledger.retries.push(now);
                    }
                }
                // Mostly to the next tenth, at times past the whole window.
                _ => {
                    now += if random >> 50 & 0xff == 0 { 25 } else { 1 };
                    clock.set(Timestamp::from_nanos(now * 1_000_000_000));
                }
            }
            let available = ledger.available(now, percent, u64::from(reserve) * 10);
            assert_eq!(budget.available(), available, "{percent} %, step {step}");
        }
    }
}

#[test]
fn c27_after_a_day_or_ten_years_idle_a_budget_is_as_exact_as_at_first() {
    let clock = ManualClock::new();
    let budget = Budget::ratio(0.6).clock(clock.clone());
    for idle in [secs(0), secs(24 * 3_600), 10 * YEAR, ms(10_500)] {
        clock.advance(idle);
        assert_eq!(budget.available(), 0, "what was earned before {idle:?} is gone");
        assert!(!budget.withdraw());
        for _ in 0..100 {
            budget.request();
        }
        assert_eq!((0..200).filter(|_| budget.withdraw()).count(), 60);
    }
}

#[test]
fn c27_a_long_idle_budget_with_a_reserve_has_saved_up_no_more_than_one_window() {
    let clock = ManualClock::new();
    let budget = Budget::ratio(0.5).reserve_per_second(3).clock(clock.clone());
    for idle in [secs(0), secs(24 * 3_600)] {
        clock.advance(idle);
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 30);
    }
}

/// Lets two threads do `act` as nearly at once as can be, many times, and returns in how many rounds what they did
/// together was not right.
fn race(prepare: impl Fn(), act: impl Fn() -> u64 + Sync, is_right: impl Fn(u64) -> bool) -> usize {
    const ROUNDS: usize = 20_000;
    let (round, done, sum) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
    // A barrier of the system wakes its threads too far apart.
    let wait_for = |count: &AtomicUsize, least: usize| {
        for spins in 0_u32.. {
            if count.load(Ordering::SeqCst) >= least {
                break;
            }
            // Somebody else may need the core for that to happen.
            if spins > 1_000 { thread::yield_now() } else { std::hint::spin_loop() }
        }
    };
    let take_part = |n: usize| {
        wait_for(&round, n);
        sum.fetch_add(act(), Ordering::SeqCst);
        done.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        scope.spawn(|| (1..=ROUNDS).for_each(take_part));
        let rounds = (1..=ROUNDS).map(|n| {
            prepare();
            round.store(n, Ordering::SeqCst);
            take_part(n);
            wait_for(&done, 2 * n);
            is_right(sum.swap(0, Ordering::SeqCst))
        });
        rounds.filter(|is_right| !is_right).count()
    })
}

#[test]
fn c27_concurrent_withdrawals_never_overdraw() {
    let clock = ManualClock::new();
    let budget = Budget::ratio(1.0).clock(clock.clone());
    let earn_one = || {
        clock.advance(secs(10));
        budget.request();
    };
    assert_eq!(race(earn_one, || u64::from(budget.withdraw()), |withdrawn| withdrawn == 1), 0);
}

#[test]
fn c27_no_request_is_lost_while_a_part_of_the_window_begins() {
    let clock = ManualClock::new();
    let budget = Budget::ratio(1.0).clock(clock.clone());
    let request = || {
        budget.request();
        1
    };
    assert_eq!(race(|| clock.advance(secs(10)), request, |requests| budget.available() == requests), 0);
}

#[test]
fn c27_requests_and_withdrawals_at_once_add_up() {
    let budget = Budget::ratio(0.6).clock(ManualClock::new());
    let start = Barrier::new(8);
    let withdrawn: usize = thread::scope(|scope| {
        let work = || {
            start.wait();
            (0..1_000).filter(|_| (budget.request(), budget.withdraw()).1).count()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let rest = (0..10_000).filter(|_| budget.withdraw()).count();
    assert_eq!(withdrawn + rest, 4_800);
}

#[test]
fn c27_concurrent_calls_through_layers_share_one_budget_exactly() {
    let budget = Budget::ratio(0.5).clock(ManualClock::new());
    let attempts = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            let retry = retry(at_once().max_retries(2).budget(budget.clone()));
            let attempts = &attempts;
            scope.spawn(move || {
                for _ in 0..100 {
                    let down = || {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        Err::<(), _>(Down)
                    };
                    assert_eq!(retry.call_blocking(down), Err(Down));
                }
            });
        }
    });
    let rest = (0..1_000).filter(|_| budget.withdraw()).count();
    assert_eq!(attempts.into_inner() + rest, 800 + 400);
}

// 28

#[tokio::test(start_paused = true)]
async fn c28_there_is_no_sleep_after_the_last_attempt() {
    let s = secs;
    for (builder, total) in [
        (waiting(s(1)).max_retries(2), s(2)),
        (waiting(s(1)).max_retries(0), s(0)),
        (RetryConfig::builder().backoff([s(1), s(5)]), s(6)),
        (RetryConfig::builder().backoff([s(1), s(5)]).max_retries(1), s(1)),
        (RetryConfig::builder().backoff([]), s(0)),
    ] {
        let retry = retry(builder);
        let before = timer_now();
        assert_eq!(retry.layer(Stub::new(Answer::Err)).oneshot(1).await, Err(Down));
        assert_eq!(before.elapsed(), total, "{retry}");
        assert_eq!(retry.call(|| async { Err::<(), _>(Down) }).await, Err(Down));
        assert_eq!(before.elapsed(), total * 2, "{retry}");
    }
}

#[tokio::test(start_paused = true)]
async fn c28_there_is_no_sleep_after_a_failure_that_is_not_to_be_retried() {
    let retry = retry(waiting(secs(1))).classify(classify::errors().exclude(|_: &Down| true));
    let before = timer_now();
    assert_eq!(retry.layer(Stub::new(Answer::Err)).oneshot(1).await, Err(Down));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn c28_there_is_no_sleep_past_the_deadline() {
    for (deadline, elapsed, attempts) in
        [(ms(2_500), secs(2), 3), (ms(2_001), secs(2), 3), (secs(2), secs(1), 2), (ms(1), secs(0), 1)]
    {
        let stub = Stub::new(Answer::Err);
        let config = waiting(secs(1)).max_retries(10).deadline(deadline).build().expect("a configuration that works");
        let before = timer_now();
        let error = RetryLayer::new(config).layer(stub.clone()).oneshot(1).await.expect_err("down");
        assert!(error.is::<Down>(), "the last error, not that time is short");
        assert_eq!((before.elapsed(), stub.calls()), (elapsed, attempts), "{deadline:?}");
    }
}

/// Counts itself while it lives.
#[derive(Debug)]
struct Held(Arc<()>);

impl Held {
    fn new(count: &Arc<()>) -> Self {
        Self(count.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn c28_the_failed_response_is_dropped_before_the_sleep() {
    let (count, attempts) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let inner = {
        let (count, attempts) = (count.clone(), attempts.clone());
        tower::service_fn(move |_: u32| {
            attempts.fetch_add(1, Ordering::SeqCst);
            let (response, attempt) = (Held::new(&count), Held::new(&count));
            async move {
                tokio::task::yield_now().await;
                drop(attempt);
                Ok::<_, Down>(response)
            }
        })
    };
    let living = Arc::strong_count(&count);
    let bad = |_: &Result<Held, Down>| Outcome::Failure;
    let service = retry(waiting(secs(1)).max_retries(1)).classify(bad).layer(inner);
    let mut response = Box::pin(service.oneshot(1));
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&count), living + 2, "the attempt is on its way");
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!((Arc::strong_count(&count), attempts.load(Ordering::SeqCst)), (living, 1), "it sleeps");
    let last = response.await.expect("the last response, though bad");
    assert_eq!((Arc::ptr_eq(&last.0, &count), attempts.load(Ordering::SeqCst)), (true, 2));
}

/// A service that never gets ready a second time, and fails with a [`Held`].
#[derive(Clone, Debug)]
struct Once {
    count: Arc<()>,
    is_ready: Arc<AtomicUsize>,
}

impl Service<u32> for Once {
    type Response = u32;
    type Error = Held;
    type Future = std::future::Ready<Result<u32, Held>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Held>> {
        match self.is_ready.fetch_add(1, Ordering::SeqCst) {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, _request: u32) -> Self::Future {
        std::future::ready(Err(Held::new(&self.count)))
    }
}

#[test]
fn c28_the_failed_error_is_dropped_before_the_service_is_asked_again() {
    let inner = Once { count: Arc::new(()), is_ready: Arc::default() };
    let count = inner.count.clone();
    let mut service = retry(at_once()).layer(inner);
    assert!(service.ready().now_or_never().is_some());
    let mut response = Box::pin(service.call(1));
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&count), 3, "this test's, the service's, and its clone's");
}

// 29

/// An open breaker with a cooldown of 30 s, and how often it rejects.
fn open_breaker() -> (CircuitBreaker, ManualClock, Record<()>) {
    let rejections = Record::default();
    let listener = rejections.clone();
    let (breaker, clock) = breaker(|b| {
        let b = b.detector(detect::consecutive_failures(1)).call_events(true);
        b.on_event(move |event| {
            if matches!(event.kind(), EventKind::Rejected { .. }) {
                listener.add(());
            }
        })
    });
    breaker.trip().expect("no override stands");
    (breaker, clock, rejections)
}

/// The error of one call, the time it took, and how often the breaker rejected it.
async fn rejected_call(
    breaker: &CircuitBreaker,
    rejections: &Record<()>,
    retry: RetryLayer,
) -> (BoxError, Duration, usize) {
    let guarded = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Ok));
    let before = timer_now();
    let error = retry.layer(guarded).oneshot(1).await.expect_err("open");
    assert!(rejection(&*error).is_some());
    (error, before.elapsed(), rejections.take().len())
}

#[tokio::test(start_paused = true)]
async fn c29_an_open_breaker_is_asked_once_and_its_rejection_returned_at_once() {
    let (breaker, _clock, rejections) = open_breaker();
    let (stops, stats) = (Record::default(), RetryStats::new());
    let listener = stops.clone();
    let builder = waiting(secs(1)).stats(stats.clone()).on_event(move |event| listener.add(event.to_string()));
    let (error, took, asked) = rejected_call(&breaker, &rejections, retry(builder)).await;
    assert!(error.is::<Rejected>(), "unchanged");
    assert_eq!((took, asked), (Duration::ZERO, 1));
    assert_eq!(stops.take(), ["attempt 1 failed, given up: rejected by a circuit breaker"]);
    let counts = stats.counts();
    assert_eq!((counts.attempts, counts.rejected_attempts, counts.rejected), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn c29_a_breaker_that_opens_between_attempts_ends_them() {
    let (breaker, _clock) = tripping_at(2);
    let stub = Stub::new(Answer::Err);
    let guarded = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    let before = timer_now();
    let error = retry(waiting(secs(1)).max_retries(9)).layer(guarded).oneshot(1).await.expect_err("open");
    assert!(rejection(&*error).is_some());
    assert_eq!((stub.calls(), before.elapsed()), (2, secs(2)), "the breaker sees every attempt");
}

/// An error around another.
#[derive(Debug)]
struct Around(BoxError);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("around")
    }
}

impl Error for Around {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn c29_a_rejection_is_recognised_as_itself_and_at_any_depth_of_a_box() {
    let (breaker, ..) = open_breaker();
    let rejected = || breaker.acquire().map(drop).expect_err("open");
    let retry = retry(at_once());
    let mut attempts = 0;
    let itself = retry.call_blocking(|| {
        attempts += 1;
        Err::<(), Rejected>(rejected())
    });
    assert_eq!((itself.expect_err("open").reason(), attempts), (RejectReason::Open, 1));
    let boxed = retry.call_blocking(|| {
        attempts += 1;
        Err::<(), BoxError>(Around(Around(rejected().into()).into()).into())
    });
    assert!(boxed.expect_err("open").is::<Around>());
    assert_eq!(attempts, 2);
    let other = retry.call_blocking(|| {
        attempts += 1;
        Err::<(), BoxError>(Around(Down.into()).into())
    });
    assert!(other.expect_err("down").is::<Around>());
    assert_eq!(attempts, 6, "no rejection: three retries");
}

#[test]
fn c29_a_rejection_that_is_part_of_an_error_of_ones_own_is_excluded_by_the_classifier() {
    let (breaker, _clock, rejections) = open_breaker();
    let is_open = |error: &CallError<Down>| matches!(error, CallError::Rejected(_));
    let retry = retry(at_once()).classify(classify::errors().exclude(is_open));
    let result = retry.call_blocking(|| breaker.call_blocking(|| Err::<(), _>(Down)));
    assert!(matches!(result, Err(CallError::Rejected(_))));
    assert_eq!(rejections.take().len(), 1);
}

#[test]
fn c29_rejections_spend_no_budget_and_take_no_token() {
    for when in [WhenRejected::Return, WhenRejected::Wait, WhenRejected::Retry] {
        let (breaker, _clock) = tripping_at(1);
        // Held open by an operator, so that nobody knows how long to wait.
        breaker.set_override(Override::force_open("test"));
        for budget in [Budget::ratio(1.0).reserve_per_second(1).clock(ManualClock::new()), Budget::tokens(10, 0.1)] {
            (0..10).for_each(|_| budget.request());
            let before = budget.available();
            let retry = retry(at_once().when_rejected(when).budget(budget.clone()));
            let mut asked = 0;
            let rejected = retry.call_blocking(|| {
                asked += 1;
                breaker.acquire().map(drop)
            });
            assert!(rejected.is_err());
            assert_eq!(asked, if when == WhenRejected::Return { 1 } else { 4 }, "{when:?}");
            let request = if budget.to_string().contains("tokens") { 0 } else { 1 };
            assert_eq!(budget.available(), before + request, "{when:?}, {budget}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c29_who_waits_for_the_breaker_comes_back_when_it_says_so() {
    let (breaker, clock, rejections) = open_breaker();
    clock.advance(secs(10));
    let told = Record::default();
    let listener = told.clone();
    // The breaker's clock passes the wait at once; tokio's passes it after that.
    let builder = waiting(secs(1)).when_rejected(WhenRejected::Wait).on_retry(move |event| {
        listener.add(wait_of(event));
        clock.advance(wait_of(event));
    });
    let stub = Stub::new(Answer::Ok);
    let service = retry(builder).layer(CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone()));
    let before = timer_now();
    assert_eq!(service.oneshot(7).await.expect("the probe works"), 7);
    assert_eq!((told.take(), before.elapsed()), (vec![secs(20)], secs(20)));
    assert_eq!((rejections.take().len(), stub.calls(), breaker.state()), (1, 1, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn c29_who_waits_does_as_the_backoff_says_where_the_breaker_does_not_know() {
    let (breaker, clock, rejections) = open_breaker();
    clock.advance(secs(30));
    let probe = breaker.acquire().expect("half-open");
    let builder = waiting(secs(1)).when_rejected(WhenRejected::Wait).max_retries(2);
    let (error, took, asked) = rejected_call(&breaker, &rejections, retry(builder)).await;
    assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::ProbesBusy));
    assert_eq!((took, asked), (secs(2), 3));
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn c29_who_waits_does_not_wait_past_the_deadline() {
    for (deadline, retries) in [(secs(30), 0), (ms(30_001), 1)] {
        let (breaker, _clock, rejections) = open_breaker();
        let builder = waiting(secs(1)).when_rejected(WhenRejected::Wait).max_retries(1).deadline(deadline);
        let retry = RetryLayer::new(builder.build().expect("a configuration that works"));
        let guarded = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Ok));
        let before = timer_now();
        let error = retry.layer(guarded).oneshot(1).await.expect_err("open: the breaker's clock stands still");
        assert!(error.is::<Rejected>(), "not a timeout");
        assert_eq!((before.elapsed(), rejections.take().len()), (secs(30) * retries, 1 + retries as usize));
    }
}

#[tokio::test(start_paused = true)]
async fn c29_who_treats_rejections_as_failures_keeps_to_the_backoff_and_the_number_of_retries() {
    let (breaker, _clock, rejections) = open_breaker();
    let builder = waiting(secs(1)).when_rejected(WhenRejected::Retry).max_retries(4);
    let (error, took, asked) = rejected_call(&breaker, &rejections, retry(builder)).await;
    assert!(error.is::<Rejected>());
    assert_eq!((took, asked), (secs(4), 5));
}

#[tokio::test(start_paused = true)]
async fn c29_who_waits_does_not_wait_for_a_breaker_that_stays_open_longer_than_the_cap() {
    for (cap, took, asked) in [(secs(30), secs(30), 2), (just_under(secs(30)), Duration::ZERO, 1)] {
        let (breaker, _clock, rejections) = open_breaker();
        let builder = waiting(secs(1)).when_rejected(WhenRejected::Wait).max_retries(1).retry_after_cap(cap);
        let (error, waited, times) = rejected_call(&breaker, &rejections, retry(builder)).await;
        assert!(error.is::<Rejected>());
        assert_eq!((waited, times), (took, asked));
    }
}

#[test]
fn c29_an_endless_wait_for_a_breaker_is_cut_by_the_number_of_retries() {
    let (breaker, _clock, rejections) = open_breaker();
    breaker.set_override(Override::force_open("test"));
    let retry = retry(at_once().when_rejected(WhenRejected::Wait));
    assert!(retry.call_blocking(|| breaker.acquire().map(drop)).is_err());
    assert_eq!(rejections.take().len(), 4);
}

// 30

/// How long one call takes whose every attempt fails and asks for a wait of `after`.
async fn asked_to_wait(after: Duration, builder: RetryConfigBuilder) -> Duration {
    let pushback = move |_: &Result<u32, Down>| Outcome::FailureAfter(after);
    let before = timer_now();
    let result = retry(builder.max_retries(1)).classify(pushback).layer(Stub::new(Answer::Ok)).oneshot(7).await;
    assert_eq!(result, Ok(7), "the response comes back, though it counts as a failure");
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn c65_no_retry_comes_sooner_than_the_dependency_says_nor_than_the_backoff() {
    for after in [Duration::ZERO, ms(1), secs(1), secs(7), secs(300)] {
        let waited = asked_to_wait(after, waiting(secs(2))).await;
        let least = after.max(secs(2));
        assert!((least..=least + after / 10 + ms(1)).contains(&waited), "{after:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c65_callers_who_were_told_the_same_do_not_come_back_together() {
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(asked_to_wait(secs(10), waiting(ms(1))).await);
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(waits.iter().all(|wait| (secs(10)..=secs(11) + ms(1)).contains(wait)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn c65_a_wait_beyond_the_cap_ends_the_retries() {
    for after in [ms(300_001), secs(3_600), Duration::MAX] {
        for builder in
            [waiting(secs(2)), waiting(secs(2)).retry_after_cap(secs(10)), waiting(secs(2)).retry_after_cap(ms(0))]
        {
            let reasons = Record::default();
            let told = reasons.clone();
            let builder = builder.on_event(move |event| {
                if let RetryEventKind::Stopped { reason, .. } = event.kind() {
                    told.add(reason);
                }
            });
            assert_eq!(asked_to_wait(after, builder).await, Duration::ZERO, "never sooner than it said");
            assert_eq!(reasons.take(), [StopReason::RetryAfter]);
        }
    }
    assert!(
        asked_to_wait(secs(10), waiting(secs(2)).retry_after_cap(secs(10))).await >= secs(10),
        "the cap itself is allowed"
    );
}

#[tokio::test(start_paused = true)]
async fn c30_a_wait_that_the_dependency_asks_for_is_not_begun_where_it_would_end_past_the_deadline() {
    let pushback = |_: &Result<u32, Down>| Outcome::FailureAfter(secs(60));
    let builder = waiting(ms(1)).deadline(secs(60));
    let retry = RetryLayer::new(builder.build().expect("a configuration that works")).classify(pushback);
    let (before, stub) = (timer_now(), Stub::new(Answer::Err));
    let error = retry.layer(stub.clone()).oneshot(7).await.expect_err("down");
    assert!(error.is::<Down>());
    assert_eq!((before.elapsed(), stub.calls()), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn c30_the_backoff_goes_on_where_it_was_when_the_dependency_asks_for_nothing_any_more() {
    let mut n = 0;
    let pushback_once = move |result: &Result<(), u32>| match result {
        Err(2) => Outcome::FailureAfter(secs(50)),
        _ => Outcome::Failure,
    };
    let retry = retry(RetryConfig::builder().backoff([secs(1), secs(2), secs(4)])).classify(pushback_once);
    let before = timer_now();
    let down = || {
        n += 1;
        std::future::ready(Err(n))
    };
    assert_eq!(retry.call(down).await, Err(4));
    let waited = before.elapsed();
    assert!((secs(1 + 50 + 4)..=secs(1 + 50 + 4 + 5)).contains(&waited), "{waited:?}");
}

// 33

#[test]
fn c33_the_ten_thousandth_delay_of_every_curve_is_finite_and_within_its_cap() {
    let (min, max) = (ms(100), secs(10));
    for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::proportional(1.0)] {
        for factor in [1.0, 1.1, 2.0, 1e300, f64::MAX] {
            let curve = backoff::exponential(min..=max).factor(factor).jitter(jitter);
            assert!(curve.delays(7).skip(9_990).take(20).all(|delay| delay <= max), "{curve}");
        }
        let endless = backoff::exponential(min..=Duration::MAX).jitter(jitter);
        assert!(endless.delays(7).nth(10_000) > Some(YEAR), "{endless}");
    }
    assert_eq!(backoff::exponential(min..=max).jitter(Jitter::None).delays(7).nth(10_000), Some(max));
    assert_eq!(backoff::fixed(min).delays(7).nth(10_000), Some(min));
    assert!(backoff::decorrelated(min..=max).delays(7).skip(9_990).take(20).all(|delay| (min..=max).contains(&delay)));
    assert!(backoff::decorrelated(min..=Duration::MAX).delays(7).nth(10_000) > Some(YEAR));
}

#[tokio::test(start_paused = true)]
async fn c33_ten_thousand_retries_of_one_request_wait_no_longer_than_the_cap() {
    let curve = backoff::exponential(secs(1)..=secs(8)).jitter(Jitter::None);
    let stub = Stub::new(Answer::Err);
    let before = timer_now();
    let service = retry(RetryConfig::builder().backoff(curve).max_retries(10_000)).layer(stub.clone());
    assert_eq!(service.oneshot(1).await, Err(Down));
    assert_eq!(stub.calls(), 10_001);
    assert_eq!(before.elapsed(), secs(1 + 2 + 4 + 8 * 9_997));
}

#[tokio::test(start_paused = true)]
async fn c33_the_longest_delay_there_is_is_a_sleep_and_no_panic() {
    let stub = Stub::new(Answer::Err);
    let mut response = Box::pin(retry(waiting(Duration::MAX)).layer(stub.clone()).oneshot(1));
    assert!(poll_once(response.as_mut()).is_pending());
    tokio::time::advance(YEAR).await;
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(stub.calls(), 1);

    let config = waiting(Duration::MAX).deadline(Duration::MAX).attempt_timeout(Duration::MAX);
    let retry = RetryLayer::new(config.build().expect("a configuration that works"));
    let mut response = Box::pin(retry.layer(Stub::new(Answer::Hang)).oneshot(1));
    tokio::time::advance(YEAR).await;
    assert!(poll_once(response.as_mut()).is_pending(), "no limit within reach");
}
