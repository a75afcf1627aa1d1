//! What an application has: dependencies that count who reaches them, and breakers and retries in front of them.

use std::future::{pending, ready};
use std::sync::Arc;

use fusebox::clock::Timestamp;
use fusebox::detect::{Call, ConsecutiveFailures, Detector, LoadError, Tally as WindowTally, consecutive_failures};
use fusebox::retry::RetryStats;
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, RetryConfig,
    RetryConfigBuilder, RetryLayer, classify, rejection,
};
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Down, ms};
use crate::tally::{Subject, Tally, labels};

/// What a call asks of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Succeed,
    Fail,
    /// What the caller did wrong: no failure of the dependency.
    Refuse,
    Hang,
}

/// What a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Success,
    Failure,
    Refusal,
    Rejected,
}

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such order")
    }
}

impl std::error::Error for Refused {}

/// Names and counters of one test.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    who: &'static str,
    pub(crate) tally: Tally,
}

/// A dependency behind a breaker, and maybe behind retries.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    pub(crate) breaker: CircuitBreaker,
    subject: Subject,
    tally: Tally,
    service: BoxCloneSyncService<Ask, (), BoxError>,
    hangs: Arc<Notify>,
}

impl Stage {
    /// All names of its breakers begin with `who`: tests may share a process.
    pub(crate) fn new(who: &'static str) -> Self {
        Self { who, tally: Tally::default() }
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.who)
    }

    /// A breaker whose listener counts.
    pub(crate) fn breaker(
        &self,
        name: &str,
        f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> (CircuitBreaker, Subject) {
        let name = self.name(name);
        let (subject, tally) = (Subject::breaker(&name), self.tally.clone());
        let heard = subject.clone();
        let config = f(CircuitBreakerConfig::builder(&name)).on_event(move |event| tally.hear(&heard, event));
        let breaker = CircuitBreaker::new(config.build().expect("a configuration that works"));
        self.tally.made(&subject);
        (breaker, subject)
    }

    /// A dependency behind such a breaker.
    pub(crate) fn guarded(
        &self,
        name: &str,
        f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> Guarded {
        let (breaker, subject) = self.breaker(name, f);
        Guarded::new(breaker, subject, self.tally.clone())
    }

    /// Retries whose listener counts; two retries, each after ten milliseconds.
    pub(crate) fn retry(&self, name: &str, f: impl FnOnce(RetryConfigBuilder) -> RetryConfigBuilder) -> RetryLayer {
        let (name, tally) = (self.name(name), self.tally.clone());
        let builder = RetryConfig::builder().max_retries(2).backoff(fusebox::backoff::fixed(ms(10)));
        let builder = f(builder).stats(RetryStats::named(&name));
        let config = builder.on_event(move |event| tally.hear_retry(&name, event));
        RetryLayer::new(config.build().expect("a configuration that works"))
    }

    /// A call through retries, to a dependency that fails so many times before it succeeds.
    pub(crate) async fn retried(&self, layer: &RetryLayer, name: &str, failures: u32) -> bool {
        let (labels, tally, mut attempt) = (labels(&[("retry", &self.name(name))]), self.tally.clone(), 0);
        tally.add("fusebox_retry_calls_total", labels.clone(), 1.0);
        let called = layer.call(|| {
            attempt += 1;
            tally.add("fusebox_retry_attempts_total", labels.clone(), 1.0);
            ready(if attempt > failures { Ok(()) } else { Err(Down) })
        });
        called.await.is_ok()
    }

    /// A call through retries to a dependency whose circuit is open, so that its one attempt is rejected.
    pub(crate) async fn retried_in_vain(&self, layer: &RetryLayer, name: &str, open: &Guarded) {
        let labels = labels(&[("retry", &self.name(name))]);
        self.tally.add("fusebox_retry_calls_total", labels.clone(), 1.0);
        let error = layer.call(|| open.attempt(Ask::Succeed)).await.expect_err("it is open");
        assert!(rejection(&*error).is_some());
        self.tally.add("fusebox_retry_rejected_attempts_total", labels, 1.0);
    }
}

impl Guarded {
    fn new(breaker: CircuitBreaker, subject: Subject, tally: Tally) -> Self {
        let hangs = Arc::new(Notify::new());
        let (counted, of, hanging) = (tally.clone(), subject.clone(), hangs.clone());
        let dependency = service_fn(move |ask: Ask| {
            let (tally, subject, hangs) = (counted.clone(), of.clone(), hanging.clone());
            async move {
                match ask {
                    Ask::Succeed => {
                        tally.call(&subject, "success");
                        Ok(())
                    }
                    Ask::Fail => {
                        tally.call(&subject, "failure");
                        Err::<_, BoxError>(Down.into())
                    }
                    Ask::Refuse => {
                        tally.call(&subject, "ignored");
                        Err(Refused.into())
                    }
                    Ask::Hang => {
                        hangs.notify_one();
                        pending().await
                    }
                }
            }
        });
        let layer = CircuitBreakerLayer::from(breaker.clone());
        let layer = layer.classify(classify::errors().exclude(|error: &BoxError| error.is::<Refused>()));
        let service = BoxCloneSyncService::new(layer.layer(dependency));
        Self { breaker, subject, tally, service, hangs }
    }

    async fn attempt(&self, ask: Ask) -> Result<(), BoxError> {
        let mut service = self.service.clone();
        let result = service.ready().await?.call(ask).await;
        if let Some(rejected) = result.as_ref().err().and_then(|error| rejection(&**error)) {
            self.tally.rejection(&self.subject, rejected.reason().as_str());
        }
        result
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Seen {
        match self.attempt(ask).await {
            Ok(()) => Seen::Success,
            Err(error) if rejection(&*error).is_some() => Seen::Rejected,
            Err(error) if error.is::<Refused>() => Seen::Refusal,
            Err(_) => Seen::Failure,
        }
    }

    pub(crate) async fn ask_often(&self, ask: Ask, times: usize) {
        for _ in 0..times {
            self.ask(ask).await;
        }
    }

    /// A caller that gives up once its call has reached the dependency.
    pub(crate) async fn give_up(&self) {
        let service = self.clone();
        let call = tokio::spawn(async move { service.ask(Ask::Hang).await });
        self.hangs.notified().await;
        call.abort();
        assert!(call.await.is_err_and(|error| error.is_cancelled()));
        self.tally.call(&self.subject, "cancelled");
    }
}

/// The rule of most of its breakers.
pub(crate) const fn three_in_a_row() -> ConsecutiveFailures {
    consecutive_failures(3)
}

/// A detector of a user's own that has a mistake.
#[derive(Clone, Debug)]
pub(crate) struct Mistaken;

impl Detector for Mistaken {
    fn record(&mut self, _call: &Call) {
        panic!("a mistake, which this test wants")
    }
    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }
    fn tally(&self, _now: Timestamp) -> WindowTally {
        WindowTally::failures(0)
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }
}
