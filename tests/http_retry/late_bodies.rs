//! A deadline is over the body of the response as well. Time is tokio's, paused.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use fusebox::classify::AtHead;
use fusebox::retry::{Attempt as Number, ResponseBody, RetryStats, TimeLimit, Timed, TimedOut};
use fusebox::{Budget, RetryLayer};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use super::script::{Gate, Knows, Seen, Step, data, trailers};
use super::*;
use support::{ms, poll_once};

type Limited = Pin<Box<ResponseBody<Script, AtHead, Timed>>>;

fn limits(f: impl FnOnce(RetryConfigBuilder<Timed>) -> RetryConfigBuilder<Timed>) -> RetryConfig<Timed> {
    let builder = RetryConfig::builder().backoff(backoff::fixed(secs(1))).deadline(secs(5));
    f(builder).build().expect("a configuration that works")
}

/// Answers after so long with these steps; and what becomes of the body.
async fn answer_of(config: RetryConfig<Timed>, after: Duration, steps: Vec<Step>) -> (Seen, Response<Limited>) {
    answer_with(config, after, Script::new(steps)).await
}

async fn answer_with(config: RetryConfig<Timed>, after: Duration, script: Script) -> (Seen, Response<Limited>) {
    let seen = script.seen();
    let mut script = Some(script);
    let service = tower::service_fn(move |_: Request<Replayed>| {
        let response = Response::new(script.take().expect("one attempt"));
        async move {
            // A sleep of no time would take a tick.
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let service = Once(Arc::new(Mutex::new(service)));
    let response = RetryLayer::http(config).layer(service).oneshot(put(Script::of(&[]))).await.expect("an answer");
    (seen, response.map(Box::pin))
}

/// A service for one attempt. It is cloned for others, of which there are none: all clones are the same.
struct Once<S>(Arc<Mutex<S>>);

impl<S> Clone for Once<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Service<Req>, Req> Service<Req> for Once<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).call(request)
    }
}

async fn next(body: &mut Limited) -> Option<Result<Bytes, BoxError>> {
    let frame = within_a_day(body.frame()).await?;
    Some(frame.map(|frame| frame.into_data().expect("data")))
}

fn timed_out(error: &BoxError) -> &TimedOut {
    error.downcast_ref().unwrap_or_else(|| panic!("a timeout: {error:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_ends_at_the_deadline_in_an_error_that_says_so() {
    for after in [Duration::ZERO, secs(3)] {
        let elapsed = timer();
        let steps = vec![data("some"), Step::Wait(Gate::default()), data("more")];
        let (seen, response) = answer_of(limits(|builder| builder), after, steps).await;
        let mut body = response.into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(8), false));
        assert_eq!(next(&mut body).await.expect("a frame").expect("in time"), "some");
        let error = next(&mut body).await.expect("an end").expect_err("it stalls");
        assert!((secs(5)..secs(5) + ms(20)).contains(&elapsed()), "from the beginning: {:?}", elapsed());
        assert_eq!(error.to_string(), "no end of the answer within the deadline of 5s, on attempt 1");
        let timed_out = timed_out(&error);
        assert_eq!((timed_out.limit(), timed_out.after(), timed_out.attempt()), (TimeLimit::Deadline, secs(5), 1));
        assert!(seen.dropped(), "a connection hangs on it");
        assert!(next(&mut body).await.is_none(), "an error is the end");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_the_reader_is_elsewhere_is_told_when_it_comes_back() {
    for (elsewhere, is_late) in [(ms(4_999), false), (secs(5), false), (ms(5_001), true), (secs(3_600), true)] {
        let (_seen, response) = answer_of(limits(|builder| builder), Duration::ZERO, vec![data("some")]).await;
        let mut body = response.into_body();
        tokio::time::advance(elsewhere).await;
        match next(&mut body).await.expect("a frame or an error") {
            Ok(frame) => assert!(!is_late && frame == "some", "{elsewhere:?}"),
            Err(error) => assert!(is_late && timed_out(&error).limit() == TimeLimit::Deadline, "{elsewhere:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_in_time_comes_as_it_is() {
    let end = [("checksum", "7")];
    let steps = vec![data("some"), Step::Pause, data("more"), trailers(&end)];
    let (_seen, response) = answer_of(limits(|builder| builder), secs(4), steps).await;
    let (text, trailers) = rest(response.into_body()).await;
    assert_eq!((text.as_str(), trailers), ("somemore", Some(script::headers(&end))));

    let (_seen, response) = answer_of(limits(|builder| builder), secs(4), vec![data("some"), Step::Error]).await;
    let mut body = response.into_body();
    next(&mut body).await.expect("a frame").expect("in time");
    let error = next(&mut body).await.expect("an end").expect_err("it breaks");
    assert!(error.is::<script::Broken>(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_not_late() {
    for polls in [1, 2] {
        let (_seen, response) = answer_of(limits(|builder| builder), Duration::ZERO, vec![data("some")]).await;
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.expect("a frame").expect("in time"), "some");
        for _ in 1..polls {
            assert!(next(&mut body).await.is_none());
        }
        assert!(body.is_end_stream());
        tokio::time::advance(secs(3_600)).await;
        assert!(next(&mut body).await.is_none());
    }
}

/// Not every body knows that it has ended before it is asked for more.
#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_not_late_either_where_it_does_not_say_so() {
    for (steps, breaks) in [(vec![data("some")], false), (vec![data("some"), Step::Error], true)] {
        let script = Script::new(steps).knows(Knows::Nothing);
        let (_seen, response) = answer_with(limits(|builder| builder), Duration::ZERO, script).await;
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.expect("a frame").expect("in time"), "some");
        assert_eq!(next(&mut body).await.is_some_and(|end| end.is_err()), breaks);
        assert!(!body.is_end_stream());
        tokio::time::advance(secs(3_600)).await;
        assert!(next(&mut body).await.is_none(), "it broke: {breaks}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_an_attempt_is_until_the_head() {
    let gate = Gate::default();
    let only_attempts = RetryConfig::builder().attempt_timeout(secs(2)).build().expect("it works");
    let steps = vec![data("some"), Step::Wait(gate.clone()), data("more")];
    let (_seen, response) = answer_of(only_attempts, secs(1), steps).await;
    let mut body = response.into_body();
    next(&mut body).await.expect("a frame").expect("in time");
    assert!(poll_once(std::pin::pin!(body.frame())).is_pending());
    tokio::time::advance(secs(3_600)).await;
    gate.open();
    assert_eq!(next(&mut body).await.expect("a frame").expect("no limit"), "more");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_over_all_attempts_and_the_body_of_the_last() {
    let service = tower::service_fn(|request: Request<Replayed>| async move {
        tokio::time::sleep(secs(1)).await;
        let is_first = Number::of(request.extensions()) == Number(1);
        let script = Script::new([data("some"), Step::Wait(Gate::default())]);
        Response::builder().status(if is_first { 503 } else { 200 }).body(script)
    });
    for max_retries in [0, 1] {
        let elapsed = timer();
        let client = RetryLayer::http(limits(|builder| builder.max_retries(max_retries))).layer(service);
        let response = client.oneshot(put(Script::of(&["order"]))).await.expect("an answer").map(Box::pin);
        assert_eq!(response.status(), if max_retries == 0 { 503 } else { 200 });
        let mut body: Limited = response.into_body();
        next(&mut body).await.expect("a frame").expect("in time");
        let error = next(&mut body).await.expect("an end").expect_err("it stalls");
        assert_eq!(timed_out(&error).attempt(), max_retries + 1);
        assert!((secs(5)..secs(5) + ms(20)).contains(&elapsed()), "{:?}", elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn with_an_error_of_the_users_own_the_body_still_has_its_limit() {
    let service = tower::service_fn(|_: Request<Replayed>| async {
        Ok::<_, Down>(Response::new(Script::new([Step::Wait(Gate::default())])))
    });
    let client = RetryLayer::http(limits(|builder| builder)).map_timeout(|_| Down).layer(service);
    let response: Result<_, Down> = client.oneshot(put(Script::of(&[]))).await;
    let mut body: Limited = Box::pin(response.expect("an answer").into_body());
    let error = next(&mut body).await.expect("an end").expect_err("it stalls");
    assert_eq!(timed_out(&error).after(), secs(5));
}

// What is counted

/// The budget, with four tokens of ten above half after it has paid one, the counters and the events.
fn counted() -> (RetryConfig<Timed>, Budget, RetryStats, Record<RetryEvent>) {
    let (budget, stats, events) = (Budget::tokens(10, 1.0), RetryStats::new(), Record::default());
    budget.failure();
    let (told, counts) = (events.clone(), stats.clone());
    let config = limits(|b| b.budget(budget.clone()).stats(counts).on_event(move |event| told.add(*event)));
    (config, budget, stats, events)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outlives_the_deadline_counts_as_a_failure_and_not_as_a_success_before() {
    let (config, budget, stats, events) = counted();
    let (_seen, response) = answer_of(config, Duration::ZERO, vec![Step::Wait(Gate::default())]).await;
    let mut body = response.into_body();
    assert_eq!((budget.available(), stats.counts().attempts), (4, 0), "not known yet");
    next(&mut body).await.expect("an end").expect_err("it stalls");
    assert_eq!((budget.available(), stopped(&events)), (3, Some(StopReason::Deadline)));
    drop(body);
    let counts = stats.counts();
    assert_eq!((counts.attempts, counts.deadline, counts.recovered), (1, 1, 0));
    assert_eq!(budget.available(), 3);
}

#[tokio::test(start_paused = true)]
async fn otherwise_a_call_is_what_its_head_says_when_the_body_is_done_with() {
    for (steps, frames) in [(vec![data("some")], 2), (vec![data("some"), data("more")], 1), (vec![Step::Error], 1)] {
        let (config, budget, stats, events) = counted();
        let (_seen, response) = answer_of(config, Duration::ZERO, steps).await;
        let mut body = response.into_body();
        for _ in 0..frames {
            next(&mut body).await;
        }
        drop(body);
        assert_eq!((budget.available(), stopped(&events)), (5, None));
        assert_eq!((stats.counts().attempts, stats.counts().deadline), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_failed_is_told_of_once() {
    let (config, budget, stats, events) = counted();
    let service = tower::service_fn(|_: Request<Replayed>| async {
        Response::builder().status(503).body(Script::new([Step::Wait(Gate::default())]))
    });
    let post = Request::post("/").body(Script::of(&[])).expect("a request");
    let response = RetryLayer::http(config).layer(service).oneshot(post).await.expect("an answer");
    assert_eq!((budget.available(), stopped(&events)), (3, Some(StopReason::NotReplayable)));
    let mut body: Limited = Box::pin(response.into_body());
    next(&mut body).await.expect("an end").expect_err("it stalls");
    assert_eq!((budget.available(), events.take()), (3, vec![]));
    assert_eq!((stats.counts().attempts, stats.counts().deadline), (1, 0));
}

// Its type

#[tokio::test(start_paused = true)]
async fn without_limits_of_time_the_response_is_the_inner_one() {
    let service = tower::service_fn(|_: Request<Replayed>| async { Ok::<_, Infallible>(Response::new("as it is")) });
    let response: Response<&str> =
        RetryLayer::http(at_once()).layer(service).oneshot(put(Script::of(&[]))).await.expect("an answer");
    assert_eq!(response.into_body(), "as it is");
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_elsewhere_becomes_such_a_body() {
    fn is_unpin_and_send<T: Unpin + Send + Sync + 'static>(_: &T) {}

    let mut body: ResponseBody<Full<Bytes>, AtHead, Timed> = Full::from("yesterday's").into();
    is_unpin_and_send(&body);
    tokio::time::advance(secs(3_600)).await;
    assert_eq!(text(&mut body).await, "yesterday's", "it has no limit");
    assert!(ResponseBody::<Full<Bytes>, AtHead, Timed>::default().is_end_stream());
}
