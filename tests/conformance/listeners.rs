//! 19: listeners run after the change, outside locks.

use super::*;

// 19

#[test]
fn c19_listeners_run_after_the_state_is_stored() {
    let seen = Record::default();
    let list = seen.clone();
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(1)).on_state_change(move |breaker, _, to| {
            let now = breaker.snapshot();
            list.add((to, breaker.state(), now.state, now.generation));
        })
    });
    fail(&breaker, 1);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    let seen = seen.take();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(to, state, snapshot, _)| to == state && to == snapshot));
    assert!(seen.windows(2).all(|pair| pair[0].3 < pair[1].3));
}

#[test]
fn c19_listeners_may_call_everything_on_the_breaker() {
    no_deadlock(|| {
        let (breaker, clock) = breaker(|b| {
            b.detector(detect::consecutive_failures(1)).on_event(|_| {}).on_state_change(|breaker, _, _| {
                drop(breaker.acquire());
                breaker.call_blocking(|| Ok::<_, ()>(())).ok();
                drop((breaker.state(), breaker.snapshot(), breaker.retry_after(), breaker.events(), breaker.name()));
                drop(breaker.clone());
                if breaker.is_open() {
                    breaker.set_override(Override::disable("from a listener"));
                    assert!(breaker.trip().is_err());
                    breaker.resume();
                    breaker.reset().expect("resumed");
                }
            })
        });
        for _ in 0..3 {
            fail(&breaker, 1);
            clock.advance(secs(30));
        }
        assert_eq!(breaker.state(), State::Closed);
    });
}

#[test]
fn c19_a_listener_that_panics_is_called_again_and_the_caller_does_not_notice() {
    let calls = Record::default();
    let list = calls.clone();
    let (breaker, clock) = breaker(|b| {
        b.on_state_change(move |_, _, to| {
            list.add(to);
            panic!("listener")
        })
    });
    first_probe(&breaker, &clock).success();
    assert_eq!(calls.take(), [State::Open, State::HalfOpen, State::Closed]);
    assert!(breaker.acquire().is_ok());
}

#[test]
fn c19_whoever_is_woken_may_call_the_breaker_at_once() {
    /// Runs what it is given when it is woken, as some executors do.
    struct RunOnWake(CircuitBreaker);
    impl std::task::Wake for RunOnWake {
        fn wake(self: Arc<Self>) {
            drop((self.0.snapshot(), self.0.events()));
        }
    }
    no_deadlock(|| {
        let (breaker, _clock) = breaker(|b| b);
        let waker = std::task::Waker::from(Arc::new(RunOnWake(breaker.clone())));
        let mut events = breaker.events();
        let polled =
            futures::Stream::poll_next(std::pin::Pin::new(&mut events), &mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        breaker.trip().expect("no override stands");
        assert!(breaker.is_open());
    });
}
