//! Every asynchronous entry point with errors of many types, in a spawned task and in an axum handler: it compiles
//! there, and does there what it does elsewhere.

use axum::Router;
use axum::routing::get;
use fusebox::{Registry, retry::TimedOut};
use tower::ServiceBuilder;

use super::*;

fn at_once() -> RetryConfig {
    RetryConfig::builder().max_retries(1).backoff(backoff::fixed(Duration::ZERO)).build().unwrap()
}

fn in_time() -> RetryConfig<fusebox::retry::Timed> {
    let config = RetryConfig::builder().max_retries(1).backoff(backoff::fixed(Duration::ZERO));
    config.deadline(Duration::from_secs(60)).build().unwrap()
}

/// Asks a router of one route.
async fn ask(router: Router) -> String {
    let request = http::Request::get("/").body(axum::body::Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    String::from_utf8(axum::body::to_bytes(response.into_body(), 1024).await.unwrap().to_vec()).unwrap()
}

/// Runs the same text as a spawned task and as an axum handler; both must say what is expected.
macro_rules! runs {
    ($given:ident = $make:expr => $body:expr, $expected:expr) => {{
        let (spawned, handled) = ($make, $make);
        let task = async move {
            let $given = spawned;
            format!("{:?}", $body)
        };
        assert_eq!(tokio::spawn(task).await.unwrap(), $expected, "spawned");
        let handler = move || {
            let $given = handled.clone();
            async move { format!("{:?}", $body) }
        };
        assert_eq!(ask(Router::new().route("/", get(handler))).await, $expected, "in a handler");
    }};
}

/// The user's own error.
#[derive(Debug)]
enum ShopError {
    Down,
    Rejected(Rejected),
    Late(TimedOut),
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Late(late) => late.fmt(f),
        }
    }
}

impl Error for ShopError {}

/// What each entry point does with an error of that type, as long as the circuit is closed and once it is open.
macro_rules! entry_points {
    ($name:ident, $error:ty, $down:expr, $rejected:expr, $late:expr) => {
        mod $name {
            use super::*;

            fn error() -> $error {
                $down
            }

            fn rejected(rejected: Rejected) -> $error {
                $rejected(rejected)
            }

            fn late(late: TimedOut) -> $error {
                $late(late)
            }

            async fn fetch(sku: u32) -> Result<u32, $error> {
                tokio::task::yield_now().await;
                if sku == 0 { Err(error()) } else { Ok(100 + sku) }
            }

            fn told(error: &CallError<$error>) -> &'static str {
                if error.is_rejected() { "rejected" } else { "called" }
            }

            fn open() -> CircuitBreaker {
                let breaker = breaker();
                breaker.trip().unwrap();
                breaker
            }

            fn is_down(result: &Result<u32, $error>) -> Outcome {
                if result.is_ok() { Outcome::Success } else { Outcome::Failure }
            }

            #[tokio::test]
            async fn c68_a_call_can_be_spawned() {
                runs!(breaker = breaker() => breaker.call(|| fetch(7)).await.map_err(|e| told(&e)), "Ok(107)");
                runs!(breaker = breaker() => breaker.call(|| fetch(0)).await.map_err(|e| told(&e)), "Err(\"called\")");
                runs!(breaker = open() => breaker.call(|| fetch(7)).await.map_err(|e| told(&e)), "Err(\"rejected\")");
                runs!(breaker = breaker() => {
                    let called = breaker.call(|| async { fetch(0).await }).await;
                    (called.is_err(), failures(&breaker))
                }, "(true, 1)");
            }

            #[tokio::test]
            async fn c68_a_call_with_a_fallback_can_be_spawned() {
                runs!(breaker = open() => breaker.call_or(|| fetch(7), |_| async { fetch(1).await }).await.is_ok(), "true");
                runs!(breaker = open() => breaker.call_or(|| fetch(7), |_| fetch(0)).await.is_err(), "true");
                runs!(breaker = breaker() => breaker.call_or(|| fetch(7), |_| fetch(0)).await.is_ok(), "true");
            }

            #[tokio::test]
            async fn c68_a_call_with_a_classifier_can_be_spawned() {
                runs!(breaker = breaker() => {
                    let calls = breaker.classify(is_down);
                    (calls.call(|| fetch(0)).await.map_err(|e| told(&e)), failures(&breaker))
                }, "(Err(\"called\"), 1)");
                runs!(breaker = breaker() => {
                    let calls = breaker.classify(classify::errors().exclude(|_: &$error| true));
                    (calls.call(|| async { fetch(0).await }).await.map_err(|e| told(&e)), failures(&breaker))
                }, "(Err(\"called\"), 0)");
                runs!(breaker = breaker() => {
                    let calls = breaker.classify(|result: &Result<u32, $error>| is_down(result));
                    (calls.call(|| fetch(0)).await.map_err(|e| told(&e)), failures(&breaker))
                }, "(Err(\"called\"), 1)");
            }

            #[tokio::test]
            async fn c68_a_wrapped_function_can_be_spawned() {
                runs!(prices = breaker().wrap(fetch) => prices.call(7).await.map_err(|e| told(&e)), "Ok(107)");
                runs!(prices = open().wrap(fetch) => prices.call(7).await.map_err(|e| told(&e)), "Err(\"rejected\")");
                runs!(prices = breaker().wrap(|sku: u32| async move { fetch(sku).await }) => {
                    (prices.call(0).await.map_err(|e| told(&e)), failures(prices.breaker()))
                }, "(Err(\"called\"), 1)");
                runs!(prices = breaker().classify(is_down).wrap(fetch) => {
                    (prices.call(0).await.map_err(|e| told(&e)), failures(prices.breaker()))
                }, "(Err(\"called\"), 1)");
            }

            #[tokio::test]
            async fn c68_a_call_with_retries_can_be_spawned() {
                runs!(retry = RetryLayer::new(at_once()) => {
                    let mut attempts = 0;
                    let retried = retry.call(|| {
                        attempts += 1;
                        fetch(attempts - 1)
                    });
                    retried.await.is_ok()
                }, "true");
                runs!(retry = RetryLayer::new(at_once()).classify(is_down) => {
                    retry.call(|| fetch(0)).await.is_err()
                }, "true");
                runs!(retry = RetryLayer::new(in_time()).map_timeout(late) => {
                    retry.call(|| async { fetch(0).await }).await.is_err()
                }, "true");
                runs!(breaker = breaker() => {
                    let retry = RetryLayer::new(at_once()).classify(classify::errors().exclude(CallError::is_rejected));
                    let retried = retry.call(|| breaker.call(|| fetch(0))).await.map_err(|e| told(&e));
                    (retried, failures(&breaker))
                }, "(Err(\"called\"), 2)");
            }

            #[tokio::test]
            async fn c68_a_safety_net_can_be_spawned() {
                let net = || {
                    let retry = RetryLayer::new(in_time()).map_timeout(late);
                    let breaker = CircuitBreakerLayer::from(breaker()).map_rejection(rejected);
                    SafetyNet::builder().retry(retry).breaker(breaker).build()
                };
                runs!(net = net() => net.call(|| fetch(7)).await.is_ok(), "true");
                runs!(net = net() => {
                    (net.call(|| async { fetch(0).await }).await.is_err(), failures(net.breaker().unwrap()))
                }, "(true, 2)");
                let last = || {
                    let retry = RetryLayer::new(at_once());
                    SafetyNet::builder().fallback(|_: $error| async { Ok(1) }).retry(retry).build()
                };
                runs!(net = last() => net.call(|| fetch(0)).await.is_ok(), "true");
            }

            // By readiness and call: of tower's `oneshot`, which names its parts by the bounds of the service, the
            // compiler cannot prove it.
            #[tokio::test]
            async fn c68_services_can_be_spawned() {
                let stack = |breaker: CircuitBreaker| {
                    let retry = RetryLayer::new(in_time()).map_timeout(late);
                    let breaker = CircuitBreakerLayer::from(breaker).map_rejection(rejected);
                    ServiceBuilder::new().layer(retry).layer(breaker).service(service_fn(fetch))
                };
                runs!(service = stack(breaker()) => {
                    let mut service = service;
                    service.ready().await.is_ok() && service.call(7).await.is_ok()
                }, "true");
                runs!(service = stack(breaker()) => {
                    let mut service = service;
                    let failed = service.ready().await.is_ok() && service.call(0).await.is_err();
                    (failed, failures(service.get_ref().breaker()))
                }, "(true, 2)");
                let fallback = FallbackLayer::new(|_: $error| async { Ok(1) });
                runs!(service = fallback.clone().layer(stack(open())) => {
                    let mut service = service;
                    service.ready().await.is_ok() && service.call(7).await.is_ok()
                }, "true");
                let plain: RetryLayer = RetryLayer::new(at_once());
                runs!(service = plain.layer(service_fn(|sku: u32| async move { fetch(sku).await })) => {
                    let mut service = service;
                    service.ready().await.is_ok() && service.call(0).await.is_err()
                }, "true");
            }
        }
    };
}

entry_points!(boxed, BoxError, "down".into(), Into::into, Into::into);
entry_points!(boxed_without_sync, Box<dyn Error + Send>, Box::new(ShopError::Down), Box::new, Box::new);
entry_points!(text, &'static str, "down", |_| "rejected", |_| "late");
entry_points!(of_the_user, ShopError, ShopError::Down, ShopError::Rejected, ShopError::Late);

async fn down() -> Result<u32, BoxError> {
    tokio::task::yield_now().await;
    Err("down".into())
}

#[tokio::test]
async fn c68_deadlines_presets_and_modes_that_box_errors_can_be_spawned() {
    runs!(retry = RetryLayer::new(in_time()) => retry.call(down).await.map_err(|e| e.to_string()), "Err(\"down\")");
    runs!(retry = RetryLayer::new(in_time()) => retry.call(|| async { Err::<u32, _>("down") }).await.is_err(), "true");
    runs!(net = SafetyNet::database("orders").unwrap() => net.call(down).await.is_err(), "true");
    runs!(net = SafetyNet::database("orders").unwrap() => {
        net.call(|| async { Err::<(), _>("down") }).await.is_err()
    }, "true");
    runs!(breaker = breaker() => {
        let mut service = CircuitBreakerLayer::from(breaker).layer(service_fn(|(): ()| down()));
        service.ready().await.is_ok() && service.call(()).await.is_err()
    }, "true");
    runs!(registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()) => {
        let layer = CircuitBreakerLayer::keyed(registry.clone(), |host: &&'static str| Some(*host));
        let mut service = layer.layer(service_fn(|_: &'static str| down()));
        let failed = service.ready().await.is_ok() && service.call("a.example").await.is_err();
        (failed, registry.len())
    }, "(true, 1)");
}

#[tokio::test]
async fn c68_a_service_that_waits_can_be_spawned() {
    runs!(breaker = breaker() => {
        let mut service = CircuitBreakerLayer::from(breaker.clone()).wait_when_open().layer(service_fn(|(): ()| down()));
        let failed = service.ready().await.is_ok() && service.call(()).await.is_err();
        (failed, failures(&breaker))
    }, "(true, 1)");
    let at_once = || CircuitBreakerConfig::builder("prices").cooldown(Duration::ZERO).build().unwrap();
    runs!(breaker = CircuitBreaker::new(at_once()) => {
        breaker.trip().unwrap();
        let mut service = CircuitBreakerLayer::from(breaker.clone()).wait_when_open().layer(service_fn(|(): ()| down()));
        service.ready().await.is_ok()
    }, "true");
}

#[tokio::test]
async fn c68_a_stream_of_events_can_be_spawned() {
    runs!(breaker = breaker() => {
        let mut events = breaker.events();
        breaker.trip().unwrap();
        futures::StreamExt::next(&mut events).await.map(|event| event.to_string().contains("closed -> open"))
    }, "Some(true)");
}

#[cfg(feature = "fleet")]
#[tokio::test]
async fn c68_flushes_can_be_spawned() {
    use std::sync::Arc;

    use fusebox::fleet;
    use fusebox::store::{MemoryStore, Store};

    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = |name: &str| CircuitBreakerConfig::builder(name).store(store.clone()).build();
    let waiting = |breaker: &CircuitBreaker| breaker.snapshot().fleet.unwrap().waiting;
    runs!(breaker = CircuitBreaker::new(config("prices").unwrap()) => {
        breaker.call(down).await.unwrap_err();
        breaker.flush().await;
        waiting_of(&breaker)
    }, "0");
    assert_eq!(waiting(&CircuitBreaker::new(config("prices").unwrap())), 0);
    let template = {
        let store = store.clone();
        move |name: &str| CircuitBreakerConfig::builder(name).store(store.clone()).build()
    };
    runs!(registry = Registry::new(template.clone()) => {
        let breaker = registry.breaker("stock").unwrap();
        breaker.call(down).await.unwrap_err();
        registry.flush().await;
        waiting_of(&breaker)
    }, "0");
    runs!(given = (store.clone(), CircuitBreaker::new(config("search").unwrap())) => {
        given.1.call(down).await.unwrap_err();
        fleet::flush(&given.0).await;
        waiting_of(&given.1)
    }, "0");
}

#[cfg(feature = "fleet")]
fn waiting_of(breaker: &CircuitBreaker) -> u64 {
    breaker.snapshot().fleet.map_or(u64::MAX, |fleet| fleet.waiting)
}

/// What asks for a server is compiled, and refused before it dials.
#[cfg(all(feature = "redis", feature = "postgres", feature = "env"))]
#[tokio::test]
async fn c68_stores_can_be_spawned() {
    use std::sync::Arc;

    use fusebox::env;
    use fusebox::store::{MemoryStore, PostgresStore, RedisStore, conformance};

    runs!(url = "nonsense" => RedisStore::connect(url).await.is_err(), "true");
    runs!(url = "nonsense" => RedisStore::builder(url).connect().await.is_err(), "true");
    runs!(url = "nonsense" => PostgresStore::connect(url).await.is_err(), "true");
    runs!(url = "nonsense" => PostgresStore::migrate(url).await.is_err(), "true");
    runs!(url = String::from("nonsense") => PostgresStore::create_database(url).await.is_err(), "true");
    runs!(url = "nonsense" => PostgresStore::builder().url(url).connect().await.is_err(), "true");
    runs!(store = None::<Arc<PostgresStore>> => {
        if let Some(store) = &store {
            store.check().await.unwrap();
            store.prune().await.unwrap();
        }
        store.is_none()
    }, "true");
    runs!(open = false => if open { env::store().await.is_ok() } else { true }, "true");
    runs!(store = Arc::new(MemoryStore::new()) => conformance(store).await.is_ok(), "true");
}
