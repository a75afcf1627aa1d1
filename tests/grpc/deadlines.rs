//! 60: the caller's own deadline, over all attempts. Time is tokio's, paused.

use fusebox::retry::{Attempt, Deadline, TimeLimit, TimedOut};
use fusebox::{RetryLayer, SafetyNet};
use http::{HeaderMap, HeaderValue};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt};

use super::*;
use support::ms;

type Headers = Vec<(String, Vec<u8>)>;

/// As they are sent, one after the other.
fn in_order(headers: &HeaderMap) -> Headers {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// A server that answers after so long: with UNAVAILABLE as often as it was told, then well. Tells the headers of the
/// attempts.
fn server(
    failures: usize,
    takes: Duration,
) -> (
    Record<HeaderMap>,
    impl Service<Request<tonic::body::Body>, Response = Response<Script>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
) {
    let log = Record::default();
    let (seen, inner) = (log.clone(), answers((0..failures).map(|_| trailers_only(Code::Unavailable, &[])).collect()));
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        seen.add(request.headers().clone());
        let inner = inner.clone();
        async move {
            tokio::time::sleep(takes).await;
            inner.oneshot(request).await
        }
    });
    (log, service)
}

fn with_timeout(value: &[u8]) -> Request<tonic::body::Body> {
    let mut request = request();
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_bytes(value).expect("a header may have these"));
    request
}

/// What each attempt said, as text.
fn timeouts(log: &Record<HeaderMap>) -> Vec<Option<String>> {
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    log.take().iter().map(|headers| headers.get("grpc-timeout").map(text)).collect()
}

/// Timers tick in milliseconds: as much is left, or a little less.
#[track_caller]
fn is_about(said: Option<&str>, left: Duration) {
    let micros = said.and_then(|said| said.strip_suffix('u')).expect("microseconds");
    let said = Duration::from_micros(micros.parse().expect("a number"));
    assert!(said <= left && said + ms(10) >= left, "{said:?} of {left:?}");
}

fn is_unavailable<B>(response: &Response<B>) -> bool {
    response.headers().get("grpc-status").is_some_and(|status| status == "14")
}

#[tokio::test(start_paused = true)]
async fn c60_each_further_attempt_is_sent_what_is_left() {
    let (log, server) = server(3, ms(400));
    let (config, events) = told(ms(300));
    let response = RetryLayer::grpc(config).layer(server).oneshot(with_timeout(b"10S")).await.expect("an answer");
    assert!(!is_unavailable(&response));
    let said = timeouts(&log);
    assert_eq!((said.len(), stopped(&events)), (4, None));
    assert_eq!(said[0].as_deref(), Some("10S"), "the first attempt as it came");
    for (said, left) in said[1..].iter().zip([9_300, 8_600, 7_900]) {
        is_about(said.as_deref(), ms(left));
    }
}

#[tokio::test(start_paused = true)]
async fn c60_no_attempt_begins_that_cannot_end() {
    for (timeout, left) in [("1S", Some(ms(300))), ("500m", None), ("700m", None), ("850m", Some(ms(150)))] {
        let (log, server) = server(1, ms(400));
        let (config, events) = told(ms(300));
        let elapsed = timer();
        let call = RetryLayer::grpc(config).layer(server).oneshot(with_timeout(timeout.as_bytes()));
        let response = call.await.expect("an answer");
        let said = timeouts(&log);
        assert_eq!(said[0].as_deref(), Some(timeout));
        assert_eq!((said.len(), is_unavailable(&response)), (1 + usize::from(left.is_some()), left.is_none()));
        match left {
            Some(left) => is_about(said[1].as_deref(), left),
            None => {
                assert_eq!(stopped(&events), Some(StopReason::Deadline));
                assert!((ms(400)..ms(420)).contains(&elapsed()), "at once: {:?}", elapsed());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c60_a_wait_that_the_server_asks_for_is_not_begun_either() {
    for (pushback, attempts) in [("59000", 2), ("60000", 1), ("3600000", 1)] {
        let answer = trailers_only(Code::Unavailable, &[("grpc-retry-pushback-ms", pushback)]);
        let (config, events) = told(Duration::ZERO);
        let elapsed = timer();
        let response = RetryLayer::grpc(config).layer(answers(vec![answer])).oneshot(with_timeout(b"1M")).await;
        assert_eq!(is_unavailable(&response.expect("an answer")), attempts == 1, "{pushback}");
        assert_eq!(stopped(&events), (attempts == 1).then_some(StopReason::Deadline));
        assert_eq!(elapsed() < ms(20), attempts == 1, "{:?}", elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn c60_an_attempt_that_ended_after_the_deadline_was_the_last() {
    for timeout in ["399m", "0n", "0S", "1n"] {
        let (log, server) = server(1, ms(400));
        let (config, events) = told(Duration::ZERO);
        let response = RetryLayer::grpc(config).layer(server).oneshot(with_timeout(timeout.as_bytes())).await;
        assert!(is_unavailable(&response.expect("an answer")), "{timeout}");
        assert_eq!((timeouts(&log), stopped(&events)), (vec![Some(timeout.into())], Some(StopReason::Deadline)));
    }
}

#[tokio::test(start_paused = true)]
async fn c60_the_time_to_get_ready_is_gone_as_well() {
    let (log, server) = server(1, ms(400));
    let limited = ConcurrencyLimitLayer::new(1).layer(server);
    let mut other = limited.clone();
    let (config, _events) = told(ms(300));
    let mut service = RetryLayer::grpc(config).layer(limited);
    let call = service.ready().await.expect("there is a place").call(with_timeout(b"2S"));
    let (response, ()) = futures::join!(call, async {
        // The place between two attempts goes to another, for a second.
        other.ready().await.expect("in between");
        tokio::time::sleep(ms(1_000)).await;
        drop(other);
    });
    assert!(!is_unavailable(&response.expect("an answer")));
    is_about(timeouts(&log)[1].as_deref(), ms(2_000 - 400 - 1_000));
}

/// Byte by byte: the rewritten deadline and A6's header, nothing else.
#[tokio::test(start_paused = true)]
async fn c60_an_attempt_adds_the_deadline_that_is_left_and_its_number_and_nothing_else() {
    let (log, server) = server(2, ms(400));
    let mut order =
        Request::post("http://shop.example/shop.Orders/Place").body(tonic::body::Body::empty()).expect("one");
    let raw = |bytes: &'static [u8]| HeaderValue::from_bytes(bytes).expect("a header may have these");
    for (name, value) in [
        ("te", raw(b"trailers")),
        ("content-type", raw(b"application/grpc")),
        ("trace-bin", raw(b"AAEC")),
        ("grpc-timeout", raw(b"00000010S")),
        ("trace-bin", raw(b"AwQF")),
        ("grpc-timeout-of-mine", raw(b"1S")),
        ("note", raw(b"\xfc\xff \t.")),
    ] {
        order.headers_mut().append(name, value);
    }
    let first = in_order(order.headers());
    let (config, _events) = told(ms(600));
    RetryLayer::grpc(config).layer(server).oneshot(order).await.expect("an answer");
    let seen: Vec<_> = log.take().iter().map(in_order).collect();
    assert_eq!((seen.len(), &seen[0]), (3, &first));
    for (n, attempt) in seen.iter().enumerate().skip(1) {
        let value_of = |name: &str| &attempt.iter().find(|header| header.0 == name).expect("it is sent").1;
        let said = String::from_utf8(value_of("grpc-timeout").clone()).expect("text");
        is_about(Some(&said), ms(10_000 - 1_000 * n as u64));
        let mut expected = first.clone();
        for (name, value) in &mut expected {
            if name == "grpc-timeout" {
                *value = said.clone().into_bytes();
            }
        }
        expected.push(("grpc-previous-rpc-attempts".to_owned(), n.to_string().into_bytes()));
        assert_eq!(*attempt, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn c60_no_deadline_is_invented() {
    let (log, server) = server(3, secs(3_600));
    let (config, events) = told(secs(3_600));
    let response = RetryLayer::grpc(config).layer(server).oneshot(request()).await.expect("an answer");
    assert!(!is_unavailable(&response) && stopped(&events).is_none());
    assert_eq!(timeouts(&log), [None, None, None, None]);
}

/// Makes a call whose attempts take an hour each, and returns the headers of the attempts.
async fn patient_attempts(request: Request<tonic::body::Body>) -> Vec<HeaderMap> {
    let (log, server) = server(3, secs(3_600));
    let (config, _events) = told(secs(3_600));
    RetryLayer::grpc(config).layer(server).oneshot(request).await.expect("an answer");
    log.take()
}

#[tokio::test(start_paused = true)]
async fn c60_a_malformed_timeout_is_passed_on_and_is_no_deadline() {
    let malformed: [&[u8]; 16] = [
        b"",
        b"1",
        b"S",
        b"1s",
        b"1 S",
        b" 1S",
        b"+1S",
        b"-1S",
        b"1.5S",
        b"1SS",
        b"123456789n",
        b"0000000001S",
        b"99999999999999999999H",
        b"\xd9\xa3S",
        b"1\xff",
        b"\xff",
    ];
    for value in malformed {
        let seen = patient_attempts(with_timeout(value)).await;
        assert_eq!(seen.len(), 4, "{value:?}");
        assert!(seen.iter().all(|headers| headers["grpc-timeout"].as_bytes() == value), "{value:?}: {seen:?}");
    }
    let mut two = with_timeout(b"1S");
    two.headers_mut().append("grpc-timeout", HeaderValue::from_static("2S"));
    let seen = patient_attempts(two).await;
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|headers| headers.get_all("grpc-timeout").iter().eq(["1S", "2S"])), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn c60_the_longest_timeout_is_heeded_and_does_no_harm() {
    for timeout in ["99999999H", "99999999M", "99999999S"] {
        let seen = patient_attempts(with_timeout(timeout.as_bytes())).await;
        assert_eq!((seen.len(), seen[0]["grpc-timeout"].as_bytes()), (4, timeout.as_bytes()));
        let said = seen[3]["grpc-timeout"].to_str().expect("text");
        assert!(said.len() == 9 && said < timeout, "{said} is less than {timeout}");
    }
}

#[tokio::test(start_paused = true)]
async fn c60_bytes_of_any_kind_are_bounded_and_no_panic() {
    // All there are of one and two bytes, and every unit after every number of digits.
    let bytes = (32..=255).filter(|byte| *byte != 127);
    let mut values: Vec<Vec<u8>> = bytes.clone().map(|byte| vec![byte]).collect();
    values.extend(bytes.clone().flat_map(|unit| [vec![b'7', unit], vec![unit, b'S'], vec![b'9', unit, b'n']]));
    values.extend((0..=20).flat_map(|digits| b"HMSmunx9".map(|unit| [&vec![b'9'; digits][..], &[unit][..]].concat())));
    for value in values {
        let (log, server) = server(1, ms(1));
        let (config, events) = told(ms(1));
        RetryLayer::grpc(config).layer(server).oneshot(with_timeout(&value)).await.expect("an answer");
        let seen = log.take();
        assert_eq!(seen[0]["grpc-timeout"].as_bytes(), value);
        // Nothing but digits and a unit is one, and ends the call if it is over within these 2 ms.
        let (unit, digits) = value.split_last().expect("a byte");
        let is_one =
            (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && b"HMSmun".contains(unit);
        let last = &seen.last().expect("an attempt")["grpc-timeout"];
        match seen.len() {
            1 => assert!(is_one && stopped(&events) == Some(StopReason::Deadline), "{value:?}"),
            2 => assert_eq!(last.as_bytes() != value, is_one, "{value:?}: {last:?}"),
            more => panic!("{more} attempts"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c60_rules_of_the_users_own_for_what_is_sent_again_change_nothing_about_it() {
    let (log, server) = server(1, ms(400));
    let (config, _events) = told(ms(300));
    let layer = RetryLayer::grpc(config).idempotent_when(|parts| parts.uri.path().ends_with("Place")).replay_up_to(99);
    layer.layer(server).oneshot(with_timeout(b"1S")).await.expect("an answer");
    let seen = log.take();
    is_about(seen[1]["grpc-timeout"].to_str().ok(), ms(300));
    assert_eq!(seen[1]["grpc-previous-rpc-attempts"], "1");
}

#[tokio::test(start_paused = true)]
async fn c60_the_extension_counts_where_it_is_the_sooner() {
    for (timeout, within, attempts) in [
        (Some("60S"), secs(1), 2),
        (Some("1S"), secs(60), 2),
        (None, secs(1), 2),
        (None, secs(60), 4),
        (Some("1x"), secs(1), 2),
    ] {
        let (log, server) = server(3, ms(400));
        let (config, _events) = told(ms(300));
        let mut order = timeout.map_or_else(request, |timeout| with_timeout(timeout.as_bytes()));
        order.extensions_mut().insert(Deadline::within(within));
        RetryLayer::grpc(config).layer(server).oneshot(order).await.expect("an answer");
        let said = timeouts(&log);
        assert_eq!((said.len(), said[0].as_deref()), (attempts, timeout));
        match timeout {
            Some(timeout) if timeout.ends_with('S') => is_about(said[1].as_deref(), ms(300)),
            // None is invented.
            other => assert_eq!(said[1].as_deref(), other),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c60_a_retry_within_a_retry_has_what_the_outer_one_left() {
    let (log, server) = server(3, ms(400));
    let once_more = || {
        let builder = RetryConfig::builder().max_retries(1).backoff(backoff::fixed(ms(100)));
        RetryLayer::grpc(builder.build().expect("it works"))
    };
    let client = once_more().layer(once_more().layer(server));
    client.oneshot(with_timeout(b"10S")).await.expect("an answer");
    let said = timeouts(&log);
    for (said, left) in said[1..].iter().zip([9_500, 9_000, 8_500]) {
        is_about(said.as_deref(), ms(left));
    }
    assert_eq!(said.len(), 4);
}

// An attempt on its way

fn hangs()
-> impl Service<Request<tonic::body::Body>, Response = Response<Script>, Error = Infallible, Future: Send> + Clone {
    tower::service_fn(|_| std::future::pending())
}

#[tokio::test(start_paused = true)]
async fn c60_an_attempt_on_its_way_is_not_cut_where_no_limit_is_configured() {
    let (config, _events) = told(Duration::ZERO);
    let call = RetryLayer::grpc(config).layer(hangs()).oneshot(with_timeout(b"1S"));
    assert!(tokio::time::timeout(secs(86_400), call).await.is_err(), "that is for the server, and for tonic's channel");
    #[cfg(feature = "serde")]
    {
        let config: RetryConfig<fusebox::retry::Timed> = toml::from_str("max_retries = 2").expect("it works");
        let call = RetryLayer::grpc(config).layer(hangs()).oneshot(with_timeout(b"1S"));
        assert!(tokio::time::timeout(secs(86_400), call).await.is_err());
    }
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn c60_a_configuration_from_a_file_heeds_it_without_limits_of_its_own() {
    let config: RetryConfig<fusebox::retry::Timed> =
        toml::from_str("max_retries = 2\nbackoff = '300ms'").expect("it works");
    let (log, server) = server(1, ms(400));
    let response = RetryLayer::grpc(config).layer(server).oneshot(with_timeout(b"500m")).await;
    assert!(is_unavailable(&response.expect("an answer")));
    assert_eq!(timeouts(&log).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c60_where_there_are_limits_the_sooner_one_ends_the_attempt() {
    let builder = || RetryConfig::builder().max_retries(1).backoff(backoff::fixed(secs(1)));
    let cases = [
        (builder().deadline(secs(15)), "2S", TimeLimit::Deadline, secs(2), 1, secs(2)),
        (builder().deadline(secs(15)), "60S", TimeLimit::Deadline, secs(15), 1, secs(15)),
        (builder().attempt_timeout(secs(5)), "2S", TimeLimit::Deadline, secs(2), 1, secs(2)),
        // The second attempt begins after 6 s.
        (builder().attempt_timeout(secs(5)), "8S", TimeLimit::Deadline, secs(8), 2, secs(8)),
        (builder().attempt_timeout(secs(5)), "60S", TimeLimit::Attempt, secs(5), 2, secs(11)),
        (builder().attempt_timeout(secs(5)), "6S", TimeLimit::Attempt, secs(5), 1, secs(5)),
        (builder().attempt_timeout(secs(5)).deadline(secs(15)), "0n", TimeLimit::Deadline, secs(0), 1, secs(0)),
    ];
    for (builder, timeout, limit, after, attempt, took) in cases {
        let elapsed = timer();
        let layer = RetryLayer::grpc(builder.build().expect("it works"));
        // A body that is too long to be kept makes no difference to that.
        for cap in [64, 0] {
            let before = elapsed();
            let call = layer.clone().replay_up_to(cap).layer(hangs()).oneshot(with_timeout(timeout.as_bytes()));
            let error = call.await.map(drop).expect_err("it hangs");
            let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
            if cap > 0 {
                assert_eq!(
                    (timed_out.limit(), timed_out.after(), timed_out.attempt()),
                    (limit, after, attempt),
                    "{timeout}"
                );
                let it_took = elapsed().saturating_sub(before);
                assert!((took..took + ms(20)).contains(&it_took), "{timeout}: {it_took:?}");
            } else {
                assert_eq!((timed_out.attempt(), timed_out.after().min(after)), (1, timed_out.after()), "{timeout}");
            }
        }
    }
}

/// What the client ends by itself is a failure for a breaker inside; what the retry drops is none.
#[tokio::test(start_paused = true)]
async fn c60_a_client_that_ends_an_attempt_at_the_deadline_goes_first() {
    let (watcher, _clock) = watching(|builder| builder);
    let ends = tower::service_fn(|_: Request<tonic::body::Body>| async {
        // Its timer begins a moment after the call.
        tokio::time::sleep(ms(3)).await;
        tokio::time::sleep(secs(2)).await;
        Err::<Response<Script>, _>(support::Down)
    });
    let config = RetryConfig::builder().deadline(secs(15)).build().expect("it works");
    let guarded = fusebox::CircuitBreakerLayer::from(watcher.breaker.clone()).classify(fusebox::classify::grpc());
    let service = RetryLayer::grpc(config).layer(guarded.layer(ends));
    let error = service.oneshot(with_timeout(b"2S")).await.map(drop).expect_err("no answer");
    assert!(error.is::<support::Down>(), "{error:?}");
    assert_eq!(outcomes(&watcher), "F");
}

#[tokio::test(start_paused = true)]
async fn c60_a_call_without_any_time_is_not_sent_where_there_are_limits() {
    let config = RetryConfig::builder().attempt_timeout(secs(5)).build().expect("it works");
    let (log, server) = server(0, ms(1));
    let limited = ConcurrencyLimitLayer::new(1).layer(server);
    let mut other = limited.clone();
    let mut service = RetryLayer::grpc(config).layer(limited);
    let error = service
        .ready()
        .await
        .expect("there is a place")
        .call(with_timeout(b"0n"))
        .await
        .map(drop)
        .expect_err("no time");
    assert_eq!(error.downcast_ref::<TimedOut>().map(TimedOut::limit), Some(TimeLimit::Deadline));
    assert_eq!(log.take().len(), 0);
    at_hand(other.ready()).expect("the place was given back");
}

#[tokio::test(start_paused = true)]
async fn c60_the_safety_net_for_grpc_heeds_it() {
    let (log, server) = server(1, ms(400));
    let net = SafetyNet::grpc("orders").expect("a name");
    let elapsed = timer();
    net.layer(server).oneshot(with_timeout(b"2S")).await.expect("the second attempt");
    let waited = elapsed().saturating_sub(ms(800));
    is_about(timeouts(&log)[1].as_deref(), ms(1_605).saturating_sub(waited));

    let error = net.layer(hangs()).oneshot(with_timeout(b"2S")).await.map(drop).expect_err("it hangs");
    let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
    assert_eq!((timed_out.limit(), timed_out.after(), timed_out.attempt()), (TimeLimit::Deadline, secs(2), 1));
}

#[tokio::test(start_paused = true)]
async fn c60_a_client_of_tonics_sees_it() {
    let (log, server) = server(1, ms(400));
    let (config, _events) = told(ms(300));
    let mut client = tonic::client::Grpc::new(RetryLayer::grpc(config).layer(server));
    let mut order = tonic::Request::new("order");
    order.set_timeout(secs(1));
    client.ready().await.expect("ready");
    let answer = client.unary(order, text_codec::PLACE, text_codec::Text).await.expect("an answer");
    assert_eq!(answer.into_inner(), "fine");
    let said = timeouts(&log);
    assert_eq!(said[0].as_deref(), Some("1000000u"));
    is_about(said[1].as_deref(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn c60_attempts_are_numbered_as_ever() {
    let log = Record::default();
    let seen = log.clone();
    let (_, inner) = server(2, ms(1));
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        seen.add(Attempt::of(request.extensions()).0);
        inner.clone().oneshot(request)
    });
    let (config, _events) = told(ms(1));
    RetryLayer::grpc(config).layer(service).oneshot(with_timeout(b"1S")).await.expect("an answer");
    assert_eq!(log.take(), [1, 2, 3]);
}
