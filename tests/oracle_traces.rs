//! Replays traces that were recorded from the two Python libraries, c-breaker and highway_circutbreaker.
//!
//! `FUSEBOX_TRACES=<file.jsonl>` names another file of the same format, `FUSEBOX_SKIP_TAGS=a,b` leaves traces with these
//! tags out. Default: `verdict_when_full`, because a half-open round is decided here as soon as it is certain, there when
//! its window is full.
//!
//! Traces of shared stores are replayed by that many breakers over one store in memory, each with an engine of its own, all
//! with the clock of the trace. Two things are the fleet's way here and not the seeds':
//!
//! - No call waits for the store, so before and after each event everybody sends and fetches what there is.
//! - A call that finds the cooldown over, or a round under way, is a probe only with a lease of the fleet's in hand,
//!   which is fetched in the background. Where such a call is rejected the lease is fetched, and the caller comes back
//!   once.
//!
//! A single breaker's traces are replayed by one over a store as well, and match without exception.
//!
//! Beside the recorded traces, `data/shared_traces.jsonl` holds some of the same format that were made by hand from the
//! rules.
#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test harness")]

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fusebox::backoff::{self, Backoff};
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, Classify,
    ConfigError, Cooldown, Jitter, ManualClock, Outcome, Probes, Rejected, RetryConfig, RetryConfigBuilder, RetryLayer,
    SafetyNet, State,
    circuit_breaker::RejectReason,
    classify::{self, AtHead},
    clock::Timestamp,
    detect::{self, Call, Detector, LoadError, Tally},
    rejection,
    retry::{RetryEventKind, StopReason, WhenRejected},
};
use futures::channel::oneshot;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use support::{Record, timer_now};
use tokio::runtime::Runtime;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[derive(Deserialize)]
struct Trace {
    id: String,
    system: String,
    quirk: Option<Value>,
    #[serde(default)]
    tags: Vec<String>,
    store: Option<String>,
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "only a fleet has instances"))]
    #[serde(default)]
    instances: usize,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    config_error: bool,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    expect: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Event {
    at_ms: u64,
    op: String,
    outcome: Option<String>,
    call: Option<u64>,
    #[serde(default)]
    script: Vec<String>,
    attempt: Option<i64>,
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "only a fleet has instances"))]
    #[serde(default)]
    instance: usize,
}

/// The custom detector of c-breaker's README.
#[derive(Clone, Debug)]
struct Decrementing {
    failures: u64,
    most: u64,
}

impl Detector for Decrementing {
    fn record(&mut self, call: &Call) {
        self.failures = if call.failed() { self.failures + 1 } else { self.failures.saturating_sub(1) };
    }
    fn verdict(&self, _now: Timestamp) -> bool {
        self.failures >= self.most
    }
    fn reset(&mut self) {
        self.failures = 0;
    }
    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.failures)
    }
    fn save(&self) -> Vec<u8> {
        self.failures.to_le_bytes().to_vec()
    }
    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.failures = u64::from_le_bytes(bytes.try_into().map_err(|_| LoadError::new("eight bytes"))?);
        Ok(())
    }
}

// ── configurations ──────────────────────────────────────────────────────────
fn number(config: &Map<String, Value>, key: &str, default: u64) -> u64 {
    config.get(key).and_then(Value::as_u64).unwrap_or(default)
}

fn small(config: &Map<String, Value>, key: &str, default: u64) -> u32 {
    u32::try_from(number(config, key, default)).unwrap_or(0)
}

fn ratio(config: &Map<String, Value>, key: &str) -> Option<(u32, u32)> {
    serde_json::from_value(config.get(key)?.clone()).ok()
}

fn c_breaker(config: &Map<String, Value>) -> Result<CircuitBreakerConfigBuilder, ConfigError> {
    let ms = |key, default| Duration::from_millis(number(config, key, default));
    let failures = detect::failures(small(config, "failure_threshold", 5)).within(ms("time_window_ms", 60_000));
    let rate = config.get("failure_rate_threshold").and_then(Value::as_f64).unwrap_or(0.5);
    let window = small(config, "window_size", 10);
    // The seed's default, also where it is more than the window and the seed refuses it.
    let sliding = detect::failure_rate(rate).of_last(window).min_calls(small(config, "min_calls", 5));
    let builder = CircuitBreakerConfig::builder("trace")
        .cooldown(Cooldown::fixed(ms("recovery_timeout_ms", 30_000)))
        // The seed knows no deadline for probes.
        .probes(Probes::one().concurrent(small(config, "half_open_max_calls", 1)).deadline(Duration::MAX));
    Ok(match config.get("detector").and_then(Value::as_str).unwrap_or("time_based") {
        "time_based" => builder.detector(failures),
        "sliding_window" => builder.detector(sliding),
        "combined" if config.get("require_both") == Some(&json!(true)) => builder.detector(failures.and(sliding)),
        "combined" => builder.detector(failures.or(sliding)),
        "custom_decrementing" => {
            builder.detector(Decrementing { failures: 0, most: number(config, "max_failures", 3) })
        }
        other => return Err(ConfigError::new("detector", &other, "a detector of c-breaker")),
    })
}

fn highway(config: &Map<String, Value>) -> CircuitBreakerConfigBuilder {
    let (n, d) = ratio(config, "failure_limit").unwrap_or((1, 1));
    // Without a success limit, half-open is judged by the failure limit: closed once n failures are out of reach.
    let (k, of) = ratio(config, "success_limit").unwrap_or(((d + 1).saturating_sub(n), d));
    CircuitBreakerConfig::builder("trace")
        .detector(detect::failures(n).of_last(d).min_calls(d))
        .probes(Probes::ratio(k, of).concurrent(of).deadline(Duration::MAX))
        .cooldown(Cooldown::fixed(Duration::from_millis(number(config, "cooldown_ms", 0))))
}

/// A time that need not be whole, refused where there is no such time.
fn time(config: &Map<String, Value>, key: &'static str) -> Result<Duration, ConfigError> {
    let given = config.get(key).unwrap_or(&Value::Null);
    let whole = given.as_u64().map(Duration::from_millis);
    let time = whole.or_else(|| Duration::try_from_secs_f64(given.as_f64()? / 1_000.0).ok());
    time.ok_or_else(|| ConfigError::new(key, given, "a time"))
}

/// The curve of a trace; without one there is no delay.
fn curve(config: &Value) -> Result<Arc<dyn Backoff>, ConfigError> {
    let Some(config) = config.as_object() else {
        return Ok(Arc::new(backoff::fixed(Duration::ZERO)));
    };
    let curve: Arc<dyn Backoff> = match config.get("kind").and_then(Value::as_str) {
        Some("fixed") => Arc::new(backoff::fixed(time(config, "delay_ms")?)),
        Some("exponential") => {
            let factor = config.get("factor").and_then(Value::as_f64).unwrap_or(2.0);
            let jitter = config.get("jitter").and_then(Value::as_f64).map_or(Jitter::None, Jitter::proportional);
            let range = time(config, "min_delay_ms")?..=time(config, "max_delay_ms")?;
            Arc::new(backoff::exponential(range).factor(factor).jitter(jitter))
        }
        other => return Err(ConfigError::new("kind", &format!("{other:?}"), "a curve of highway_circutbreaker")),
    };
    curve.check()?;
    Ok(curve)
}

/// A curve of any kind as the backoff of a retry.
struct Shared(Arc<dyn Backoff>);

impl Backoff for Shared {
    fn delays(&self, seed: u64) -> backoff::Delays {
        self.0.delays(seed)
    }
}

fn retries(config: &Map<String, Value>) -> Result<RetryConfigBuilder, ConfigError> {
    let given = config.get("max_retries").cloned().unwrap_or_else(|| json!(3));
    let retries = given.as_u64().and_then(|n| u32::try_from(n).ok());
    let retries = retries.ok_or_else(|| ConfigError::new("max_retries", &given, "a number"))?;
    let backoff = curve(config.get("backoff").unwrap_or(&Value::Null))?;
    Ok(RetryConfig::builder().max_retries(retries).backoff(Shared(backoff)).when_rejected(WhenRejected::Retry))
}

// ── the guarded service ─────────────────────────────────────────────────────
#[derive(Debug)]
enum Failure {
    Fail,
    Excluded,
    Rejected(Rejected),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

#[derive(Debug, PartialEq)]
enum Answer {
    Fine,
    Fallback,
}

type Request = oneshot::Receiver<Result<Answer, Failure>>;
type Guarded = BoxCloneSyncService<Request, Answer, Failure>;
type Transitions = Record<[&'static str; 2]>;
type Response = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

struct Bench {
    service: Guarded,
    breaker: CircuitBreaker,
    clock: ManualClock,
    admitted: Arc<AtomicUsize>,
    transitions: Transitions,
    running: Vec<(u64, oneshot::Sender<Result<Answer, Failure>>, Response)>,
}

fn guard<C>(breaker: CircuitBreaker, classifier: C, fallback: bool, admitted: Arc<AtomicUsize>) -> Guarded
where
    C: Classify<Answer, Failure, Scope = AtHead> + Clone + Send + Sync + 'static,
{
    let inner = tower::service_fn(move |request: Request| {
        admitted.fetch_add(1, Ordering::SeqCst);
        async move { request.await.expect("the trace says how the call ends") }
    });
    let layer = CircuitBreakerLayer::from(breaker).classify(classifier);
    if fallback {
        let layer = layer.fallback(|_: Request, _| async { Ok::<_, Failure>(Answer::Fallback) });
        BoxCloneSyncService::new(layer.layer(inner))
    } else {
        BoxCloneSyncService::new(layer.map_rejection(Failure::Rejected).layer(inner))
    }
}

/// A breaker that notes its transitions.
fn breaker(
    builder: CircuitBreakerConfigBuilder,
    clock: ManualClock,
) -> Result<(CircuitBreaker, Transitions), ConfigError> {
    let transitions = Transitions::default();
    let seen = transitions.clone();
    let noting = move |_: &CircuitBreaker, old: State, new: State| seen.add([old.as_str(), new.as_str()]);
    Ok((CircuitBreaker::new(builder.clock(clock).on_state_change(noting).build()?), transitions))
}

/// highway counts errors that are not to be handled as successes.
fn unhandled_is_success(result: &Result<Answer, Failure>) -> Outcome {
    match result {
        Ok(_) | Err(Failure::Excluded) => Outcome::Success,
        Err(_) => Outcome::Failure,
    }
}

impl Bench {
    fn new(trace: &Trace) -> Result<Self, ConfigError> {
        Self::made(trace, ManualClock::new(), |builder| builder)
    }

    fn made(
        trace: &Trace,
        clock: ManualClock,
        more: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> Result<Self, ConfigError> {
        let is_highway = trace.system == "highway";
        let builder = if is_highway { highway(&trace.config) } else { c_breaker(&trace.config)? };
        let (breaker, transitions) = breaker(more(builder), clock.clone())?;
        let admitted = Arc::new(AtomicUsize::new(0));
        let fallback = trace.config.get("fallback") == Some(&json!(true));
        let service = if is_highway {
            guard(breaker.clone(), unhandled_is_success, fallback, admitted.clone())
        } else {
            let excluded = classify::errors().exclude(|error: &Failure| matches!(error, Failure::Excluded));
            guard(breaker.clone(), excluded, fallback, admitted.clone())
        };
        Ok(Self { service, breaker, clock, admitted, transitions, running: Vec::new() })
    }

    /// Asks for a call and polls it once.
    fn send(&mut self, number: u64, outcome: Option<&str>, seen: &mut Map<String, Value>) {
        let before = self.admitted.load(Ordering::SeqCst);
        let (sender, receiver) = oneshot::channel();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(service)) = Pin::new(&mut self.service.clone().ready_oneshot()).poll(&mut cx) else {
            panic!("a rejection belongs into the response");
        };
        let mut response: Response = { service }.call(receiver);
        // Asked before it is told how to end: `call` and `begin` are the same up to here.
        let first = response.as_mut().poll(&mut cx);
        seen.insert("admitted".into(), json!(self.admitted.load(Ordering::SeqCst) > before));
        match (first, outcome) {
            (Poll::Ready(result), _) => result_of(&result, seen),
            (Poll::Pending, None) => self.running.push((number, sender, response)),
            (Poll::Pending, Some(outcome)) => end(outcome, sender, response, seen),
        }
    }
}

impl Bench {
    fn act(&mut self, event: &Event) -> Map<String, Value> {
        let mut seen = Map::new();
        let (number, outcome) = (event.call.unwrap_or(0), event.outcome.as_deref());
        match event.op.as_str() {
            "call" => self.send(0, outcome.or(Some("ok")), &mut seen),
            "begin" => self.send(number, None, &mut seen),
            "end" => {
                let at = self.running.iter().position(|(n, ..)| *n == number).expect("begun and admitted");
                let (_, sender, response) = self.running.remove(at);
                end(outcome.expect("an end has an outcome"), sender, response, &mut seen);
            }
            "trip" => self.breaker.trip().expect("no override"),
            "reset" => self.breaker.reset().expect("no override"),
            "state" => {}
            other => panic!("unknown operation {other}"),
        }
        seen
    }

    fn look(&self, seen: &mut Map<String, Value>) {
        let snapshot = self.breaker.snapshot();
        seen.insert("state".into(), json!(snapshot.state.as_str()));
        seen.insert("log".into(), json!(snapshot.recent.to_string()));
        seen.insert("transitions".into(), json!(self.transitions.take()));
        let parts = &snapshot.detectors;
        seen.insert("failure_count".into(), json!(parts[0].tally.count()));
        if let Some(sliding) = parts.iter().rfind(|part| part.tally.calls().is_some()) {
            seen.insert("window_failures".into(), json!(sliding.tally.count()));
            seen.insert("window_len".into(), json!(sliding.tally.calls()));
        }
    }
}

impl Player for Bench {
    fn perform(&mut self, event: &Event) -> Map<String, Value> {
        self.clock.set(Timestamp::from_nanos(event.at_ms * 1_000_000));
        let mut seen = self.act(event);
        self.look(&mut seen);
        seen
    }
}

/// Several breakers of one name over one store.
#[cfg(feature = "fleet")]
struct Fleet<'a> {
    trace: &'a Trace,
    benches: Vec<Bench>,
    clock: ManualClock,
    store: fusebox::store::MemoryStore,
}

#[cfg(feature = "fleet")]
impl<'a> Fleet<'a> {
    fn new(trace: &'a Trace) -> Result<Self, ConfigError> {
        let clock = ManualClock::new();
        let store = fusebox::store::MemoryStore::with_clock(clock.clone());
        let mut fleet = Self { trace, benches: Vec::new(), clock, store };
        for _ in 0..trace.instances {
            fleet.benches.push(fleet.bench()?);
        }
        Ok(fleet)
    }

    /// An instance; a handle of its own to the store gives it an engine of its own.
    fn bench(&self) -> Result<Bench, ConfigError> {
        let store = Arc::new(self.store.clone());
        Bench::made(self.trace, self.clock.clone(), |builder| builder.store(store))
    }

    fn flush(&self, at: usize) {
        futures::executor::block_on(self.benches[at].breaker.flush());
    }

    /// What this instance has to tell reaches all.
    fn flush_all(&self, first: usize) {
        self.flush(first);
        (0..self.benches.len()).for_each(|at| self.flush(at));
    }
}

#[cfg(feature = "fleet")]
impl Player for Fleet<'_> {
    fn perform(&mut self, event: &Event) -> Map<String, Value> {
        self.clock.set(Timestamp::from_nanos(event.at_ms * 1_000_000));
        let at = event.instance;
        self.flush_all(at);
        let mut seen = Map::new();
        if event.op == "restart" {
            let fresh = self.bench().expect("the same as before");
            self.benches[at] = fresh;
        } else {
            seen = self.benches[at].act(event);
            let breaker = &self.benches[at].breaker;
            let may_probe = breaker.state() != State::Closed && breaker.retry_after().is_none_or(|d| d.is_zero());
            if seen.get("admitted") == Some(&json!(false)) && may_probe {
                // Only once: the next flush gives back a lease that nobody has used.
                self.flush(at);
                seen = self.benches[at].act(event);
            }
        }
        self.flush_all(at);
        if event.op == "restart" {
            // What it finds is no news.
            self.benches[at].transitions.take();
        }
        self.benches[at].look(&mut seen);
        // What the others are told of is not part of a trace.
        self.benches.iter().for_each(|bench| drop(bench.transitions.take()));
        seen
    }
}

fn end(
    outcome: &str,
    sender: oneshot::Sender<Result<Answer, Failure>>,
    mut response: Response,
    seen: &mut Map<String, Value>,
) {
    let result = match outcome {
        "ok" => Ok(Answer::Fine),
        "fail" => Err(Failure::Fail),
        "excluded" => Err(Failure::Excluded),
        "cancel" => {
            seen.insert("result".into(), json!("cancelled"));
            return drop(response);
        }
        other => panic!("unknown outcome {other}"),
    };
    sender.send(result).expect("the call is running");
    match response.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result_of(&result, seen),
        Poll::Pending => panic!("the call has ended"),
    }
}

fn result_of(result: &Result<Answer, Failure>, seen: &mut Map<String, Value>) {
    let name = match result {
        Ok(Answer::Fine) => "ok",
        Ok(Answer::Fallback) => "fallback",
        Err(Failure::Fail | Failure::Excluded) => "error",
        Err(Failure::Rejected(rejected)) => {
            let left = rejected.retry_after().map(|d| d.as_secs_f64() * 1000.0);
            let is_busy = rejected.reason() == RejectReason::ProbesBusy;
            // The fleet tells a caller who came before there was a lease when to come back.
            assert!(is_busy || left.is_some());
            seen.insert("retry_after_ms".into(), json!(left));
            "rejected"
        }
    };
    seen.insert("result".into(), json!(name));
}

// ── delays, retries and safety nets ─────────────────────────────────────────
/// How many delays are drawn where a trace gives a range.
const DRAWS: u64 = 300;

struct Curve(Arc<dyn Backoff>);

impl Player for Curve {
    fn perform(&mut self, event: &Event) -> Map<String, Value> {
        // Delays are an iterator here: an attempt before the first has no place in it.
        let nth = event.attempt.and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
        let draw = |seed| self.0.delays(seed).nth(nth?).map(|delay| delay.as_secs_f64() * 1_000.0);
        let draws: Option<Vec<f64>> = (0..DRAWS).map(draw).collect();
        let Some(draws) = draws else {
            return Map::from_iter([("error".to_owned(), json!("invalid_attempt"))]);
        };
        let (low, high) = draws.iter().fold((f64::MAX, 0.0_f64), |(low, high), ms| (low.min(*ms), high.max(*ms)));
        let delay = if low < high { Value::Null } else { json!(low) };
        Map::from_iter([("range_ms".to_owned(), json!([low, high])), ("delay_ms".to_owned(), delay)])
    }
}

type Net = BoxCloneSyncService<(), Answer, BoxError>;

/// One or two policies around a service that follows a script.
struct Stack {
    net: Net,
    /// What the service is to answer; the last entry repeats.
    script: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
    waits: Record<Duration>,
    stops: Record<StopReason>,
    circuit: Option<(CircuitBreaker, Transitions)>,
    clock: ManualClock,
    runtime: Runtime,
}

impl Stack {
    fn new(policies: &[Value]) -> Result<Self, ConfigError> {
        let clock = ManualClock::new();
        let (script, calls) = (Arc::new(Mutex::new(Vec::<String>::new())), Arc::new(AtomicUsize::new(0)));
        let (steps, nth) = (script.clone(), calls.clone());
        let service = tower::service_fn(move |()| {
            let nth = nth.fetch_add(1, Ordering::SeqCst);
            let script = steps.lock().expect("not poisoned");
            ready(match script.get(nth).or(script.last()).map(String::as_str) {
                Some("ok") => Ok(Answer::Fine),
                Some("fail") => Err(Failure::Fail),
                Some("excluded") => Err(Failure::Excluded),
                other => panic!("unknown outcome {other:?}"),
            })
        });
        let of = |kind: &str| policies.iter().find_map(|policy| policy.get(kind)?.as_object());
        let (waits, stops) = (Record::default(), Record::default());
        let retry = of("retry").map(|config| {
            let (waits, stops, clock) = (waits.clone(), stops.clone(), clock.clone());
            retries(config)?
                .on_event(move |event| match event.kind() {
                    RetryEventKind::Retrying { after, .. } => {
                        // Before the wait, in which nobody else looks at this clock.
                        clock.advance(after);
                        waits.add(after);
                    }
                    RetryEventKind::Stopped { reason, .. } => stops.add(reason),
                    _ => {}
                })
                .build()
        });
        let retry = retry.transpose()?.map(RetryLayer::new);
        let circuit = of("circuit").map(|config| breaker(highway(config), clock.clone())).transpose()?;
        let layer = circuit
            .as_ref()
            .map(|(breaker, _)| CircuitBreakerLayer::from(breaker.clone()).classify(unhandled_is_success));
        // As the type of the error differs, so does what finds in it what is not to be retried.
        let excluded = classify::errors().exclude(|error: &Failure| matches!(error, Failure::Excluded));
        let excluded_source = classify::errors().exclude_source(|error: &Failure| matches!(error, Failure::Excluded));
        let retry_is_first = policies.first().is_some_and(|policy| policy.get("retry").is_some());
        let net = match (retry, layer) {
            (Some(retry), None) => {
                let net = SafetyNet::builder().retry(retry.classify(excluded)).build();
                Net::new(net.layer(service).map_err(BoxError::from))
            }
            (Some(retry), Some(circuit)) if retry_is_first => {
                let net = SafetyNet::builder().retry(retry.classify(excluded_source)).breaker(circuit).build();
                Net::new(net.layer(service))
            }
            (Some(retry), Some(circuit)) => {
                let net = SafetyNet::builder().breaker(circuit).retry(retry.classify(excluded)).build();
                Net::new(net.layer(service))
            }
            (None, _) => panic!("no net without a retry: {policies:?}"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        Ok(Self { net, script, calls, waits, stops, circuit, clock, runtime })
    }

    /// The error in the words of highway, and what is behind it.
    fn result_of(&self, result: &Result<Answer, BoxError>) -> (&'static str, Option<&'static str>) {
        let exhausted = self.stops.take().contains(&StopReason::MaxRetries);
        let Err(error) = result else {
            return ("ok", None);
        };
        match (error.downcast_ref::<Failure>(), rejection(&**error)) {
            (Some(Failure::Excluded), _) => ("unhandled", None),
            (Some(Failure::Fail), _) if exhausted => ("limit_reached", Some("fail")),
            (_, Some(_)) if exhausted => ("limit_reached", Some("rejected")),
            (_, Some(_)) => ("rejected", None),
            _ => panic!("an end without a reason: {error}"),
        }
    }
}

impl Player for Stack {
    fn perform(&mut self, event: &Event) -> Map<String, Value> {
        self.clock.set(Timestamp::from_nanos(event.at_ms * 1_000_000));
        self.script.lock().expect("not poisoned").clone_from(&event.script);
        self.calls.store(0, Ordering::SeqCst);
        let net = self.net.clone();
        let (result, elapsed) = self.runtime.block_on(async {
            let start = timer_now();
            (net.oneshot(()).await, start.elapsed())
        });
        let calls = self.calls.load(Ordering::SeqCst);
        let (result, cause) = self.result_of(&result);
        // No wait and a wait of zero are the same.
        let waits: Vec<_> = self.waits.take().into_iter().filter(|wait| !wait.is_zero()).collect();
        assert_eq!(elapsed, waits.iter().sum::<Duration>(), "what listeners are told is what is waited");
        let ms = |wait: Duration| wait.as_secs_f64() * 1_000.0;
        let mut seen = Map::from_iter([
            ("attempts".to_owned(), json!(calls)),
            ("inner_calls".to_owned(), json!(calls)),
            ("result".to_owned(), json!(result)),
            ("cause".to_owned(), json!(cause)),
            ("sleeps_ms".to_owned(), json!(waits.into_iter().map(ms).collect::<Vec<_>>())),
            ("elapsed_ms".to_owned(), json!(ms(elapsed))),
        ]);
        if let Some((breaker, transitions)) = &self.circuit {
            seen.insert("state".into(), json!(breaker.state().as_str()));
            seen.insert("transitions".into(), json!(transitions.take()));
        }
        seen
    }
}

// ── comparison ──────────────────────────────────────────────────────────────
/// What can be compared.
const FIELDS: [&str; 17] = [
    "admitted",
    "result",
    "retry_after_ms",
    "state",
    "transitions",
    "failure_count",
    "window_failures",
    "window_len",
    "log",
    "delay_ms",
    "range_ms",
    "error",
    "attempts",
    "inner_calls",
    "cause",
    "sleeps_ms",
    "elapsed_ms",
];

/// One system under test.
trait Player {
    /// Performs an event and tells what could be seen.
    fn perform(&mut self, event: &Event) -> Map<String, Value>;
}

fn player(trace: &Trace) -> Result<Box<dyn Player + '_>, ConfigError> {
    #[cfg(feature = "fleet")]
    if trace.store.is_some() {
        return Ok(Box::new(Fleet::new(trace)?));
    }
    Ok(match trace.system.as_str() {
        "c-breaker" | "highway" => Box::new(Bench::new(trace)?),
        "backoff" => Box::new(Curve(curve(&Value::Object(trace.config.clone()))?)),
        "retry" => Box::new(Stack::new(&[json!({ "retry": trace.config })])?),
        "safety-net" => {
            let policies = trace.config.get("policies").and_then(Value::as_array);
            Box::new(Stack::new(policies.expect("a safety net has policies"))?)
        }
        other => panic!("unknown system {other}"),
    })
}

/// Times are not exact in binary fractions of a millisecond; those that are drawn are given to a microsecond.
fn tolerance(field: &str) -> f64 {
    if ["delay_ms", "range_ms"].contains(&field) { 1e-3 } else { 1e-6 }
}

fn ends(range: &Value) -> Option<(f64, f64)> {
    Some((range.get(0)?.as_f64()?, range.get(1)?.as_f64()?))
}

fn same(field: &str, expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Array(_), Value::Array(_)) if field == "range_ms" => {
            let ((low, high), (least, most)) = (ends(expected).expect("two ends"), ends(seen).expect("two ends"));
            least >= low - tolerance(field) && most <= high + tolerance(field)
        }
        (Value::Array(expected), Value::Array(seen)) if field == "sleeps_ms" => {
            let expected: Vec<_> = expected.iter().filter(|ms| ms.as_f64() != Some(0.0)).collect();
            expected.len() == seen.len() && expected.iter().zip(seen).all(|(a, b)| same("", a, b))
        }
        _ => match (expected.as_f64(), seen.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < tolerance(field),
            _ => expected == seen,
        },
    }
}

/// Whether delays that ought to differ are all the same. The later of the two packages keeps to both ends, as we do.
fn is_stuck(expect: &Map<String, Value>, seen: &Map<String, Value>) -> bool {
    let has_extent = |range: &Value| ends(range).is_some_and(|(low, high)| low < high);
    let expected = expect.get("range_ms_086").or_else(|| expect.get("range_ms"));
    expected.is_some_and(has_extent) && !seen.get("range_ms").is_some_and(has_extent)
}

fn replay(trace: &Trace, mismatch: &mut dyn FnMut(String)) {
    let player = player(trace);
    if trace.config_error {
        if player.is_ok() {
            mismatch("expected the configuration to be refused, it was accepted".into());
        }
        return;
    }
    let mut player = match player {
        Ok(player) => player,
        Err(error) => return mismatch(format!("the configuration was refused: {error}")),
    };
    for (i, (event, expect)) in trace.events.iter().zip(&trace.expect).enumerate() {
        let seen = player.perform(event);
        if is_stuck(expect, &seen) {
            mismatch(format!("event {i}: range_ms: all draws are the same"));
        }
        let mut expect = expect.clone();
        // Absent means that there were none.
        let unknown = if trace.store.is_some() && trace.system == "highway" { Some("transitions") } else { None };
        let lists = ["transitions", "sleeps_ms"].into_iter().filter(|list| unknown != Some(*list));
        for list in lists.filter(|list| seen.contains_key(*list)) {
            expect.entry(list).or_insert_with(|| json!([]));
        }
        for (field, expected) in expect.iter().filter(|(field, _)| FIELDS.contains(&field.as_str())) {
            let seen = seen.get(field).unwrap_or(&Value::Null);
            if !same(field, expected, seen) {
                mismatch(format!("event {i}: {field}: expected {expected}, seen {seen}"));
            }
        }
    }
}

/// What came of a file of traces.
#[derive(Debug, Default)]
struct Played {
    replayed: usize,
    skipped: usize,
    mismatches: usize,
}

/// Plays the traces of a file as `prepare` makes them, which leaves one out by `None`.
fn play(file: &str, skip: &[&str], prepare: impl Fn(Trace) -> Option<Trace>) -> Played {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut played = Played::default();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let trace: Trace = serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", n + 1));
        let Some(trace) = prepare(trace) else {
            continue;
        };
        let tagged = trace.tags.iter().any(|tag| skip.contains(&tag.as_str()));
        let unshared = trace.store.is_some() && cfg!(not(feature = "fleet"));
        if tagged || trace.quirk.is_some() || unshared {
            played.skipped += 1;
            continue;
        }
        played.replayed += 1;
        replay(&trace, &mut |what| {
            played.mismatches += 1;
            println!("{}: {what}", trace.id);
        });
    }
    println!("traces: {} replayed, {} skipped, {} mismatches", played.replayed, played.skipped, played.mismatches);
    played
}

/// Those that were recorded, or others that were asked for.
fn recorded() -> String {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces.jsonl");
    std::env::var("FUSEBOX_TRACES").unwrap_or_else(|_| usual.into())
}

#[test]
fn oracle_traces() {
    let file = recorded();
    let skip = std::env::var("FUSEBOX_SKIP_TAGS").unwrap_or_else(|_| "verdict_when_full".into());
    let skip: Vec<&str> = skip.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
    let played = play(&file, &skip, Some);
    assert_eq!(played.mismatches, 0, "see above");
    assert!(played.replayed > 0, "no trace was replayed");
}

/// A fleet of one is the breaker: traces of a single breaker, by a breaker that shares its state with no other.
#[cfg(feature = "fleet")]
#[test]
fn one_instance_over_a_store_follows_the_traces_of_a_breaker_without_one() {
    let played = play(&recorded(), &["verdict_when_full"], |trace| {
        let is_breaker = ["c-breaker", "highway"].contains(&trace.system.as_str());
        (is_breaker && trace.store.is_none()).then(|| Trace { store: Some("alone".into()), instances: 1, ..trace })
    });
    assert_eq!(played.mismatches, 0, "see above");
    assert!(played.replayed > 0, "no trace was replayed");
}

#[cfg(feature = "fleet")]
#[test]
fn instances_that_share_a_store_follow_the_same_rules_as_one() {
    let played = play(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/shared_traces.jsonl"), &[], Some);
    assert_eq!((played.mismatches, played.skipped), (0, 0), "see above");
    assert!(played.replayed >= 10, "{played:?}");
}
