//! 30: the server says when to come back.

use std::time::SystemTime;

use fusebox::{RetryLayer, backoff};
use http::HeaderValue;
use tower::{Layer, ServiceExt};

use super::*;
use support::ms;

const BACKOFF: Duration = secs(7);

/// The wait after a response with such a status and header, where the backoff would be 7 s.
async fn wait_after(code: u16, header: Option<&[u8]>, cap: Option<Duration>) -> Duration {
    let waits = config(|builder| {
        let builder = builder.backoff(backoff::fixed(BACKOFF));
        cap.into_iter().fold(builder, RetryConfigBuilder::retry_after_cap)
    });
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(waits).layer(service), put(Script::of(&["some"])));
    let mut busy = response(code);
    if let Some(header) = header {
        let value = HeaderValue::from_bytes(header).expect("a header value");
        busy.headers_mut().insert("retry-after", value);
    }
    let elapsed = timer();
    server.next().await.answer.send(Ok(busy)).expect("the client waits");
    let second = server.next().await;
    let waited = elapsed();
    second.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    waited
}

/// Timers tick in milliseconds.
fn is_about(waited: Duration, wait: Duration) -> bool {
    (wait..wait + ms(20)).contains(&waited)
}

/// As long as the server said or the backoff says, whichever is longer, and up to a tenth of the former more.
fn heeds(waited: Duration, asked: Duration) -> bool {
    let least = asked.max(BACKOFF);
    (least..least + asked / 10 + ms(20)).contains(&waited)
}

#[tokio::test(start_paused = true)]
async fn c65_no_retry_comes_sooner_than_the_server_says_nor_than_the_backoff() {
    for code in [429, 500, 502, 503, 504] {
        for (header, wait) in [("1", secs(1)), ("3", secs(3)), ("120", secs(120)), (" 3 ", secs(3)), ("0003", secs(3))]
        {
            let waited = wait_after(code, Some(header.as_bytes()), None).await;
            assert!(heeds(waited, wait), "{code}, {header:?}: {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c30_what_is_no_wait_leaves_the_backoff() {
    let none: [&[u8]; 16] = [
        b"0",
        b"000",
        b"",
        b"-1",
        b"+3",
        b"1.5",
        b"1e3",
        b"3s",
        b"3, 4",
        b"soon",
        b"0x10",
        "\u{663}".as_bytes(),
        b"\xff",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"2094-11-06T08:49:37Z",
    ];
    for header in none {
        let waited = wait_after(503, Some(header), None).await;
        assert!(is_about(waited, BACKOFF), "{header:?}: {waited:?}");
    }
    assert!(is_about(wait_after(503, None, None).await, BACKOFF));
}

#[tokio::test(start_paused = true)]
async fn c30_a_date_is_a_wait_until_then() {
    #[expect(clippy::disallowed_methods, reason = "servers say dates by the wall clock")]
    let date = |from_now: Duration| httpdate::fmt_http_date(SystemTime::now() + from_now);
    let waited = wait_after(503, Some(date(secs(90)).as_bytes()), None).await;
    // Dates are in whole seconds, and some time has passed since.
    assert!(waited > secs(60) && waited < secs(99) + ms(20), "{waited:?}");
}

/// The clocks of server and client need not agree.
#[tokio::test(start_paused = true)]
async fn c65_a_date_is_read_by_the_servers_own_clock() {
    for server_now in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sat, 06 Nov 2094 08:49:37 GMT"] {
        let (year, day) = (&server_now[12..16], &server_now[..12]);
        let until = format!("{day}{year} 08:50:07 GMT");
        let (service, mut server) = server::<Replayed>();
        let waits = config(|builder| builder.backoff(backoff::fixed(BACKOFF)));
        let call = start(RetryLayer::http(waits).layer(service), put(Script::of(&["some"])));
        let mut busy = response(503);
        busy.headers_mut().insert("date", server_now.parse().expect("a value"));
        busy.headers_mut().insert("retry-after", until.parse().expect("a value"));
        let elapsed = timer();
        server.next().await.answer.send(Ok(busy)).expect("the client waits");
        server.next().await.answer(200);
        assert!(heeds(elapsed(), secs(30)), "{server_now}: {:?}", elapsed());
        ended(call).await.expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn c65_a_wait_beyond_the_cap_ends_the_retries() {
    for (header, cap) in [
        ("61", Some(secs(60))),
        ("3600", Some(secs(60))),
        ("18446744073709551615", Some(secs(60))),
        ("99999999999999999999999999", None),
        ("301", None),
    ] {
        let events = Record::<RetryEvent>::default();
        let told = events.clone();
        let waits = config(|builder| {
            let builder = builder.on_event(move |event| told.add(*event));
            cap.into_iter().fold(builder, RetryConfigBuilder::retry_after_cap)
        });
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(waits).layer(service), put(Script::of(&["some"])));
        let mut busy = response(503);
        busy.headers_mut().insert("retry-after", HeaderValue::from_static(header));
        server.next().await.answer.send(Ok(busy)).expect("the client waits");
        assert_eq!(ended(call).await.expect("an answer").status(), 503, "{header}");
        assert_eq!(stopped(&events), Some(StopReason::RetryAfter), "{header}");
        server.got_no_more().await;
    }
    assert!(heeds(wait_after(503, Some(b"60"), Some(secs(60))).await, secs(60)));
    assert!(heeds(wait_after(503, Some(b"59"), Some(secs(60))).await, secs(59)));
    assert!(heeds(wait_after(503, Some(b"299"), None).await, secs(299)), "five minutes by default");
    assert!(is_about(wait_after(503, None, Some(secs(1))).await, BACKOFF), "the cap is not one of the backoff");
}

#[tokio::test(start_paused = true)]
async fn c30_each_response_sets_its_own_wait() {
    let (service, mut server) = server::<Replayed>();
    let waits = config(|builder| builder.backoff(backoff::fixed(BACKOFF)));
    let call = start(RetryLayer::http(waits).layer(service), put(Script::of(&["some"])));
    let mut attempt = server.next().await;
    for (header, wait) in [(Some(2_u16), secs(2)), (None, ms(0)), (Some(30), secs(30))] {
        let mut busy = response(503);
        busy.headers_mut().extend(header.map(|seconds| (http::header::RETRY_AFTER, seconds.into())));
        let elapsed = timer();
        attempt.answer.send(Ok(busy)).expect("the client waits");
        attempt = server.next().await;
        assert!(heeds(elapsed(), wait), "{header:?}: {:?}", elapsed());
    }
    attempt.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c30_a_wait_that_is_asked_for_does_not_make_more_retries() {
    let (log, service) = {
        let log = Record::default();
        let seen = log.clone();
        let service = tower::service_fn(move |_: Request<Replayed>| {
            seen.add(());
            let mut busy = response(503);
            busy.headers_mut().insert("retry-after", 10.into());
            std::future::ready(Ok::<_, Infallible>(busy))
        });
        (log, service)
    };
    let (config, events) = told();
    let elapsed = timer();
    let answer = RetryLayer::http(config).layer(service).oneshot(put(Script::of(&[]))).await.expect("an answer");
    assert_eq!((answer.status(), log.take().len()), (status(503), 4));
    let waited = elapsed();
    assert!((secs(30)..secs(33) + ms(60)).contains(&waited), "three waits, and none after the last attempt");
    assert_eq!(stopped(&events), Some(StopReason::MaxRetries));
}

#[tokio::test(start_paused = true)]
async fn c30_a_wait_beyond_the_deadline_is_not_begun() {
    use StopReason::{Deadline, RetryAfter};
    for (header, stops) in [("18", None), ("21", Some(Deadline)), ("86400", Some(RetryAfter))] {
        let retried = stops.is_none();
        let events = Record::<RetryEvent>::default();
        let told = events.clone();
        let limits = RetryConfig::builder().backoff(backoff::fixed(ms(1))).deadline(secs(20));
        let limits = limits.on_event(move |event| told.add(*event)).build().expect("a configuration that works");
        let (service, mut server) = server::<Replayed>();
        let elapsed = timer();
        let call = start(RetryLayer::http(limits).layer(service), put(Script::of(&["some"])));
        let mut busy = response(503);
        busy.headers_mut().insert("retry-after", HeaderValue::from_static(header));
        server.next().await.answer.send(Ok(busy)).expect("the client waits");
        if retried {
            server.next().await.answer(200);
        }
        let answer = ended(call).await.expect("an answer");
        assert_eq!(answer.status(), if retried { 200 } else { 503 });
        assert!(retried || elapsed() < ms(20), "it came back at once");
        assert_eq!(stopped(&events), stops);
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c30_a_success_or_a_client_error_with_the_header_is_not_retried() {
    for code in [200, 202, 301, 404, 413] {
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(at_once()).layer(service), put(Script::of(&[])));
        let mut later = response(code);
        later.headers_mut().insert("retry-after", 1.into());
        server.next().await.answer.send(Ok(later)).expect("the client waits");
        server.got_no_more().await;
        assert_eq!(ended(call).await.expect("an answer").status(), code);
    }
}
