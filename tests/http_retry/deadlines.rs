//! 60: the caller's own deadline over all attempts, an extension of the request. Time is tokio's, paused.

use fusebox::retry::{Attempt as Number, Deadline, TimeLimit, TimedOut};
use fusebox::{RetryLayer, SafetyNet};
use tower::{Layer, ServiceExt};

use super::*;
use support::ms;

/// A request that is to be answered within so long.
fn put_within(time: Duration) -> Request<Script> {
    let mut request = put(Script::of(&["some"]));
    request.extensions_mut().insert(Deadline::within(time));
    request
}

/// A server that answers with 503 as often as it was told, then with 200, each after so long.
fn slow<B>(
    failures: usize,
    takes: Duration,
) -> (
    Record<Request<String>>,
    impl Service<Request<B>, Response = Response<Flag>, Error = Infallible, Future: Send> + Clone + Send,
)
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    static DOWN: [u16; 9] = [503; 9];
    let (log, inner) = answers(&DOWN[..failures]);
    let service = tower::service_fn(move |request: Request<B>| {
        let inner = inner.clone();
        async move {
            tokio::time::sleep(takes).await;
            inner.oneshot(request).await
        }
    });
    (log, service)
}

/// Retries after so long, and tells.
fn told_after(wait: Duration) -> (RetryConfig, Record<RetryEvent>) {
    let events = Record::default();
    let told = events.clone();
    (config(|builder| builder.backoff(backoff::fixed(wait)).on_event(move |event| told.add(*event))), events)
}

#[tokio::test(start_paused = true)]
async fn c60_no_attempt_begins_that_would_end_after_the_callers_deadline() {
    for (within, attempts) in [(ms(1_390), 2), (ms(1_450), 3), (ms(700), 1), (ms(500), 1), (ms(0), 1), (secs(60), 4)] {
        let (log, service) = slow::<Replayed>(9, ms(400));
        let (config, events) = told_after(ms(300));
        let elapsed = timer();
        let answer = RetryLayer::http(config).layer(service).oneshot(put_within(within)).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), log.take().len()), (503, attempts), "{within:?}");
        let reason = if attempts < 4 { StopReason::Deadline } else { StopReason::MaxRetries };
        assert_eq!(stopped(&events), Some(reason), "{within:?}");
        let took = ms(700 * u64::try_from(attempts).expect("few") - 300);
        assert!((took..took + ms(20)).contains(&elapsed()), "{within:?}: at once, not after {:?}", elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn c60_every_attempt_carries_the_deadline_as_it_is_and_nothing_else_changes() {
    let (log, service) = slow::<Replayed>(2, ms(400));
    let (config, _events) = told_after(ms(300));
    let mut request = put_within(secs(60));
    request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("1m"));
    let (deadline, headers) = (request.extensions().get::<Deadline>().copied(), request.headers().clone());
    let answer = RetryLayer::http(config).layer(service).oneshot(request).await.expect("an answer");
    let seen = log.take();
    assert_eq!((answer.status().as_u16(), seen.len()), (200, 3), "what belongs to gRPC is none of HTTP's");
    for attempt in &seen {
        assert_eq!((attempt.extensions().get::<Deadline>().copied(), attempt.headers()), (deadline, &headers));
    }
    assert_eq!(Number::of(seen[2].extensions()), Number(3));
    let left = deadline.expect("it has one").left();
    assert!((ms(58_180)..=ms(58_200)).contains(&left), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn c60_what_is_sent_again_at_once_is_not_sent_after_the_deadline() {
    for code in [421, 425] {
        for (within, attempts) in [(ms(399), 1), (ms(401), 2)] {
            let (log, inner) = answers::<Replayed>(if code == 421 { &[421] } else { &[425] });
            let service = tower::service_fn(move |request: Request<Replayed>| {
                let inner = inner.clone();
                async move {
                    tokio::time::sleep(ms(400)).await;
                    inner.oneshot(request).await
                }
            });
            RetryLayer::http(at_once()).layer(service).oneshot(put_within(within)).await.expect("an answer");
            assert_eq!(log.take().len(), attempts, "{code}, {within:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c60_an_attempt_on_its_way_is_cut_only_where_a_limit_is_configured() {
    let hangs = tower::service_fn(|_: Request<Replayed>| std::future::pending::<Result<Response<()>, Down>>());
    let call = RetryLayer::http(at_once()).layer(hangs).oneshot(put_within(secs(1)));
    assert!(tokio::time::timeout(secs(3_600), call).await.is_err());

    let limits = RetryConfig::builder().deadline(secs(30)).build().expect("it works");
    let elapsed = timer();
    let error = RetryLayer::http(limits).layer(hangs).oneshot(put_within(secs(1))).await.expect_err("it hangs");
    let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
    assert_eq!((timed_out.limit(), timed_out.after(), timed_out.attempt()), (TimeLimit::Deadline, secs(1), 1));
    assert!((secs(1)..ms(1_020)).contains(&elapsed()));
}

#[tokio::test(start_paused = true)]
async fn c60_the_safety_net_for_http_heeds_it() {
    let net = SafetyNet::http("prices").expect("a name");
    let (log, service) = slow::<Replayed>(9, ms(400));
    let answer = net.layer(service).oneshot(put_within(ms(300))).await;
    assert!(answer.expect_err("cut at the deadline").is::<TimedOut>());
    assert_eq!(log.take().len(), 0, "it was not even read");
    let (log, service) = slow::<Replayed>(9, ms(400));
    let answer = net.layer(service).oneshot(put_within(ms(1_900))).await.expect("the last answer");
    assert_eq!((answer.status().as_u16(), log.take().len()), (503, 3));
}

#[tokio::test(start_paused = true)]
async fn c60_a_deadline_may_be_any_instant() {
    #[expect(clippy::disallowed_methods, reason = "instants of tests")]
    let now = tokio::time::Instant::now();
    assert_eq!(Deadline::within(secs(5)), Deadline(now + secs(5)));
    assert_eq!(Deadline(now.into_std().into()), Deadline(now));
    tokio::time::advance(secs(4)).await;
    assert_eq!(Deadline(now + secs(5)).left(), secs(1));
    tokio::time::advance(secs(4)).await;
    assert_eq!(Deadline(now + secs(5)).left(), Duration::ZERO);
    assert!(Deadline::within(Duration::MAX).left() > secs(29 * 365 * 86_400));
    for within in [Duration::MAX, secs(365 * 86_400)] {
        let (log, service) = slow::<Replayed>(9, ms(400));
        RetryLayer::http(at_once()).layer(service).oneshot(put_within(within)).await.expect("an answer");
        assert_eq!(log.take().len(), 4);
    }
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use reqwest::{Body, Method, Request, Response};

    use super::*;

    fn get(timeout: Option<Duration>) -> Request {
        let mut request = Request::new(Method::GET, "http://shop.example/prices".parse().expect("a URL"));
        *request.timeout_mut() = timeout;
        request
    }

    /// A client whose server answers 503 after 400 ms, and the timeouts of the attempts.
    async fn attempts(timeout: Option<Duration>, wait: Duration) -> (Vec<Option<Duration>>, Option<StopReason>) {
        let log = Record::default();
        let seen = log.clone();
        let client = tower::service_fn(move |request: Request| {
            seen.add(request.timeout().copied());
            async {
                tokio::time::sleep(ms(400)).await;
                let answer = http::Response::builder().status(503).body(Body::default()).expect("a response");
                Ok::<_, reqwest::Error>(Response::from(answer))
            }
        });
        let (config, events) = told_after(wait);
        let answer = RetryLayer::reqwest(config).layer(client).oneshot(get(timeout)).await.expect("an answer");
        assert_eq!(answer.status(), 503, "the last one as it is");
        (log.take(), stopped(&events))
    }

    #[tokio::test(start_paused = true)]
    async fn c60_each_further_attempt_has_what_is_left_of_the_timeout() {
        let (timeouts, reason) = attempts(Some(secs(10)), ms(300)).await;
        assert_eq!((timeouts.len(), timeouts[0], reason), (4, Some(secs(10)), Some(StopReason::MaxRetries)));
        for (timeout, left) in timeouts[1..].iter().zip([9_300, 8_600, 7_900]) {
            let timeout = timeout.expect("it has one");
            assert!((ms(left - 10)..=ms(left)).contains(&timeout), "{timeout:?} of {left} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c60_no_attempt_begins_that_would_end_after_the_timeout() {
        for timeout in [ms(0), ms(1), ms(500), ms(700)] {
            let (timeouts, reason) = attempts(Some(timeout), ms(300)).await;
            assert_eq!((timeouts, reason), (vec![Some(timeout)], Some(StopReason::Deadline)));
        }
        assert_eq!(attempts(Some(ms(1_000)), ms(300)).await.0.len(), 2);
        assert_eq!(attempts(Some(Duration::MAX), ms(300)).await.0, [Some(Duration::MAX); 4], "beyond the end of time");
    }

    #[tokio::test(start_paused = true)]
    async fn c60_no_timeout_is_invented() {
        assert_eq!(attempts(None, secs(3_600)).await, (vec![None; 4], Some(StopReason::MaxRetries)));
    }
}
