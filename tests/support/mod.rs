//! What several test files share.

use std::collections::VecDeque;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Clock, ManualClock, Outcome, Permit, State,
    clock::{SystemClock, Timestamp},
    detect,
};
use tower::Service;

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A millisecond less.
pub(crate) const fn just_under(duration: Duration) -> Duration {
    duration.saturating_sub(ms(1))
}

/// The time on the system's clock, which is tokio's with the feature `testing`.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// The time of tokio's timers, which a paused runtime moves: with any features.
#[expect(clippy::disallowed_methods, reason = "tests look at the clock that they pause")]
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A configuration named `test`.
pub(crate) fn config(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> CircuitBreakerConfig {
    f(CircuitBreakerConfig::builder("test")).build().expect("a configuration that works")
}

/// A breaker named `test` for which time stands still, with its clock.
pub(crate) fn breaker(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    // Not at the clock's origin, so that zero is not mistaken for a time.
    clock.advance(secs(100_000));
    let config = config(|builder| f(builder.clock(clock.clone())));
    (CircuitBreaker::new(config), clock)
}

/// A breaker that trips at `n` failures in a row; cooldown 30 s.
pub(crate) fn tripping_at(n: u32) -> (CircuitBreaker, ManualClock) {
    breaker(|builder| builder.detector(detect::consecutive_failures(n)))
}

/// Makes `n` calls that end so, one after another.
pub(crate) fn report(breaker: &CircuitBreaker, n: u32, outcome: Outcome) {
    for _ in 0..n {
        breaker.acquire().expect("the breaker lets calls through").report(outcome);
    }
}

pub(crate) fn fail(breaker: &CircuitBreaker, n: u32) {
    report(breaker, n, Outcome::Failure);
}

pub(crate) fn succeed(breaker: &CircuitBreaker, n: u32) {
    report(breaker, n, Outcome::Success);
}

/// Trips the breaker and waits for its cooldown; the permit is that of the first probe.
pub(crate) fn first_probe(breaker: &CircuitBreaker, clock: &ManualClock) -> Permit {
    breaker.trip().expect("no override stands");
    clock.advance(breaker.retry_after().expect("it is open"));
    let permit = breaker.acquire().expect("the cooldown is over");
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(permit.is_probe());
    permit
}

/// The number of failures in the breaker's window.
pub(crate) fn failures(breaker: &CircuitBreaker) -> u64 {
    breaker.snapshot().detectors.iter().map(|part| part.tally.count()).sum()
}

/// Fills memory that was a dropped breaker's with others, which trip at one failure. Places rest for a while before they
/// are used again, so it takes many.
pub(crate) fn reuse_places() -> Vec<CircuitBreaker> {
    let make = || CircuitBreaker::new(config(|builder| builder.detector(detect::consecutive_failures(1))));
    drop((0..2_000).map(|_| make()).collect::<Vec<_>>());
    (0..3_000).map(|_| make()).collect()
}

/// A list that listeners write and tests read.
#[derive(Debug)]
pub(crate) struct Record<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Record<T> {
    pub(crate) fn add(&self, item: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }

    /// What is in.
    pub(crate) fn all(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes out what is in.
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs `f` on a thread of its own and fails the test when it does not come back: a deadlock becomes a message.
pub(crate) fn no_deadlock<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let thread = std::thread::spawn(move || done.send(f()));
    match result.recv_timeout(secs(20)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(_) => panic!("the thread left without a result"),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::<Self>::default();
        (wakes.clone(), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once, for a caller who does not care about being woken.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a [`Stub`] does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Err,
    /// Never.
    Hang,
    /// When its future is polled.
    Panic,
    /// In `call` itself.
    PanicInCall,
    /// `Ok` after the future was pending so many times.
    After(usize),
    /// After this much time on tokio's clock.
    In(Duration),
}

/// Whether a [`Stub`] gets ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Yes,
    Never,
    Error,
}

/// The error of a [`Stub`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("down")
    }
}

impl std::error::Error for Down {}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    /// Those of the next calls, before `answer`.
    script: Mutex<VecDeque<Answer>>,
    ready: Mutex<Ready>,
    calls: AtomicUsize,
    asked: AtomicUsize,
}

/// A service that answers as it is told, counts its calls, and panics when one comes without readiness. The response is
/// the request.
#[derive(Debug)]
pub(crate) struct Stub {
    shared: Arc<Shared>,
    is_ready: bool,
}

impl Clone for Stub {
    /// Readiness is not cloned, as Tower's contract allows.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), is_ready: false }
    }
}

impl Stub {
    pub(crate) fn new(answer: Answer) -> Self {
        let shared = Shared {
            answer: Mutex::new(answer),
            script: Mutex::default(),
            ready: Mutex::new(Ready::Yes),
            calls: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared), is_ready: false }
    }

    /// Answers one after another; the last one goes on.
    pub(crate) fn in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut script: VecDeque<_> = answers.into_iter().collect();
        let stub = Self::new(script.pop_back().expect("an answer"));
        *stub.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
        stub
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    pub(crate) fn gets_ready(&self, ready: Ready) {
        *self.shared.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// How many calls reached it.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// How often it was asked whether it is ready.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Service<u32> for Stub {
    type Response = u32;
    type Error = Down;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Down>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Down>> {
        self.shared.asked.fetch_add(1, Ordering::SeqCst);
        match *self.shared.ready.lock().unwrap_or_else(PoisonError::into_inner) {
            Ready::Yes => {
                self.is_ready = true;
                Poll::Ready(Ok(()))
            }
            Ready::Never => Poll::Pending,
            Ready::Error => Poll::Ready(Err(Down)),
        }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let scripted = self.shared.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let usual = *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner);
        match scripted.unwrap_or(usual) {
            Answer::Ok => Box::pin(ready(Ok(request))),
            Answer::Err => Box::pin(ready(Err(Down))),
            Answer::Hang => Box::pin(pending()),
            Answer::Panic => Box::pin(async { panic!("the stub was told to panic") }),
            Answer::PanicInCall => panic!("the stub was told to panic in call"),
            Answer::After(times) => Box::pin(async move {
                pending_times(times).await;
                Ok(request)
            }),
            Answer::In(time) => Box::pin(async move {
                tokio::time::sleep(time).await;
                Ok(request)
            }),
        }
    }
}

/// A future that is pending `times` times, and asks to be polled again each time.
pub(crate) fn pending_times(mut times: usize) -> impl Future<Output = ()> + Send {
    std::future::poll_fn(move |cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
