//! The numbers of the tables in the documentation, as they show in what the nets do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fusebox::retry::TimedOut;
use futures::future::{LocalBoxFuture, join_all};
use support::{just_under, ms, now, secs};
use tokio::time::{advance, timeout};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Fine,
    /// Fails in a way that is not worth a retry where that can be said.
    Broken,
    /// Fails in a way that is.
    Busy,
    Hangs,
}

/// A server whose mood can be changed.
#[derive(Clone)]
struct Server {
    mood: Arc<Mutex<Mood>>,
    calls: Arc<AtomicUsize>,
}

impl Server {
    async fn serve(self) -> Mood {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        mood
    }
}

type Call = Box<dyn Fn() -> LocalBoxFuture<'static, Option<BoxError>>>;

/// A net with a server inside, and what the documentation says of it.
struct Preset {
    server: Server,
    call: Call,
    attempts: usize,
    attempt: Duration,
    deadline: Duration,
    window: Duration,
    min_calls: usize,
    given_up_after: Duration,
    cooldown: (Duration, Duration),
}

impl Preset {
    fn is(&self, mood: Mood) {
        *self.server.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How many calls have reached the server.
    fn calls(&self) -> usize {
        self.server.calls.load(Ordering::SeqCst)
    }

    /// Makes a call; returns the wait that a rejection asks for, if it was rejected.
    async fn rejected(&self) -> Option<Duration> {
        let error = (self.call)().await?;
        Some(rejection(&*error)?.retry_after().expect("the circuit is open"))
    }

    /// Fails until the circuit opens; returns how many calls that took.
    async fn open(&self) -> usize {
        self.is(Mood::Broken);
        let before = self.calls();
        while self.rejected().await.is_none() {}
        self.calls() - before
    }

    /// Fails so often that once more opens the circuit.
    async fn almost_open(&self) {
        self.is(Mood::Broken);
        let before = self.calls();
        while self.calls() - before < self.min_calls - 1 {
            assert_eq!(self.rejected().await, None);
        }
        assert_eq!(self.calls() - before, self.min_calls - 1);
    }
}

fn server() -> Server {
    Server { mood: Arc::new(Mutex::new(Mood::Fine)), calls: Arc::default() }
}

fn database() -> Preset {
    let server = server();
    let (inner, net) = (server.clone(), SafetyNet::database("orders").expect("a name"));
    let call: Call = Box::new(move || {
        let (inner, net) = (inner.clone(), net.clone());
        Box::pin(async move {
            let query = || {
                let answer = inner.clone().serve();
                async { if answer.await == Mood::Fine { Ok(()) } else { Err(Down) } }
            };
            net.call(query).await.err()
        })
    });
    Preset {
        server,
        call,
        attempts: 3,
        attempt: secs(5),
        deadline: secs(10),
        window: secs(10),
        min_calls: 10,
        given_up_after: ms(4_500),
        cooldown: (secs(2), secs(30)),
    }
}

#[cfg(feature = "http")]
fn http_client() -> Preset {
    use http::{Request, Response};
    type Body = http_body_util::Empty<bytes::Bytes>;

    let server = server();
    let (inner, moody) = (server.clone(), server.clone());
    let service = tower::service_fn(move |_: Request<fusebox::retry::ReplayBody<Body>>| {
        let answer = inner.clone().serve();
        async move {
            let code = match answer.await {
                Mood::Fine => 200,
                Mood::Busy => 503,
                Mood::Broken | Mood::Hangs => 500,
            };
            Response::builder().status(code).body(())
        }
    });
    let client = SafetyNet::http("prices").expect("a name").layer(service);
    let call: Call = Box::new(move || {
        let client = client.clone();
        // What fails is not tried again.
        let broken = *moody.mood.lock().unwrap_or_else(PoisonError::into_inner) == Mood::Broken;
        let request = Request::builder().method(if broken { "POST" } else { "GET" }).body(Body::new());
        Box::pin(async move { client.oneshot(request.expect("a request")).await.err() })
    });
    Preset {
        server,
        call,
        attempts: 3,
        attempt: secs(10),
        deadline: secs(30),
        window: secs(30),
        min_calls: 20,
        given_up_after: secs(9),
        cooldown: (secs(5), secs(60)),
    }
}

#[cfg(feature = "grpc")]
fn grpc_client() -> Preset {
    use http::{Request, Response};
    use tonic::body::Body;

    let server = server();
    let inner = server.clone();
    let service = tower::service_fn(move |_: Request<Body>| {
        let answer = inner.clone().serve();
        async move {
            let code = match answer.await {
                Mood::Fine => "0",
                Mood::Busy => "14",
                Mood::Broken | Mood::Hangs => "13",
            };
            Response::builder().header("grpc-status", code).body(Body::empty())
        }
    });
    let client = SafetyNet::grpc("payments").expect("a name").layer(service);
    let call: Call = Box::new(move || {
        let client = client.clone();
        Box::pin(async move { client.oneshot(Request::new(Body::empty())).await.err() })
    });
    Preset {
        server,
        call,
        attempts: 4,
        attempt: secs(5),
        deadline: secs(15),
        window: secs(30),
        min_calls: 20,
        given_up_after: ms(4_500),
        cooldown: (secs(5), secs(60)),
    }
}

const PRESETS: &[fn() -> Preset] = &[
    database,
    #[cfg(feature = "http")]
    http_client,
    #[cfg(feature = "grpc")]
    grpc_client,
];

fn is_about(time: Duration, expected: Duration) -> bool {
    (expected.mul_f64(0.89)..expected.mul_f64(1.11)).contains(&time)
}

#[tokio::test(start_paused = true)]
async fn what_is_worth_a_retry_is_tried_as_often_as_documented() {
    for preset in PRESETS.iter().map(|preset| preset()) {
        preset.is(Mood::Busy);
        assert_eq!(preset.rejected().await, None);
        assert_eq!(preset.calls(), preset.attempts);
        preset.is(Mood::Fine);
        assert_eq!(preset.rejected().await, None);
        assert_eq!(preset.calls(), preset.attempts + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_opens_when_half_of_enough_calls_failed() {
    for preset in PRESETS {
        for successes in [0, 3, 15, 40] {
            let preset = preset();
            for _ in 0..successes {
                assert!((preset.call)().await.is_none());
            }
            let expected = successes.max(preset.min_calls.saturating_sub(successes));
            assert_eq!(preset.open().await, expected, "after {successes} successes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_looks_back_as_far_as_documented() {
    for (part, opens) in [(0.95, true), (1.05, false)] {
        for preset in PRESETS.iter().map(|preset| preset()) {
            preset.almost_open().await;
            advance(preset.window.mul_f64(part)).await;
            let before = preset.calls();
            preset.open().await;
            assert_eq!(preset.calls() - before, if opens { 1 } else { preset.min_calls }, "{part}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cooldowns_grow_between_their_bounds() {
    for preset in PRESETS.iter().map(|preset| preset()) {
        preset.open().await;
        let (first, last) = preset.cooldown;
        let mut expected = first;
        for _ in 0..8 {
            let wait = preset.rejected().await.expect("open");
            assert!(is_about(wait, expected), "{wait:?} instead of {expected:?}");
            advance(wait).await;
            let before = preset.calls();
            preset.rejected().await;
            assert_eq!(preset.calls() - before, 1, "the probe fails");
            expected = last.min(expected * 2);
        }
        advance(preset.rejected().await.expect("open")).await;
        preset.is(Mood::Fine);
        for _ in 0..5 {
            assert!((preset.call)().await.is_none(), "one probe that succeeds closes the circuit");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up_at_the_limits() {
    for preset in PRESETS.iter().map(|preset| preset()) {
        preset.is(Mood::Hangs);
        let before = now();
        let error = (preset.call)().await.expect("no answer");
        assert!(error.is::<TimedOut>());
        let took = now().since(before);
        assert!((preset.deadline..preset.deadline + ms(20)).contains(&took), "{took:?}");
        let attempts = preset.deadline.as_secs() / preset.attempt.as_secs();
        assert_eq!(preset.calls() as u64, attempts, "each took {:?}", preset.attempt);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_opens_the_circuit() {
    for preset in PRESETS.iter().map(|preset| preset()) {
        preset.is(Mood::Hangs);
        let before = now();
        let waits = join_all((0..preset.min_calls).map(|_| preset.rejected())).await;
        assert!(waits.iter().all(Option::is_some), "the second attempts were rejected");
        assert!(is_about(now().since(before), preset.attempt));
        assert_eq!(preset.calls(), preset.min_calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_from_outside_counts_from_the_documented_time_on() {
    for preset in PRESETS.iter().map(|preset| preset()) {
        for (limit, opens) in [(just_under(preset.given_up_after), false), (preset.given_up_after + ms(1), true)] {
            preset.is(Mood::Hangs);
            let given_up = (0..preset.min_calls).map(|_| timeout(limit, preset.rejected()));
            assert!(join_all(given_up).await.iter().all(Result::is_err));
            preset.is(Mood::Fine);
            assert_eq!(preset.rejected().await.is_some(), opens, "given up after {limit:?}");
        }
    }
}
