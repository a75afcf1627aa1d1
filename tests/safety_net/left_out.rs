//! Errors that the presets leave out, and other rules for them.

use std::cell::Cell;

use fusebox::State;
#[cfg(feature = "http")]
use fusebox::classify;

use super::*;

/// The caller's own: there is no fault in the dependency.
#[derive(Debug)]
struct SoldOut;

/// Its error for everything, with what it came from.
#[derive(Debug)]
struct OrderError(SoldOut);

impl std::fmt::Display for SoldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sold out")
    }
}

impl std::fmt::Display for OrderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not ordered")
    }
}

impl std::error::Error for SoldOut {}

impl std::error::Error for OrderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

const fn is_ours(_: &SoldOut) -> bool {
    true
}

fn state<L>(net: &SafetyNet<L>) -> State {
    net.breaker().expect("it has one").state()
}

#[tokio::test]
async fn the_callers_own_errors_open_no_circuit_and_are_tried_once_wherever_they_are() {
    let database = SafetyNet::database("orders").expect("a name");
    let excluding = SafetyNet::database("orders").expect("a name").exclude(is_ours);
    let asked = Cell::new(0);
    let ask = || asked.set(asked.get() + 1);
    for _ in 0..20 {
        let bare = || {
            ask();
            ready(Err::<(), _>(SoldOut))
        };
        assert!(excluding.call(bare).await.expect_err("sold out").is::<SoldOut>());
        let within = || {
            ask();
            ready(Err::<(), _>(OrderError(SoldOut)))
        };
        assert!(excluding.call(within).await.expect_err("sold out").is::<OrderError>());
    }
    assert_eq!((asked.take(), state(&excluding)), (40, State::Closed));
    let others = || {
        ask();
        ready(Err::<(), _>(Down))
    };
    for net in [excluding.call(others).await, database.call(others).await] {
        assert!(net.expect_err("down").is::<Down>());
    }
    assert_eq!(asked.take(), 6, "tried three times each");
    for _ in 0..20 {
        assert!(database.call(|| ready(Err::<(), _>(SoldOut))).await.is_err());
    }
    assert_eq!(state(&database), State::Open, "unless it is told");
}

/// Makes calls that fail with an error of the caller's own.
#[cfg(feature = "http")]
async fn twenty<L, B>(net: &SafetyNet<L>, body: impl Fn() -> B) -> (usize, State)
where
    L: Layer<Selling>,
    L::Service: Service<http::Request<B>, Error = BoxError>,
{
    let selling = Selling::default();
    for _ in 0..20 {
        let error = net.layer(selling.clone()).oneshot(http::Request::new(body())).await.err();
        assert!(error.expect("sold out").is::<OrderError>());
    }
    (selling.calls.load(std::sync::atomic::Ordering::SeqCst), state(net))
}

#[cfg(feature = "http")]
#[derive(Clone, Default)]
struct Selling {
    calls: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

#[cfg(feature = "http")]
impl<B> Service<http::Request<B>> for Selling {
    type Response = http::Response<String>;
    type Error = OrderError;
    type Future = std::future::Ready<Result<Self::Response, OrderError>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), OrderError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: http::Request<B>) -> Self::Future {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        ready(Err(OrderError(SoldOut)))
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn so_it_is_around_services() {
    let net = SafetyNet::http("shop").expect("a name").exclude(is_ours);
    assert_eq!(twenty(&net, http_body_util::Empty::<bytes::Bytes>::new).await, (20, State::Closed));
    #[cfg(feature = "grpc")]
    {
        let net = SafetyNet::grpc("shop").expect("a name").exclude(is_ours);
        assert_eq!(twenty(&net, tonic::body::Body::empty).await, (20, State::Closed));
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn another_rule_is_that_of_the_retry_and_the_breaker() {
    type Body = http_body_util::Empty<bytes::Bytes>;
    let spent = || {
        tower::service_fn(|_: http::Request<fusebox::retry::ReplayBody<Body>>| {
            ready(Ok::<_, Down>(http::Response::builder().status(429).body("").expect("a response")))
        })
    };
    let post = || http::Request::post("/").body(Body::new()).expect("a request");
    let net = SafetyNet::http("shop").expect("a name");
    let strict = SafetyNet::http("shop").expect("a name").classify(classify::http().quota_is_failure());
    for _ in 0..20 {
        assert_eq!(net.layer(spent()).oneshot(post()).await.expect("an answer").status(), 429);
        assert_eq!(strict.layer(spent()).oneshot(post()).await.expect("an answer").status(), 429);
    }
    assert_eq!((state(&net), state(&strict)), (State::Closed, State::Open));
    assert_eq!(strict.to_string(), net.to_string());
}

#[cfg(feature = "grpc")]
#[test]
fn the_names_of_before_mean_the_same() {
    #[expect(deprecated, reason = "what is tested")]
    let before = [
        SafetyNet::http_client("x").map(|net| net.to_string()),
        SafetyNet::grpc_client("x").map(|net| net.to_string()),
    ];
    let now = [SafetyNet::http("x").map(|net| net.to_string()), SafetyNet::grpc("x").map(|net| net.to_string())];
    assert_eq!(before, now);
}
