//! When a call begins, and what is left of one that is given up, panics or is polled again.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;

use fusebox::{ManualClock, State, detect};
use futures::executor::block_on;

use super::*;
use crate::support::poll_once;

type Answer = Result<u32, &'static str>;

/// Opens at one failure; calls given up after ten seconds are failures. Its cooldown is over at once.
fn touchy() -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    let config = CircuitBreakerConfig::builder("touchy")
        .detector(detect::consecutive_failures(1))
        .cooldown(Duration::ZERO)
        .abandoned_after(Duration::from_secs(10))
        .clock(clock.clone());
    (CircuitBreaker::new(config.build().unwrap()), clock)
}

/// A function that makes the future of a call.
type Made = fn() -> Pin<Box<dyn Future<Output = Answer>>>;

/// Every way to make that call, by name.
fn ways(breaker: &CircuitBreaker, f: Made) -> Vec<(&'static str, Pin<Box<dyn Future<Output = Option<u32>> + '_>>)> {
    let classified = breaker.classify(classify::errors());
    let wrapped = breaker.wrap(move |(): ()| f());
    let layer = CircuitBreakerLayer::from(breaker.clone()).map_rejection(|_: Rejected| "rejected");
    let net = SafetyNet::builder().breaker(layer).build();
    let retry = RetryLayer::new(RetryConfig::builder().max_retries(0).build().unwrap());
    vec![
        ("call", Box::pin(async move { breaker.call(f).await.ok() })),
        ("call_or", Box::pin(async move { breaker.call_or(f, |_| ready(Err("rejected"))).await.ok() })),
        ("classify", Box::pin(async move { classified.call(f).await.ok() })),
        ("wrap", Box::pin(async move { wrapped.call(()).await.ok() })),
        ("safety net", Box::pin(async move { net.call(f).await.ok() })),
        ("within a retry", Box::pin(async move { retry.call(|| breaker.call(f)).await.ok() })),
    ]
}

#[test]
fn nothing_happens_before_the_future_is_polled() {
    let (breaker, _) = touchy();
    for (way, future) in ways(&breaker, || panic!("the future has not been polled")) {
        drop(future);
        assert_eq!(breaker.state(), State::Closed, "{way}");
    }
    let called = Cell::new(0);
    let call = breaker.call(|| {
        called.set(called.get() + 1);
        ready(Ok::<_, &str>(7))
    });
    breaker.trip().unwrap();
    assert_eq!(called.get(), 0);
    assert_eq!(breaker.state(), State::Open, "and no probe is taken");
    assert_eq!(block_on(call).unwrap(), 7, "the breaker is asked when the future is polled");
    assert_eq!((called.get(), breaker.state()), (1, State::Closed));

    let attempts = Cell::new(0);
    let stats = fusebox::retry::RetryStats::new();
    let retry = RetryLayer::new(RetryConfig::builder().stats(stats.clone()).build().unwrap());
    drop(retry.call(|| {
        attempts.set(attempts.get() + 1);
        ready(Err::<(), _>("down"))
    }));
    assert_eq!((attempts.get(), stats.counts().calls), (0, 0));
}

#[test]
fn a_call_that_is_given_up_counts_only_after_abandoned_after() {
    let (breaker, clock) = touchy();
    for (way, mut future) in ways(&breaker, || Box::pin(pending())) {
        assert!(poll_once(future.as_mut()).is_pending());
        clock.advance(Duration::from_secs(9));
        drop(future);
        assert_eq!(breaker.state(), State::Closed, "{way}");
    }
    for (way, mut future) in ways(&breaker, || Box::pin(pending())) {
        assert!(poll_once(future.as_mut()).is_pending());
        clock.advance(Duration::from_secs(10));
        drop(future);
        assert_eq!(breaker.state(), State::Open, "{way}");
        breaker.reset().unwrap();
    }
}

#[test]
fn a_probe_that_is_given_up_is_free_at_once() {
    let (breaker, _) = touchy();
    for (way, mut future) in ways(&breaker, || Box::pin(pending())) {
        breaker.trip().unwrap();
        assert!(poll_once(future.as_mut()).is_pending());
        assert!(breaker.acquire().is_err(), "{way} has the only probe");
        drop(future);
        drop(breaker.acquire().unwrap());
        breaker.reset().unwrap();
    }
}

#[test]
fn a_panic_is_a_failure_wherever_it_happens_and_while_the_future_is_kept() {
    let (breaker, _) = touchy();
    let made: [Made; 2] = [|| panic!("in the function"), || Box::pin(async { panic!("in its future") })];
    for f in made {
        for (way, mut future) in ways(&breaker, f) {
            assert!(catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))).is_err());
            assert_eq!(breaker.state(), State::Open, "{way}");
            breaker.reset().unwrap();
            drop(future);
            assert_eq!(breaker.state(), State::Closed, "{way}: and it is told once");
        }
    }
}

#[test]
fn a_future_that_is_polled_after_its_end_stays_pending() {
    let (breaker, _) = touchy();
    let classified = breaker.classify(classify::errors());
    let wrapped = breaker.wrap(|n: u32| ready(Ok::<_, &str>(n)));
    let retry = RetryLayer::new(RetryConfig::default());
    macro_rules! ends_once {
        ($future:expr) => {{
            let mut future = Box::pin($future);
            assert!(poll_once(future.as_mut()).is_ready());
            assert!(poll_once(future.as_mut()).is_pending());
        }};
    }
    ends_once!(breaker.call(|| ready(Ok::<_, &str>(7))));
    ends_once!(classified.call(|| ready(Ok::<_, &str>(7))));
    ends_once!(wrapped.call(7));
    ends_once!(breaker.call_or(|| ready(Ok::<_, &str>(7)), |_| ready(Ok(0))));
    ends_once!(retry.call(|| ready(Ok::<_, &str>(7))));
    let net = SafetyNet::builder().build();
    ends_once!(net.call(|| ready(Ok::<_, &str>(7))));
    breaker.set_override(fusebox::Override::force_open("test"));
    ends_once!(breaker.call(|| ready(Ok::<_, &str>(7))));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn what_a_call_holds_is_free_before_its_end_is_told_and_before_a_fallback_begins() {
    /// Says when it is dropped.
    struct Held<'a>(&'a RefCell<Vec<&'static str>>);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().push("free");
        }
    }

    let happened = RefCell::new(Vec::new());
    let (breaker, _) = touchy();
    let tells = breaker.classify(|result: &Answer| {
        happened.borrow_mut().push("judged");
        if result.is_ok() { Outcome::Success } else { Outcome::Failure }
    });
    let held = Held(&happened);
    let answer = tells.call(|| {
        std::future::poll_fn(move |_| {
            let _kept = &held;
            std::task::Poll::Ready(Ok::<_, &str>(7))
        })
    });
    assert_eq!(block_on(answer).unwrap(), 7);
    assert_eq!(happened.take(), ["free", "judged"]);

    breaker.set_override(fusebox::Override::force_open("test"));
    let held = Held(&happened);
    let call = breaker.call_or(
        move || {
            let _kept = held;
            ready(Ok::<_, &str>(7))
        },
        |_| {
            happened.borrow_mut().push("fallback");
            ready(Ok(0))
        },
    );
    assert_eq!(block_on(call), Ok(0));
    assert_eq!(happened.take(), ["free", "fallback"]);
}

/// A future is `Send` where its parts are, and there only; on one thread it is used all the same.
#[test]
fn calls_of_what_stays_on_its_thread() {
    let (breaker, _) = touchy();
    let shared = Rc::new(Cell::new(0));
    let count = {
        let shared = Rc::clone(&shared);
        move || {
            let shared = Rc::clone(&shared);
            async move {
                shared.set(shared.get() + 1);
                Ok::<_, Rc<str>>(shared.get())
            }
        }
    };
    let retry = RetryLayer::new(RetryConfig::default());
    let wrapped = breaker.wrap(|n: Rc<u32>| async move { Ok::<_, Rc<str>>(*n) });
    block_on(async {
        assert_eq!(breaker.call(&count).await.unwrap(), 1);
        assert_eq!(breaker.call_or(&count, |_| ready(Ok(0))).await.unwrap(), 2);
        assert_eq!(breaker.classify(classify::errors()).call(&count).await.unwrap(), 3);
        assert_eq!(retry.call(&count).await.unwrap(), 4);
        assert_eq!(SafetyNet::builder().build().call(&count).await.unwrap(), 5);
        assert_eq!(wrapped.call(Rc::new(6)).await.unwrap(), 6);
    });
}
