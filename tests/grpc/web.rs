//! gRPC-Web: the trailers are the last frame of the body, written here as the protocol has them.

use fusebox::{CircuitBreakerLayer, State, classify};
use futures::FutureExt;
use proptest::prelude::*;
use tower::{Layer, ServiceExt};

use super::script::{Gate, Knows};
use super::*;

/// Flag, length, lines.
fn block(lines: &str) -> Bytes {
    let length = u32::try_from(lines.len()).expect("short").to_be_bytes();
    [&[0x80][..], &length, lines.as_bytes()].concat().into()
}

fn bytes(step: Step) -> Bytes {
    match step {
        Step::Data(data) => data,
        other => panic!("{other:?}"),
    }
}

/// A body in pieces of at most so many bytes.
fn pieces(body: &[u8], most: usize) -> Vec<Step> {
    body.chunks(most).map(|piece| Step::Data(Bytes::copy_from_slice(piece))).collect()
}

/// Two messages, and these trailers.
fn body(lines: &str) -> Vec<u8> {
    [bytes(message("hello")), bytes(message("\u{80}")), block(lines)].concat()
}

fn response(content_type: &'static str, steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let mut response = Response::new(Script::new(steps));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    response
}

fn web(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    response("application/grpc-web+proto", steps)
}

fn head(breaker: &CircuitBreaker, response: Response<Script>) -> Reading {
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    Box::pin(at_hand(layer.layer(answers(vec![response])).oneshot(request())).expect("closed").into_body())
}

/// Reads all there is.
fn read(breaker: &CircuitBreaker, response: Response<Script>) {
    let mut body = head(breaker, response);
    while let Some(Ok(_)) = at_hand(body.frame()) {}
}

#[test]
fn a_status_in_the_last_frame_counts_when_it_is_read_whole() {
    let breaker = watcher();
    for code in ALL {
        for most in [1, 2, 7, 1_000] {
            for knows in [Knows::All, Knows::Nothing] {
                let all = pieces(&body(&format!("grpc-status:{}\r\n", number(code))), most);
                let count = all.len();
                let mut reading = head(&breaker, web(all).map(|body| body.knows(knows)));
                for _ in 1..count {
                    at_hand(reading.frame()).expect("a frame").expect("no error");
                    assert_eq!(outcomes(&breaker), "", "{code:?}, {most}: not whole yet");
                }
                at_hand(reading.frame()).expect("a frame").expect("no error");
                assert_eq!(outcomes(&breaker), expected(code), "{code:?}, {most}, without asking for another frame");
                assert!(at_hand(reading.frame()).is_none());
                drop(reading);
                assert_eq!(outcomes(&breaker), "", "once");
            }
        }
    }
}

#[test]
fn the_body_comes_through_as_it_is() {
    let (breaker, sent) = (watcher(), body("grpc-status:0\r\n"));
    for most in [1, 3, 1_000] {
        let (read, trailers) = at_hand(read_all(head(&breaker, web(pieces(&sent, most))))).expect("no error");
        assert_eq!((&read[..], trailers), (&sent[..], None));
    }
}

#[test]
fn five_good_answers_leave_it_closed_and_bad_ones_open_it() {
    for (code, state) in [(Code::Ok, State::Closed), (Code::Internal, State::Open)] {
        let breaker =
            CircuitBreaker::new(tripping("prices").detector(detect::consecutive_failures(5)).build().expect("valid"));
        for _ in 0..5 {
            read(&breaker, web(pieces(&body(&format!("grpc-status: {}\r\n", number(code))), 9)));
        }
        assert_eq!(breaker.state(), state, "{code:?}");
    }
}

#[test]
fn a_body_without_trailers_that_can_be_used_is_unknown() {
    let breaker = watcher();
    let message = || bytes(message("hello")).to_vec();
    let long = format!("grpc-status:0\r\nx-long:{}\r\n", "a".repeat(8 * 1_024));
    let whole = block("grpc-status:0\r\n");
    for (what, body) in [
        ("no frame", vec![]),
        ("a message", message()),
        ("an empty block", block("").to_vec()),
        ("no status", block("x-more:1\r\n").to_vec()),
        ("no number", block("grpc-status:fine\r\n").to_vec()),
        ("half of a block", whole[..whole.len() - 1].to_vec()),
        ("half of a head", whole[..3].to_vec()),
        ("a message that is shorter than it said", [&[0, 0, 0, 1, 0][..], &whole].concat()),
        ("more than 8 KiB", block(&long).to_vec()),
        ("a length that lies", [&[0x80, 0xff, 0xff, 0xff, 0xff][..], b"grpc-status:0\r\n"].concat()),
        ("a page", b"<html>sorry</html>".to_vec()),
    ] {
        for knows in [Knows::All, Knows::Nothing] {
            read(&breaker, web(pieces(&body, 5)).map(|body| body.knows(knows)));
            assert_eq!(outcomes(&breaker), "F", "{what}");
        }
    }
    // So much is read.
    let fits = format!("grpc-status:0\r\nx-long:{}\r\n", "a".repeat(8 * 1_024 - 24));
    read(&breaker, web(pieces(&block(&fits), 1_000)));
    assert_eq!((fits.len(), outcomes(&breaker).as_str()), (8 * 1_024, "S"));
}

#[test]
fn a_status_in_the_head_and_trailers_of_http_count_as_well() {
    let breaker = watcher();
    for (code, seen) in [("0", "S"), ("13", "F"), ("1", "")] {
        let mut only = web([]);
        only.headers_mut().extend(headers(&[("grpc-status", code)]));
        let reading = head(&breaker, only);
        assert_eq!(outcomes(&breaker), seen, "{code}: at the head");
        drop(reading);
        read(&breaker, web([message("hello"), trailers(&[("grpc-status", code)])]));
        assert_eq!(outcomes(&breaker), seen, "{code}: in trailers of HTTP");
    }
    let mut down = web([]);
    *down.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    drop(head(&breaker, down));
    assert_eq!(outcomes(&breaker), "F", "by the status of HTTP");
}

#[test]
fn what_cannot_be_read_is_judged_at_its_head() {
    let breaker = watcher();
    let all = || pieces(&body("grpc-status:13\r\n"), 9);
    for content_type in ["application/grpc-web-text", "application/grpc-web-text+proto"] {
        read(&breaker, response(content_type, all()));
        assert_eq!(outcomes(&breaker), "S", "{content_type}");
    }
    let mut zipped = web(all());
    zipped.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
    read(&breaker, zipped);
    assert_eq!(outcomes(&breaker), "S", "in another encoding");
    read(&breaker, web(pieces(b"\x81\0\0\0\x03abc", 2)));
    assert_eq!(outcomes(&breaker), "S", "trailers that are compressed");
    read(&breaker, web([Step::Data(Bytes::from_static(b"\x81\0\0\0\x03abc")), Step::Error]));
    assert_eq!(outcomes(&breaker), "F", "but what breaks off is broken");
}

#[test]
fn the_first_trailers_count_whatever_follows() {
    let breaker = watcher();
    let (good, bad) = (block("grpc-status:0\r\n"), block("grpc-status:13\r\n"));
    for (first, then, seen) in [(&good, &bad, "S"), (&bad, &good, "F")] {
        read(&breaker, web([Step::Data([&first[..], then].concat().into())]));
        assert_eq!(outcomes(&breaker), seen, "in one piece");
        read(&breaker, web([Step::Data(first.clone()), Step::Data(then.clone()), Step::Error]));
        assert_eq!(outcomes(&breaker), seen, "in two, and an error");
    }
}

#[test]
fn breaking_off_stalling_and_leaving_are_as_of_any_stream() {
    let breaker = watcher();
    read(&breaker, web([message("hello"), Step::Error]));
    assert_eq!(outcomes(&breaker), "F");
    drop(head(&breaker, web([message("hello")])));
    assert_eq!(outcomes(&breaker), "");
    let (breaker, clock) = watching(|builder| builder.abandoned_after(secs(10)));
    let mut stalls = head(&breaker, web([message("hello"), Step::Wait(Gate::default())]));
    at_hand(stalls.frame()).expect("a frame").expect("no error");
    assert!(stalls.frame().now_or_never().is_none());
    clock.advance(secs(10));
    drop(stalls);
    assert_eq!(outcomes(&breaker), "F");
}

#[test]
fn pushback_in_the_last_frame_lengthens_the_cooldown() {
    let breaker = CircuitBreaker::new(tripping("orders").build().expect("valid"));
    read(&breaker, web(pieces(&body("grpc-status:14\r\ngrpc-retry-pushback-ms: 120000\r\n"), 3)));
    assert_eq!(breaker.retry_after(), Some(secs(120)));
}

/// One that knows only heads and trailers has them from there, too; as it judges, its data is not looked at.
#[test]
fn a_classifier_that_wraps_the_one_for_grpc_needs_to_know_nothing_of_it() {
    use fusebox::{
        Classify, Outcome,
        classify::{AtEnd, ClassifyEnd, Grpc},
    };

    #[derive(Clone)]
    struct Wrapping(Grpc);

    impl<B, E: 'static> Classify<Response<B>, E> for Wrapping {
        type Scope = AtEnd;

        fn classify(&self, result: &Result<Response<B>, E>) -> Outcome {
            self.0.classify(result)
        }
    }

    impl ClassifyEnd for Wrapping {
        fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
            self.0.at_head(response)
        }

        fn at_end(&self, trailers: Option<&http::HeaderMap>) -> Outcome {
            self.0.at_end(trailers)
        }
    }

    let breaker = watcher();
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(Wrapping(classify::grpc()));
    for (code, seen) in [("0", "S"), ("13", "F")] {
        let all = web(pieces(&body(&format!("grpc-status:{code}\r\n")), 9));
        let response = at_hand(layer.layer(answers(vec![all])).oneshot(request())).expect("closed");
        at_hand(read_all(response.into_body())).expect("no error");
        assert_eq!(outcomes(&breaker), seen);
    }
}

proptest! {
    /// Whatever a server sends is read or not, and comes through.
    #[test]
    fn a_body_of_any_bytes_is_harmless(
        sent in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => Just(0x80), 2 => 0_u8..10, 1 => any::<u8>()], 0..400),
        most in 1_usize..50,
    ) {
        let breaker = watcher();
        let (read, _) = at_hand(read_all(head(&breaker, web(pieces(&sent, most))))).expect("no error");
        prop_assert_eq!(&read[..], &sent[..]);
        prop_assert!(["S", "F", ""].contains(&&*outcomes(&breaker)));
    }
}
