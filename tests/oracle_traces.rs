//! Replays traces that were recorded from the two Python libraries, c-breaker and highway_circutbreaker.
//!
//! `FUSEBOX_TRACES=<file.jsonl>` names another file of the same format, `FUSEBOX_SKIP_TAGS=a,b` leaves traces with these
//! tags out. Default: `verdict_when_full`, because a half-open round is decided here as soon as it is certain, there when
//! its window is full. Traces of systems that this release does not have (retries, shared stores) are counted as skipped.
#![expect(clippy::expect_used, clippy::panic, reason = "a test harness")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fusebox::{
    AtHead, Call, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Classify, ConfigError, Detector,
    LoadError, ManualClock, Outcome, Probes, RejectReason, Rejected, State, Tally, Timestamp, classify, detect,
};
use futures::channel::oneshot;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

#[derive(Deserialize)]
struct Trace {
    id: String,
    system: String,
    quirk: Option<Value>,
    #[serde(default)]
    tags: Vec<String>,
    store: Option<String>,
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
}

/// The custom detector of c-breaker's README.
#[derive(Debug)]
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

fn c_breaker(config: &Map<String, Value>) -> Result<fusebox::CircuitBreakerConfigBuilder, ConfigError> {
    let ms = |key, default| Duration::from_millis(number(config, key, default));
    let failures = detect::failures(small(config, "failure_threshold", 5)).within(ms("time_window_ms", 60_000));
    let rate = config.get("failure_rate_threshold").and_then(Value::as_f64).unwrap_or(0.5);
    let window = small(config, "window_size", 10);
    // The seed's default, also where it is more than the window and the seed refuses it.
    let sliding = detect::failure_rate(rate).of_last(window).min_calls(small(config, "min_calls", 5));
    let builder = CircuitBreakerConfig::builder("trace")
        .cooldown(ms("recovery_timeout_ms", 30_000))
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

fn highway(config: &Map<String, Value>) -> fusebox::CircuitBreakerConfigBuilder {
    let (n, d) = ratio(config, "failure_limit").unwrap_or((1, 1));
    // Without a success limit, half-open is judged by the failure limit: closed once n failures are out of reach.
    let (k, of) = ratio(config, "success_limit").unwrap_or(((d + 1).saturating_sub(n), d));
    CircuitBreakerConfig::builder("trace")
        .detector(detect::failures(n).of_last(d).min_calls(d))
        .probes(Probes::ratio(k, of).concurrent(of).deadline(Duration::MAX))
        .cooldown(Duration::from_millis(number(config, "cooldown_ms", 0)))
}

// ── the guarded service ─────────────────────────────────────────────────────
#[derive(Debug)]
enum Failure {
    Fail,
    Excluded,
    Rejected(Rejected),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Fine,
    Fallback,
}

type Request = oneshot::Receiver<Result<Answer, Failure>>;
type Guarded = BoxCloneSyncService<Request, Answer, Failure>;
type Response = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

struct Bench {
    service: Guarded,
    breaker: CircuitBreaker,
    clock: ManualClock,
    admitted: Arc<AtomicUsize>,
    transitions: Arc<Mutex<Vec<[&'static str; 2]>>>,
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

impl Bench {
    fn new(trace: &Trace) -> Result<Self, ConfigError> {
        let (clock, transitions) = (ManualClock::new(), Arc::new(Mutex::new(Vec::new())));
        let seen = transitions.clone();
        let is_highway = trace.system == "highway";
        let builder = if is_highway { highway(&trace.config) } else { c_breaker(&trace.config)? };
        let config = builder
            .clock(clock.clone())
            .on_state_change(move |_, old: State, new: State| {
                seen.lock().expect("not poisoned").push([old.as_str(), new.as_str()]);
            })
            .build()?;
        let breaker = CircuitBreaker::new(config);
        let admitted = Arc::new(AtomicUsize::new(0));
        let fallback = trace.config.get("fallback") == Some(&json!(true));
        let service = if is_highway {
            let unhandled_is_success = |result: &Result<Answer, Failure>| match result {
                Ok(_) | Err(Failure::Excluded) => Outcome::Success,
                Err(_) => Outcome::Failure,
            };
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

    fn perform(&mut self, event: &Event) -> Map<String, Value> {
        self.clock.set(Timestamp::from_nanos(event.at_ms * 1_000_000));
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
        let snapshot = self.breaker.snapshot();
        seen.insert("state".into(), json!(snapshot.state.as_str()));
        seen.insert("log".into(), json!(snapshot.recent.to_string()));
        let transitions = std::mem::take(&mut *self.transitions.lock().expect("not poisoned"));
        seen.insert("transitions".into(), json!(transitions));
        let parts = &snapshot.detectors;
        seen.insert("failure_count".into(), json!(parts[0].tally.count()));
        if let Some(sliding) = parts.iter().rfind(|part| part.tally.calls().is_some()) {
            seen.insert("window_failures".into(), json!(sliding.tally.count()));
            seen.insert("window_len".into(), json!(sliding.tally.calls()));
        }
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
            assert_eq!(left.is_none(), rejected.reason() == RejectReason::ProbesBusy);
            seen.insert("retry_after_ms".into(), json!(left));
            "rejected"
        }
    };
    seen.insert("result".into(), json!(name));
}

// ── comparison ──────────────────────────────────────────────────────────────
fn same(expected: &Value, seen: &Value) -> bool {
    match (expected.as_f64(), seen.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-6,
        _ => expected == seen,
    }
}

fn replay(trace: &Trace, mismatch: &mut dyn FnMut(String)) {
    let bench = Bench::new(trace);
    if trace.config_error {
        if bench.is_ok() {
            mismatch("expected the configuration to be refused, it was accepted".into());
        }
        return;
    }
    let mut bench = match bench {
        Ok(bench) => bench,
        Err(error) => return mismatch(format!("the configuration was refused: {error}")),
    };
    for (i, (event, expect)) in trace.events.iter().zip(&trace.expect).enumerate() {
        let seen = bench.perform(event);
        let mut expect = expect.clone();
        expect.entry("transitions").or_insert_with(|| json!([]));
        for (field, expected) in &expect {
            let known = ["admitted", "result", "retry_after_ms", "state", "transitions", "failure_count"];
            if !known.contains(&field.as_str()) && !["window_failures", "window_len", "log"].contains(&field.as_str()) {
                continue;
            }
            let seen = seen.get(field).unwrap_or(&Value::Null);
            if !same(expected, seen) {
                mismatch(format!("event {i}: {field}: expected {expected}, seen {seen}"));
            }
        }
    }
}

#[test]
fn oracle_traces() {
    let file = std::env::var("FUSEBOX_TRACES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces.jsonl").into());
    let skip = std::env::var("FUSEBOX_SKIP_TAGS").unwrap_or_else(|_| "verdict_when_full".into());
    let skip: Vec<&str> = skip.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (mut replayed, mut skipped, mut mismatches) = (0, 0, 0);
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let trace: Trace = serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", n + 1));
        let known = ["c-breaker", "highway"].contains(&trace.system.as_str());
        let tagged = trace.tags.iter().any(|tag| skip.contains(&tag.as_str()));
        if !known || tagged || trace.quirk.is_some() || trace.store.is_some() {
            skipped += 1;
            continue;
        }
        replayed += 1;
        replay(&trace, &mut |what| {
            mismatches += 1;
            println!("{}: {what}", trace.id);
        });
    }
    println!("traces: {replayed} replayed, {skipped} skipped, {mismatches} mismatches");
    assert_eq!(mismatches, 0, "see above");
    assert!(replayed > 0, "no trace was replayed");
}
