//! The tables of `docs/outcomes.md` are what the code does.
#![cfg(feature = "http")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use fusebox::{
    Classify, Outcome,
    classify::{self, Retry},
};
use http::Response;

#[cfg(any(feature = "postgres", feature = "redis"))]
mod databases;

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/outcomes.md")).expect("the document")
}

/// The rows of the first table below the heading that begins so.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = document();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect("the section");
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<String>> = lines.skip(2).map(cells).collect();
    assert!(rows.len() >= 8, "{heading}: the table was found");
    rows
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

fn breaker(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failure | Outcome::FailureAfter(_) => "failure",
        Outcome::Ignored => "ignored",
        other => panic!("{other:?}"),
    }
}

fn retry(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "no",
        Retry::IfIdempotent => "idempotent",
        Retry::Unprocessed => "any",
        Retry::Once => "once",
        other => panic!("{other:?}"),
    }
}

fn response(status: u16, content_type: Option<&str>) -> Result<Response<&'static str>, Infallible> {
    let mut response = Response::builder().status(status);
    if let Some(content_type) = content_type {
        response = response.header("content-type", content_type);
    }
    Ok(response.body("").expect("a response"))
}

#[test]
fn the_table_of_http_is_what_the_code_does() {
    let rows = rows("HTTP");
    let fits = |cell: &str, status: u16| match cell.split_once('-') {
        Some((first, last)) => (first.parse().expect("a number")..=last.parse().expect("a number")).contains(&status),
        None => cell.parse() == Ok(status),
    };
    let mut used = vec![false; rows.len()];
    for status in 100..600 {
        let at = rows.iter().position(|row| fits(&row[0], status)).expect("a row for each status");
        used[at] = true;
        let answer = response(status, None);
        let done = (breaker(classify::http().classify(&answer)), retry(classify::http().retry(&answer)));
        assert_eq!(done, (&*rows[at][1], &*rows[at][2]), "{status}");
    }
    assert_eq!(used, vec![true; rows.len()]);
}

/// Where the end of a response is watched, its head says the same, but for a success: that may still break off.
#[test]
fn a_head_says_the_same_where_the_end_is_watched() {
    use fusebox::classify::ClassifyEnd;
    for (plain, watched) in [
        (classify::http(), classify::http().at_end()),
        (classify::http().quota_is_failure(), classify::http().at_end().quota_is_failure()),
    ] {
        for status in 100..600 {
            let answer = response(status, None);
            let at_once = plain.classify(&answer);
            assert_eq!(
                (watched.classify(&answer), watched.retry(&answer)),
                (at_once, plain.retry(&answer)),
                "{status}"
            );
            let head = watched.at_head(answer.as_ref().expect("a response"));
            assert_eq!(head, (at_once != Outcome::Success).then_some(at_once), "{status}");
        }
        assert_eq!(watched.at_end(None), Outcome::Success);
    }
    let excluded = |error: &&str| *error == "mine";
    let mine = Err::<Response<&'static str>, _>("mine");
    assert_eq!(classify::http().exclude(excluded).at_end().classify(&mine), Outcome::Ignored);
    assert_eq!(classify::http().at_end().exclude(excluded).classify(&mine), Outcome::Ignored);
}

#[cfg(feature = "grpc")]
mod grpc {
    use super::*;
    use tonic::{Code, Status};

    #[test]
    fn the_table_of_grpc_is_what_the_code_does() {
        let rows = rows("gRPC");
        assert_eq!(rows.len(), 17, "a row for each code");
        for (number, row) in rows.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).expect("small"));
            assert_eq!(format!("{code:?}").to_uppercase(), row[0].replace('_', ""), "in the order of their numbers");
            let mut answer = response(200, Some("application/grpc"));
            let headers = answer.as_mut().expect("a response").headers_mut();
            headers.insert("grpc-status", number.to_string().parse().expect("a value"));
            let done = (breaker(classify::grpc().classify(&answer)), retry(classify::grpc().retry(&answer)));
            assert_eq!(done, (&*row[1], &*row[2]), "{code:?} in headers");
            if code != Code::Ok {
                let status = Err::<tonic::Response<()>, _>(Status::new(code, "no"));
                let done = (breaker(classify::grpc().classify(&status)), retry(classify::grpc().retry(&status)));
                assert_eq!(done, (&*row[1], &*row[2]), "{code:?} in a status");
            }
        }
    }

    #[test]
    fn the_table_of_what_is_not_grpc_is_what_the_code_does() {
        use fusebox::classify::ClassifyEnd;
        for row in rows("What is not gRPC") {
            let answer = response(row[1].parse().expect("a status"), Some(&row[0]));
            let head = |outcome: Option<Outcome>| outcome.map_or("at its end", breaker);
            let seen = answer.as_ref().expect("a response");
            let done = [
                head(classify::grpc().at_head(seen)),
                retry(classify::grpc().retry(&answer)),
                head(classify::grpc().mixed().at_head(seen)),
            ];
            assert_eq!(done[..], row[2..], "{row:?}");
        }
    }
}

/// A status that a breaker further in answered with, and that of the dependency itself.
#[test]
fn the_answer_of_a_breaker_says_nothing_of_the_dependency() {
    use fusebox::{CircuitBreaker, CircuitBreakerConfig, web};

    let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
    breaker.trip().expect("no override stands");
    let rejected = breaker.acquire().expect_err("open");
    let judged = |answer: &Result<Response<&'static str>, Infallible>| {
        (classify::http().classify(answer), classify::http().retry(answer))
    };
    assert_eq!(judged(&Ok(web::unavailable(&rejected))), (Outcome::Ignored, Retry::Never));
    assert_eq!(judged(&response(503, None)), (Outcome::Failure, Retry::IfIdempotent));
    #[cfg(feature = "grpc")]
    for answer in [web::unavailable(&rejected), fusebox::grpc::unavailable(&rejected)] {
        let answer = Ok::<Response<&'static str>, Infallible>(answer);
        let rule = classify::grpc();
        assert_eq!((rule.classify(&answer), rule.retry(&answer)), (Outcome::Ignored, Retry::Never), "{answer:?}");
    }
}

#[test]
fn each_classifier_leaves_out_what_it_is_told() {
    use fusebox::BoxError;
    type Answer<E> = Result<Response<&'static str>, E>;

    let is_mine = |error: &&str| *error == "mine";
    let bare = |error| Answer::Err(error);
    let boxed = |mine: bool| {
        let error: BoxError = if mine { "x".parse::<u32>().unwrap_err().into() } else { "down".into() };
        Answer::Err(error)
    };
    let number = |_: &std::num::ParseIntError| true;
    macro_rules! check {
        ($classifier:expr) => {
            let rule = $classifier.exclude(is_mine);
            assert_eq!((rule.classify(&bare("mine")), rule.retry(&bare("mine"))), (Outcome::Ignored, Retry::Never));
            assert_eq!(
                (rule.classify(&bare("down")), rule.retry(&bare("down"))),
                (Outcome::Failure, Retry::IfIdempotent)
            );
            let rule = $classifier.exclude_source(number);
            assert_eq!((rule.classify(&boxed(true)), rule.retry(&boxed(true))), (Outcome::Ignored, Retry::Never));
            assert_eq!(
                (rule.classify(&boxed(false)), rule.retry(&boxed(false))),
                (Outcome::Failure, Retry::IfIdempotent)
            );
        };
    }
    check!(classify::errors());
    check!(classify::http());
    check!(classify::http().quota_is_failure());
    check!(classify::http().at_end());
    #[cfg(feature = "grpc")]
    check!(classify::grpc().mixed());
}

/// By its sources, the error of a body is left out as that of a call is.
#[test]
fn an_error_that_is_left_out_of_calls_is_left_out_where_a_body_ends_in_it() {
    use fusebox::{BoxError, classify::ClassifyEnd};
    let number = |_: &std::num::ParseIntError| true;
    let errors: [fn() -> BoxError; 2] = [|| "x".parse::<u32>().unwrap_err().into(), || "down".into()];
    macro_rules! check {
        ($classifier:expr) => {
            let (plain, rule) = ($classifier, $classifier.exclude_source(number));
            for (error, expected) in errors.into_iter().zip([Outcome::Ignored, Outcome::Failure]) {
                let call = Err::<Response<&'static str>, _>(error());
                assert_eq!((rule.at_error(&error()), rule.classify(&call)), (expected, expected));
                assert_eq!((plain.at_error(&error()), plain.classify(&call)), (Outcome::Failure, Outcome::Failure));
            }
        };
    }
    check!(classify::http().at_end());
    #[cfg(feature = "grpc")]
    check!(classify::grpc());
}

/// The tests that make each error with a real client hold the verdict that the document has.
#[test]
fn the_table_of_errors_is_what_the_tests_of_real_clients_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let files = fs::read_dir(folder).expect("the tests of real clients");
    let texts: Vec<_> =
        files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text file")).collect();
    for row in rows("Errors") {
        let verdict = match (&*row[1], &*row[2]) {
            ("failure", "any") => "Unprocessed",
            ("failure", "idempotent") => "Failed",
            ("failure", "no") => "Final",
            ("ignored", "no") => "Ignored",
            other => panic!("{other:?}"),
        };
        let head = format!("fn {}()", row[3].trim_matches('`'));
        let bodies = texts.iter().filter_map(|text| text.split_once(&head)).map(|(_, rest)| rest);
        let bodies: Vec<_> = bodies.map(|rest| rest.split_once("\n}\n").map_or(rest, |(body, _)| body)).collect();
        assert!(!bodies.is_empty(), "{head} is no test");
        for body in bodies {
            assert!(body.contains(&format!("Verdict::{verdict}")), "{head}: {verdict}");
        }
    }
}

/// The table of bodies names tests that are there.
#[test]
fn the_table_of_bodies_names_its_tests() {
    let text = include_str!("../e2e/streams.rs");
    let section = document();
    let section = section.split("\n## ").find(|section| section.starts_with("HTTP responses")).expect("the section");
    let named: Vec<_> = section.split('`').filter(|word| word.matches('_').count() > 4).collect();
    assert!(named.len() >= 5, "{named:?}");
    for name in named {
        assert!(text.contains(&format!("fn {name}()")), "{name} is no test");
    }
}

/// Whatever a server sends is read or ignored, and never more than that.
mod hostile {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    /// Header values that a server can send: any bytes, and almost right ones.
    fn value() -> impl Strategy<Value = HeaderValue> {
        let almost = prop_oneof![
            Just("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
            Just("Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
            "[0-9]{1,40}",
            "-?[0-9]{1,3}",
            "[A-Za-z0-9+/=]{0,60}",
            Just("CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIFA".to_owned()),
        ];
        let bytes = prop_oneof![almost.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)];
        bytes.prop_filter_map("no header value", |bytes| HeaderValue::from_bytes(&bytes).ok())
    }

    const NAMES: [&str; 6] =
        ["retry-after", "date", "grpc-status", "grpc-retry-pushback-ms", "grpc-status-details-bin", "content-type"];

    proptest! {
        #[test]
        fn headers_of_any_bytes_and_number_are_harmless(
            status in 100_u16..600,
            headers in prop::collection::vec((0..NAMES.len(), value()), 0..12),
        ) {
            let mut answer = response(status, None);
            let map = answer.as_mut().expect("a response").headers_mut();
            for (name, value) in headers {
                map.append(NAMES[name], value);
            }
            let outcome = classify::http().classify(&answer);
            prop_assert_eq!(outcome.is_failure(), (500..600).contains(&status) && status != 501 && status != 505);
            let again = classify::http().retry(&answer);
            prop_assert!(!outcome.is_failure() || matches!(again, Retry::IfIdempotent | Retry::After(_)));
            #[cfg(feature = "grpc")]
            {
                use fusebox::classify::ClassifyEnd;
                for rule in [classify::grpc(), classify::grpc().mixed(), classify::grpc().quota_is_failure()] {
                    rule.classify(&answer);
                    rule.retry(&answer);
                    rule.at_end(Some(answer.as_ref().expect("a response").headers()));
                }
            }
        }
    }
}
