//! 28, and what an attempt carries: what is dropped, what is sent, what comes back, and when.

use axum::Router;
use axum::routing::any;
use fusebox::retry::Attempt as Number;
use fusebox::{
    RetryLayer, backoff,
    retry::{RetryStats, TimeLimit, TimedOut},
};
use http::{HeaderMap, Method, Version};
use tower::{Layer, ServiceExt};

use super::script::{Gate, Step, data};
use super::*;
use support::{ms, poll_once};

// 28

#[tokio::test(start_paused = true)]
async fn c28_a_failed_response_is_dropped_before_the_wait() {
    let (service, mut server) = server::<Replayed>();
    let slow = config(|builder| builder.backoff(backoff::fixed(secs(60))));
    let call = RetryLayer::http(slow).layer(service).oneshot(put(Script::of(&["some"])));
    let mut call = std::pin::pin!(call);
    assert!(poll_once(call.as_mut()).is_pending());
    for code in [503, 429, 500] {
        let attempt = server.next().await;
        let failed = response(code);
        let dropped = failed.body().0.clone();
        attempt.answer.send(Ok(failed)).expect("the client waits");
        assert!(!dropped.load(Ordering::SeqCst));
        assert!(poll_once(call.as_mut()).is_pending());
        assert!(dropped.load(Ordering::SeqCst), "a connection hangs on it");
        assert!(server.0.try_recv().is_err(), "the wait has only begun");
        tokio::time::advance(secs(61)).await;
        assert!(poll_once(call.as_mut()).is_pending());
    }
    let last = response(503);
    let dropped = last.body().0.clone();
    server.next().await.answer.send(Ok(last)).expect("the client waits");
    let answer = call.await.expect("an answer");
    assert!(!dropped.load(Ordering::SeqCst), "the last one is the caller's");
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn c28_there_is_no_wait_after_the_last_attempt() {
    let elapsed = timer();
    let (log, service) = answers::<Replayed>(&[503, 502, 500]);
    let slow = config(|builder| builder.max_retries(2).backoff(backoff::fixed(secs(60))));
    let answer = RetryLayer::http(slow).layer(service).oneshot(put(Script::of(&["some"]))).await.expect("an answer");
    assert_eq!((answer.status(), log.take().len()), (status(500), 3));
    assert!((secs(120)..secs(121)).contains(&elapsed()), "{:?}", elapsed());
}

#[tokio::test(start_paused = true)]
async fn c28_the_last_response_comes_back_as_it_is() {
    let service = tower::service_fn(|request: Request<Replayed>| async move {
        let number = Number::of(request.extensions()).0;
        Response::builder()
            .status(503)
            .version(Version::HTTP_2)
            .header("attempt", number)
            .extension(number)
            .body(number)
    });
    let answer = RetryLayer::http(at_once()).layer(service).oneshot(put(Script::of(&[]))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (503, Version::HTTP_2));
    assert_eq!((&answer.headers()["attempt"], answer.extensions().get(), *answer.body()), (&4.into(), Some(&4_u32), 4));
}

#[tokio::test(start_paused = true)]
async fn c28_the_last_error_comes_back_as_it_is() {
    let service = tower::service_fn(|request: Request<Replayed>| {
        std::future::ready(Err::<Response<()>, _>(Number::of(request.extensions())))
    });
    let result = RetryLayer::http(at_once()).layer(service).oneshot(put(Script::of(&[]))).await;
    assert_eq!(result.map(drop), Err(Number(4)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_makes_no_further_attempt() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::of(&["some"]);
    let seen = body.seen();
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    server.next().await.answer(503);
    let attempt = server.next().await;
    call.abort();
    assert!(call.await.expect_err("given up").is_cancelled());
    drop(attempt);
    assert!(seen.dropped());
    server.got_no_more().await;
}

// What is worth another attempt

#[tokio::test(start_paused = true)]
async fn server_errors_and_what_asks_for_another_attempt_are_retried_and_nothing_else() {
    const RETRIED: [u16; 4] = [408, 421, 425, 429];
    for code in (200..600).filter(|code| *code != 501 && *code != 505) {
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(at_once()).layer(service), put(Script::of(&[])));
        server.next().await.answer(code);
        if code >= 500 || RETRIED.contains(&code) {
            server.next().await.answer(200);
        }
        server.got_no_more().await;
        ended(call).await.expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_will_never_do_is_not_retried() {
    for code in [501, 505] {
        let (config, events) = told();
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(config).layer(service), put(Script::of(&[])));
        server.next().await.answer(code);
        server.got_no_more().await;
        assert_eq!(ended(call).await.expect("an answer").status(), code);
        assert_eq!(stopped(&events), None, "an answer like any other");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_service_are_retried() {
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(Script::of(&["some"])));
    drop(server.next().await.fail());
    assert_eq!(rest(server.next().await.answer(200)).await.0, "some");
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

// What an attempt carries

#[tokio::test(start_paused = true)]
async fn retries_carry_the_number_of_the_attempt_and_the_first_one_carries_none() {
    let (log, service) = answers::<Replayed>(&[503, 503, 503]);
    RetryLayer::http(at_once()).layer(service).oneshot(put(Script::of(&["some"]))).await.expect("an answer");
    let numbers: Vec<_> = log.take().iter().map(|request| request.extensions().get::<Number>().copied()).collect();
    assert_eq!(numbers, [None, Some(Number(2)), Some(Number(3)), Some(Number(4))]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_within_a_retry_counts_its_own_attempts() {
    let (log, service) = answers::<ReplayBody<ReplayBody<Script>>>(&[503, 503, 503]);
    let once_more = || RetryLayer::http(config(|builder| builder.max_retries(1)));
    let client = once_more().layer(once_more().layer(service));
    let answer = client.oneshot(put(Script::of(&["some", "thing"]))).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let seen = log.take();
    let numbers: Vec<_> = seen.iter().map(|request| Number::of(request.extensions()).0).collect();
    assert_eq!(numbers, [1, 2, 2, 2], "the second call's first attempt is the outer retry's second");
    assert!(seen.into_iter().all(|request| request.into_body() == "something"));
}

#[tokio::test(start_paused = true)]
async fn everything_else_of_a_request_is_the_same_in_each_attempt() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mine(&'static str);

    let (log, service) = answers::<Replayed>(&[503, 503]);
    let request = Request::builder()
        .method(Method::PATCH)
        .uri("https://shop.example/prices/7?currency=eur")
        .version(Version::HTTP_2)
        .header("idempotency-key", "8e03978e")
        .header("accept", "text/plain")
        .header("accept", "text/html")
        .extension(Mine("kept"))
        .body(Script::of(&["some"]))
        .expect("a request");
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    RetryLayer::http(at_once()).layer(service).oneshot(request).await.expect("an answer");
    let seen = log.take();
    assert_eq!(seen.len(), 3);
    for attempt in &seen {
        assert_eq!((attempt.method(), attempt.uri(), attempt.version()), (&method, &uri, Version::HTTP_2));
        assert_eq!(attempt.headers(), &headers);
        assert_eq!(attempt.extensions().get(), Some(&Mine("kept")));
        assert_eq!(attempt.body(), "some");
    }
}

// Bodies of other types

#[tokio::test(start_paused = true)]
async fn c16_an_axum_router_gets_bodies_of_its_own_type() {
    let log = Record::<(u32, Option<String>, String)>::default();
    let seen = log.clone();
    let handler = move |headers: HeaderMap, request: axum::extract::Request| async move {
        let number = Number::of(request.extensions()).0;
        let hint = request.body().size_hint().exact().map(|size| size.to_string());
        assert!(headers.contains_key("trace"));
        seen.add((number, hint, rest(request.into_body()).await.0));
        if number < 3 { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED }
    };
    let router = Router::new().route("/prices/{sku}", any(handler));
    let client = RetryLayer::http(at_once()).body(axum::body::Body::new).layer(router);
    let request = Request::put("/prices/7").header("trace", "1").body(Script::of(&["some", "thing"]));
    let Ok(answer) = client.clone().oneshot(request.expect("a request")).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let same = |number| (number, Some("9".to_owned()), "something".to_owned());
    assert_eq!(log.take(), [same(1), same(2), same(3)]);

    let post = Request::post("/prices/7").header("trace", "1").body(Script::of(&["some"])).expect("a request");
    let Ok(answer) = client.oneshot(post).await;
    assert_eq!((answer.status(), log.take().len()), (StatusCode::BAD_GATEWAY, 1));
}

#[tokio::test(start_paused = true)]
async fn settings_given_before_the_body_type_still_hold() {
    let layer = RetryLayer::http(at_once())
        .replay_up_to(4)
        .idempotent_when(|parts| parts.method == Method::POST)
        .body(axum::body::Body::new);
    for (method, text, attempts) in [(Method::POST, "some", 2), (Method::POST, "thing", 1), (Method::PUT, "some", 1)] {
        let (log, service) = answers::<axum::body::Body>(&[503]);
        let request = Request::builder().method(method).body(Script::of(&[text])).expect("a request");
        layer.clone().layer(service).oneshot(request).await.expect("an answer");
        assert_eq!(log.take().len(), attempts);
    }
}

// Servers that never answer

fn limited(attempt: Option<Duration>, deadline: Option<Duration>) -> RetryConfig<fusebox::retry::Timed> {
    let mut builder = RetryConfig::builder().backoff(backoff::fixed(secs(1))).deadline(secs(100_000));
    if let Some(attempt) = attempt {
        builder = builder.attempt_timeout(attempt);
    }
    if let Some(deadline) = deadline {
        builder = builder.deadline(deadline);
    }
    builder.build().expect("a configuration that works")
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_asked_until_the_retries_or_the_deadline_are_over() {
    type Ended = (TimeLimit, u32, Duration);
    let ended: [(_, _, Ended); 4] = [
        (Some(secs(2)), None, (TimeLimit::Attempt, 4, secs(11))),
        (None, Some(secs(5)), (TimeLimit::Deadline, 1, secs(5))),
        // The second attempt begins after 3 s.
        (Some(secs(2)), Some(ms(4_500)), (TimeLimit::Deadline, 2, ms(4_500))),
        // There is no time left for the wait, so the attempt's own limit is what ended the call.
        (Some(secs(2)), Some(ms(2_500)), (TimeLimit::Attempt, 1, secs(2))),
    ];
    for (attempt, deadline, (limit, number, after)) in ended {
        let elapsed = timer();
        let (service, server) = server::<Replayed>();
        let call = RetryLayer::http(limited(attempt, deadline)).layer(service);
        let error = call.oneshot(put(Script::of(&["some"]))).await.expect_err("it hangs");
        let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
        assert_eq!((timed_out.limit(), timed_out.attempt()), (limit, number));
        let given = if limit == TimeLimit::Attempt { attempt } else { deadline };
        assert_eq!(Some(timed_out.after()), given);
        assert!((after..after + ms(20)).contains(&elapsed()), "{:?} instead of {after:?}", elapsed());
        let mut arrived = 0;
        let mut attempts = server.0;
        while attempts.recv().await.is_some() {
            arrived += 1;
        }
        assert_eq!(arrived, number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_once_is_asked_again() {
    let stats = RetryStats::new();
    let limits = RetryConfig::builder().backoff(backoff::fixed(secs(1))).attempt_timeout(secs(2)).stats(stats.clone());
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(limits.build().expect("it works")).layer(service), put(Script::of(&["some"])));
    let first = server.next().await;
    let second = server.next().await;
    assert!(first.answer.is_closed(), "the first one was given up");
    assert_eq!(rest(second.answer(200)).await.0, "some");
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    assert_eq!((stats.counts().retries, stats.counts().recovered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_must_not_be_sent_again_still_has_its_limits_of_time() {
    let (service, server) = server::<Replayed>();
    let client = RetryLayer::http(limited(Some(secs(2)), None)).layer(service);
    let gate = Gate::default();
    let post = Request::post("/").body(Script::new([data("some"), Step::Wait(gate)])).expect("a request");
    let error = client.oneshot(post).await.expect_err("it hangs");
    let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
    assert_eq!((timed_out.limit(), timed_out.attempt()), (TimeLimit::Attempt, 1));
    let mut attempts = server.0;
    assert!(attempts.recv().await.is_some());
    assert!(attempts.recv().await.is_none());
}
