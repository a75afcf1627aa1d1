//! What a call counts as, by where its status is.

use fusebox::classify::{self, Grpc};
use fusebox::{
    CircuitBreakerLayer, Classify, Outcome, RetryLayer, State,
    circuit_breaker::GuardedBody,
    classify::{AtEnd, AtHead, ClassifyEnd},
};
use http::HeaderMap;
use tonic::Status;
use tower::{Layer, ServiceExt};

use super::script::Knows;
use super::*;
use support::{Down, failures};

/// Makes a call that ends in this response, up to its headers.
fn head(breaker: &CircuitBreaker, response: Response<Script>) -> Response<Reading> {
    head_by(breaker, classify::grpc(), response)
}

fn head_by<C>(breaker: &CircuitBreaker, classifier: C, response: Response<Script>) -> Response<Reading<C>>
where
    C: Classify<Response<Script>, Infallible, Scope = AtEnd> + ClassifyEnd + Clone + 'static,
{
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classifier);
    at_hand(layer.layer(answers(vec![response])).oneshot(request())).expect("not rejected").map(Box::pin)
}

#[test]
fn a_status_in_the_headers_counts_at_once() {
    let breaker = watcher();
    for code in ALL {
        let response = head(&breaker, trailers_only(code, &[]));
        assert_eq!(outcomes(&breaker), expected(code), "{code:?}");
        at_hand(read_all(response.into_body())).expect("no error");
        assert_eq!(outcomes(&breaker), "", "once");
    }
}

#[test]
fn a_status_in_the_trailers_counts_when_they_are_read() {
    let breaker = watcher();
    for code in ALL {
        for messages in 0..=2 {
            let steps = std::iter::repeat_n(message("hello"), messages).chain([status(code)]);
            let mut body = head(&breaker, streaming(steps)).into_body();
            for _ in 0..messages {
                assert!(at_hand(body.frame()).expect("a frame").expect("no error").is_data());
                assert_eq!(outcomes(&breaker), "", "{code:?}: nobody knows yet");
            }
            assert!(at_hand(body.frame()).expect("a frame").expect("no error").is_trailers());
            assert_eq!(outcomes(&breaker), expected(code), "{code:?}, without asking for another frame");
            assert!(at_hand(body.frame()).is_none());
            drop(body);
            assert_eq!(outcomes(&breaker), "", "once");
        }
    }
}

#[test]
fn a_status_that_tonic_has_read_counts_the_same() {
    let breaker = watcher();
    for code in ALL {
        let result = at_hand(breaker.classify(classify::grpc()).call(|| async {
            match code {
                Code::Ok => Ok(tonic::Response::new("fine")),
                _ => Err(Status::new(code, "no")),
            }
        }));
        assert_eq!(result.is_ok(), code == Code::Ok);
        assert_eq!(outcomes(&breaker), expected(code), "{code:?}");
    }
}

#[test]
fn a_status_that_is_none_is_unknown() {
    let breaker = watcher();
    for wrong in ["", "seventeen", "17", "-1", "0.0", "00", "\u{e9}"] {
        let mut response = streaming([]);
        response.headers_mut().extend(headers(&[("grpc-status", wrong)]));
        head(&breaker, response);
        assert_eq!(outcomes(&breaker), "F", "{wrong:?} in the headers");
        let response = head(&breaker, streaming([trailers(&[("grpc-status", wrong)])]));
        at_hand(read_all(response.into_body())).expect("no error");
        assert_eq!(outcomes(&breaker), "F", "{wrong:?} in the trailers");
    }
}

#[test]
fn a_response_that_ends_without_a_status_is_a_failure() {
    let breaker = watcher();
    for knows in [Knows::All, Knows::Nothing] {
        let silent = |steps: Vec<Step>| streaming(steps).map(|body| body.knows(knows));
        let ended = |response: Response<Reading>| at_hand(read_all(response.into_body())).expect("no error");

        ended(head(&breaker, silent(vec![message("half"), trailers(&[("checksum", "7f")])])));
        assert_eq!(outcomes(&breaker), "F", "trailers without a status");
        ended(head(&breaker, silent(vec![message("half")])));
        assert_eq!(outcomes(&breaker), "F", "no trailers");
        ended(head(&breaker, silent(vec![])));
        assert_eq!(outcomes(&breaker), "F", "nothing at all");
    }
}

#[test]
fn a_missing_status_counts_without_asking_for_more_than_there_is() {
    let breaker = watcher();
    let unread = head(&breaker, streaming([]));
    assert_eq!(outcomes(&breaker), "F", "whoever sees that the body is empty does not read it");
    drop(unread);
    let mut body = head(&breaker, streaming([message("half")])).into_body();
    at_hand(body.frame()).expect("a frame").expect("no error");
    assert!(body.is_end_stream());
    assert_eq!(outcomes(&breaker), "F", "nor on after the last frame");
}

#[test]
fn a_body_that_breaks_off_is_a_failure_once() {
    let breaker = watcher();
    for before in 0..=2 {
        let steps = std::iter::repeat_n(message("hello"), before).chain([Step::Error, status(Code::Ok)]);
        let mut body = head(&breaker, streaming(steps)).into_body();
        for _ in 0..before {
            at_hand(body.frame()).expect("a frame").expect("no error");
        }
        assert_eq!(outcomes(&breaker), "");
        assert!(at_hand(body.frame()).expect("an error").is_err());
        assert_eq!(outcomes(&breaker), "F");
        at_hand(body.frame()).expect("a frame").expect("no error");
        drop(body);
        assert_eq!(outcomes(&breaker), "", "what comes after an error changes nothing");
    }
}

/// Whoever catches the panic may keep the body for as long as they like, and with it a probe's place.
#[test]
fn a_panic_in_a_body_is_a_failure_at_once() {
    let breaker = watcher();
    let mut body = head(&breaker, streaming([message("half"), Step::Panic])).into_body();
    at_hand(body.frame()).expect("a frame").expect("no error");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| at_hand(body.frame()).is_none()));
    assert!(caught.is_err());
    assert_eq!(outcomes(&breaker), "F");
}

#[test]
fn an_error_of_the_transport_is_a_failure() {
    let breaker = watcher();
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let down = tower::service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(Down) });
    assert!(at_hand(layer.layer(down).oneshot(Request::new(()))).is_err());
    assert_eq!(outcomes(&breaker), "F");
}

#[test]
fn a_response_that_is_not_grpc_is_judged_by_its_http_status() {
    let breaker = watcher();
    let table = [
        (400, "F"),
        (401, "S"),
        (403, "S"),
        (404, "S"),
        (408, "F"),
        (429, ""),
        (500, "F"),
        (501, ""),
        (505, ""),
        (502, "F"),
        (503, "F"),
        (504, "F"),
        (302, "F"),
    ];
    for (code, seen) in table {
        let mut response = Response::new(Script::of(&["<html>"]));
        *response.status_mut() = http::StatusCode::from_u16(code).expect("a status");
        let response = head(&breaker, response);
        assert_eq!(outcomes(&breaker), seen, "{code}");
        drop(response);
        assert_eq!(outcomes(&breaker), "", "once");
    }
    let mut response = trailers_only(Code::NotFound, &[]);
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    head(&breaker, response);
    assert_eq!(outcomes(&breaker), "S", "where there is a gRPC status, it counts");
}

#[test]
fn a_guarded_body_passes_everything_on() {
    let breaker = watcher();
    let mut response = head(&breaker, streaming([data("some"), data("thing"), status(Code::Ok)]));
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let body = response.body_mut();
    for (text, left) in [("some", 9), ("thing", 5)] {
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), false));
        assert_eq!(at_hand(body.frame()).expect("a frame").expect("no error").into_data().expect("data"), text);
    }
    assert!(!body.is_end_stream());
    let trailers = at_hand(body.frame()).expect("a frame").expect("no error").into_trailers().expect("trailers");
    assert_eq!(trailers, headers(&[("grpc-status", "0")]));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));

    let body = GuardedBody::<http_body_util::Full<Bytes>, Grpc>::default();
    assert!(body.is_end_stream());
    assert_eq!(at_hand(read_all(body)).expect("no error").0, "");
    assert_eq!(outcomes(&breaker), "S", "the one call that was made");
}

// Other rules

#[test]
fn the_sets_of_failing_and_retryable_codes_can_be_replaced() {
    let breaker = watcher();
    let mine = classify::grpc().failing(&[Code::NotFound, Code::Cancelled]).retryable(&[Code::NotFound, Code::Ok]);
    for code in ALL {
        let seen = match code {
            Code::NotFound | Code::Cancelled => "F",
            Code::ResourceExhausted => "",
            _ => "S",
        };
        head_by(&breaker, mine, trailers_only(code, &[]));
        assert_eq!(outcomes(&breaker), seen, "{code:?}");

        let (config, events) = told(Duration::ZERO);
        let service = RetryLayer::grpc(config).classify(mine).layer(answers(vec![trailers_only(code, &[])]));
        let answer = at_hand(service.oneshot(request())).expect("an answer");
        at_hand(read_all(answer.into_body())).expect("a body");
        let retried = events.take().len() > 1;
        assert_eq!(retried, code == Code::NotFound, "{code:?}: what went well is not retried");
    }
}

/// Says at the end whether all went well, unless the headers do.
#[derive(Clone, Debug)]
struct Checksummed(Record<Option<HeaderMap>>);

impl<B, E> Classify<Response<B>, E> for Checksummed {
    type Scope = AtEnd;

    fn classify(&self, result: &Result<Response<B>, E>) -> Outcome {
        match result {
            Ok(response) => self.at_head(response).unwrap_or(Outcome::Success),
            Err(_) => Outcome::Ignored,
        }
    }
}

impl ClassifyEnd for Checksummed {
    fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
        response.status().is_server_error().then_some(Outcome::Failure)
    }

    fn at_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
        self.0.add(trailers.cloned());
        match trailers.is_some_and(|trailers| trailers.contains_key("checksum")) {
            true => Outcome::Success,
            false => Outcome::Failure,
        }
    }
}

#[test]
fn a_classifier_of_ones_own_is_asked_at_the_end_and_once() {
    let breaker = watcher();
    let asked = Record::default();
    let call = |steps: Vec<Step>| {
        let response = head_by(&breaker, Checksummed(asked.clone()), Response::new(Script::new(steps)));
        assert_eq!(outcomes(&breaker), "");
        let mut body = response.into_body();
        while let Some(Ok(_)) = at_hand(body.frame()) {}
        drop(body);
        (outcomes(&breaker), asked.take())
    };
    let checksum = [("checksum", "7f")];
    assert_eq!(call(vec![data("some"), trailers(&checksum)]), ("S".to_owned(), vec![Some(headers(&checksum))]));
    let other = [("other", "7f")];
    assert_eq!(call(vec![data("some"), trailers(&other)]), ("F".to_owned(), vec![Some(headers(&other))]));
    assert_eq!(call(vec![data("some")]), ("F".to_owned(), vec![None]));
    assert_eq!(call(vec![data("some"), Step::Error]), ("F".to_owned(), vec![]), "that is a failure without question");
}

#[test]
fn a_classifier_of_ones_own_may_know_from_the_headers() {
    let breaker = watcher();
    let asked = Record::default();
    let mut response = Response::new(Script::new([trailers(&[("checksum", "7f")])]));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    let response = head_by(&breaker, Checksummed(asked.clone()), response);
    assert_eq!(outcomes(&breaker), "F");
    at_hand(read_all(response.into_body())).expect("no error");
    assert_eq!((outcomes(&breaker), asked.take()), (String::new(), vec![]));

    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(Checksummed(asked));
    let down = tower::service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(Down) });
    assert!(at_hand(layer.layer(down).oneshot(Request::new(()))).is_err());
    assert_eq!(outcomes(&breaker), "", "its own rule for errors");
}

/// Panics when it is asked of the end.
#[derive(Clone)]
struct NoAnswer;

impl<B, E> Classify<Response<B>, E> for NoAnswer {
    type Scope = AtEnd;

    fn classify(&self, _result: &Result<Response<B>, E>) -> Outcome {
        Outcome::Success
    }
}

impl ClassifyEnd for NoAnswer {
    fn at_head<B>(&self, _response: &Response<B>) -> Option<Outcome> {
        None
    }

    fn at_end(&self, _trailers: Option<&HeaderMap>) -> Outcome {
        panic!("it is not in the table")
    }
}

/// As with a call that has not been answered yet.
#[test]
fn a_body_that_a_panic_takes_along_is_a_failure() {
    let breaker = watcher();
    let body = || head_by(&breaker, NoAnswer, streaming([status(Code::Ok)])).into_body();
    let caught = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    assert!(caught(&|| drop(at_hand(body().frame()))), "the classifier's");
    assert_eq!(outcomes(&breaker), "F");
    let reader = || {
        let _body = body();
        panic!("the reader has no use for it")
    };
    assert!(caught(&reader), "the reader's");
    assert_eq!(outcomes(&breaker), "F");
    drop(body());
    assert_eq!(outcomes(&breaker), "", "a reader who leaves");
}

#[test]
fn a_classifier_may_wrap_the_one_for_grpc() {
    /// Never takes the server's word for when to come back.
    #[derive(Clone, Copy)]
    struct Deaf(Grpc);

    impl<B, E: 'static> Classify<Response<B>, E> for Deaf {
        type Scope = AtEnd;

        fn classify(&self, result: &Result<Response<B>, E>) -> Outcome {
            deaf(self.0.classify(result))
        }
    }
    impl ClassifyEnd for Deaf {
        fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
            self.0.at_head(response).map(deaf)
        }

        fn at_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
            deaf(self.0.at_end(trailers))
        }
    }
    const fn deaf(outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::FailureAfter(_) => Outcome::Failure,
            other => other,
        }
    }

    let pushback = [("grpc-status", "14"), ("grpc-retry-pushback-ms", "120000")];
    for (classifier, cooldown) in [(None, secs(120)), (Some(Deaf(classify::grpc())), secs(30))] {
        let breaker = CircuitBreaker::new(tripping("orders").build().expect("it works"));
        let response = streaming([message("half"), trailers(&pushback)]);
        match classifier {
            Some(deaf) => at_hand(read_all(head_by(&breaker, deaf, response).into_body())).expect("no error"),
            None => at_hand(read_all(head(&breaker, response).into_body())).expect("no error"),
        };
        assert_eq!((breaker.state(), breaker.retry_after()), (State::Open, Some(cooldown)));
    }
}

#[test]
fn pushback_lengthens_the_cooldown_wherever_it_is() {
    let in_status = || {
        let mut status = Status::unavailable("busy");
        status.metadata_mut().insert("grpc-retry-pushback-ms", 45_000.into());
        status
    };
    let waits: [(&str, Duration); 4] = [("45000", secs(45)), ("1000", secs(30)), ("-1", secs(30)), ("soon", secs(30))];
    for (value, cooldown) in waits {
        let breaker = CircuitBreaker::new(tripping("orders").build().expect("it works"));
        head(&breaker, trailers_only(Code::Unavailable, &[("grpc-retry-pushback-ms", value)]));
        assert_eq!(breaker.retry_after(), Some(cooldown), "{value}");
    }
    let breaker = CircuitBreaker::new(tripping("orders").build().expect("it works"));
    let call = || async { Err::<tonic::Response<()>, _>(in_status()) };
    assert!(at_hand(breaker.classify(classify::grpc()).call(call)).is_err());
    assert_eq!(breaker.retry_after(), Some(secs(45)));
}

/// For [`tonic::Response`] nothing is left to wait for.
const fn knows_at_once<T, E, C: Classify<T, E, Scope = AtHead>>(_: &C) {}

#[test]
fn calls_without_tower_return_what_the_classifier_can_watch() {
    let breaker = watcher();
    knows_at_once::<tonic::Response<()>, Status, _>(&classify::grpc());
    let calls = breaker.classify(classify::grpc());
    let call = calls.call(|| async { Ok::<_, Down>(streaming([status(Code::Internal)])) });
    let response: Response<GuardedBody<Script, Grpc>> = at_hand(call).expect("not rejected");
    assert_eq!(failures(&breaker), 0);
    at_hand(read_all(response.into_body())).expect("no error");
    assert_eq!(failures(&breaker), 1);
    let pass: Result<tonic::Response<u32>, _> = calls.call_blocking(|| Ok::<_, Status>(tonic::Response::new(7)));
    assert_eq!(pass.expect("not rejected").into_inner(), 7);
}
