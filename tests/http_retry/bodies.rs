//! 31: bodies are sent again, whatever happened to them the first time.

use bytes::{Buf, Bytes};
use fusebox::{Budget, RetryLayer, backoff};
use http_body_util::Full;
use tower::Layer;

use super::script::{Broken, Gate, Knows, Step, data, headers, trailers};
use super::*;
use support::ms;

const PIECES: [&str; 3] = ["some", "thing", "more"];
const WHOLE: &str = "somethingmore";

#[tokio::test(start_paused = true)]
async fn c31_a_body_is_replayed_however_much_earlier_attempts_read_of_it() {
    for (first, second) in (0..=4).flat_map(|first| (0..=4).map(move |second| (first, second))) {
        for knows in [Knows::All, Knows::Nothing] {
            let (service, mut server) = server::<Replayed>();
            let body = Script::of(&PIECES).knows(knows);
            let seen = body.seen();
            let call = start(RetryLayer::http(at_once()).layer(service), put(body));
            for frames in [first, second] {
                let mut attempt = server.next().await;
                for n in 0..frames {
                    assert_eq!(text(attempt.request.body_mut()).await, *PIECES.get(n).unwrap_or(&""));
                }
                attempt.answer(503);
            }
            let mut last = server.next().await;
            let sent = rest(last.request.body_mut()).await;
            assert_eq!(sent, (WHOLE.to_owned(), None), "after {first} and {second} frames");
            last.answer(200);
            assert_eq!(ended(call).await.expect("an answer").status(), 200);
            assert_eq!(seen.bytes(), WHOLE.len(), "the original was read once");
            server.got_no_more().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_pauses_within_a_body_change_nothing() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::new([Step::Pause, data("some"), Step::Pause, Step::Pause, data("thing"), Step::Pause]);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    let mut attempt = server.next().await;
    assert_eq!(text(attempt.request.body_mut()).await, "some");
    attempt.answer(503);
    let attempt = server.next().await;
    assert_eq!(rest(attempt.answer(200)).await.0, "something");
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

/// Sends a body that each attempt reads whole, and returns what the attempts saw.
async fn attempts_of<B>(layer: RetryLayer<fusebox::classify::Http, fusebox::retry::ReplayHttp>, body: B) -> Vec<String>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (log, service) = answers::<ReplayBody<B>>(&[503, 503]);
    let request = Request::put("/").body(body).expect("a request");
    let answer = tower::ServiceExt::oneshot(layer.layer(service), request).await.expect("an answer");
    let seen = log.take();
    assert_eq!(answer.status(), if seen.len() == 3 { 200 } else { 503 });
    seen.into_iter().map(Request::into_body).collect()
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_is_replayed_up_to_the_cap_and_beyond_it_sent_once_and_whole() {
    let splits: [&[&str]; 4] = [&["0123456789"], &["0123", "456789"], &["0123456", "789"], &["0", "12345678", "9"]];
    for (pieces, knows) in splits.into_iter().flat_map(|pieces| [(pieces, Knows::All), (pieces, Knows::Nothing)]) {
        let sent = async |cap| {
            let layer = RetryLayer::http(at_once()).replay_up_to(cap);
            attempts_of(layer, Script::of(pieces).knows(knows)).await
        };
        assert_eq!(sent(10).await, ["0123456789"; 3], "exactly the cap, {pieces:?}");
        assert_eq!(sent(11).await, ["0123456789"; 3]);
        for cap in [9, 8, 1, 0] {
            assert_eq!(sent(cap).await, ["0123456789"], "{cap}, {pieces:?}, {knows:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_the_cap_is_64_kib_by_default() {
    for (length, attempts) in [(64 * 1024, 3), (64 * 1024 + 1, 1)] {
        let body = vec![b'x'; length];
        let (half, other) = body.split_at(length / 2);
        for body in [
            Script::new([Step::Data(Bytes::from(body.clone()))]),
            Script::new([half, other].map(|part| Step::Data(Bytes::copy_from_slice(part)))).knows(Knows::Nothing),
        ] {
            let seen = attempts_of(RetryLayer::http(at_once()), body).await;
            assert!(seen.iter().all(|body| body.len() == length));
            assert_eq!(seen.len(), attempts, "{length} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_that_turns_out_too_long_is_replayed_as_long_as_it_was_not_read_that_far() {
    let (service, mut server) = server::<Replayed>();
    let (config, events) = told();
    let layer = RetryLayer::http(config).replay_up_to(9);
    let call = start(layer.layer(service), put(Script::of(&PIECES).knows(Knows::Nothing)));
    for _ in 0..2 {
        let mut attempt = server.next().await;
        assert_eq!(text(attempt.request.body_mut()).await, "some");
        assert_eq!(text(attempt.request.body_mut()).await, "thing");
        attempt.answer(503);
    }
    let mut attempt = server.next().await;
    assert_eq!(rest(attempt.request.body_mut()).await.0, WHOLE, "the record, and then what is beyond the cap");
    attempt.answer(503);
    assert_eq!(ended(call).await.expect("an answer").status(), 503);
    assert_eq!(stopped(&events), Some(StopReason::NotReplayable));
    server.got_no_more().await;
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_too_long_to_be_kept_spends_no_budget() {
    let budget = Budget::ratio(0.0).reserve_per_second(1);
    let before = budget.available();
    for knows in [Knows::All, Knows::Nothing] {
        let layer = RetryLayer::http(config(|builder| builder.budget(budget.clone()))).replay_up_to(5);
        assert_eq!(attempts_of(layer, Script::of(&PIECES).knows(knows)).await, [WHOLE]);
        assert_eq!(budget.available(), before, "{knows:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c31_with_a_cap_of_zero_only_requests_without_a_body_are_sent_again() {
    let layer = || RetryLayer::http(at_once()).replay_up_to(0);
    assert_eq!(attempts_of(layer(), Script::of(&[])).await, [""; 3]);
    assert_eq!(attempts_of(layer(), Script::of(&[]).knows(Knows::Nothing)).await, [""; 3]);
    assert_eq!(attempts_of(layer(), http_body_util::Empty::<Bytes>::new()).await, [""; 3]);
    assert_eq!(attempts_of(layer(), Script::of(&["x"])).await, ["x"]);
    assert_eq!(attempts_of(layer(), Full::<Bytes>::from("x")).await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn c31_trailers_are_replayed_whether_or_not_they_were_sent_before() {
    let checksum = [("checksum", "7f"), ("more", "1")];
    for pieces in [vec![], vec![data("some"), data("thing")]] {
        for frames in 0..=pieces.len() + 2 {
            for knows in [Knows::All, Knows::Nothing] {
                let (service, mut server) = server::<Replayed>();
                let steps = pieces.iter().cloned().chain([trailers(&checksum)]);
                let body = Script::new(steps).knows(knows);
                let call = start(RetryLayer::http(at_once()).layer(service), put(body));
                let mut first = server.next().await;
                for n in 0..frames {
                    let frame = first.request.body_mut().frame().await.transpose().expect("no error");
                    assert_eq!(frame.is_none(), n > pieces.len());
                    assert_eq!(frame.is_some_and(|frame| frame.is_trailers()), n == pieces.len());
                }
                first.answer(503);
                for code in [503, 200] {
                    let mut attempt = server.next().await;
                    let mut body = attempt.request.body_mut();
                    let (sent, end) = rest(&mut body).await;
                    assert_eq!(sent, if pieces.is_empty() { "" } else { "something" });
                    assert_eq!(end, Some(headers(&checksum)), "after {frames} frames");
                    assert!(body.frame().await.is_none(), "once");
                    attempt.answer(code);
                }
                assert_eq!(ended(call).await.expect("an answer").status(), 200);
            }
        }
    }
}

/// Reads frames until the body breaks off; returns what came before that.
async fn until_broken(body: &mut Replayed) -> String {
    let mut all = String::new();
    loop {
        match body.frame().await.expect("it does not end well") {
            Ok(frame) => all += std::str::from_utf8(frame.data_ref().expect("data")).expect("text"),
            Err(error) => {
                assert!(error.is::<Broken>(), "the body's own error: {error}");
                return all;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_that_breaks_off_when_first_sent_is_not_sent_again() {
    for answered in [true, false] {
        let (service, mut server) = server::<Replayed>();
        let (config, events) = told();
        let body = Script::new([data("some"), Step::Error, data("never")]);
        let call = start(RetryLayer::http(config).layer(service), put(body));
        let mut attempt = server.next().await;
        assert_eq!(until_broken(attempt.request.body_mut()).await, "some");
        if answered {
            attempt.answer(503)
        } else {
            attempt.fail()
        };
        let result = ended(call).await;
        assert_eq!(result.map(|answer| answer.status()), if answered { Ok(status(503)) } else { Err(Down) });
        assert_eq!(stopped(&events), Some(StopReason::NotReplayable));
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_that_breaks_off_while_it_is_replayed_ends_the_call_with_the_last_error() {
    for (frames, answered) in [(0, true), (1, true), (1, false)] {
        let (service, mut server) = server::<Replayed>();
        let (config, events) = told();
        let body = Script::new([data("some"), data("thing"), Step::Error]);
        let call = start(RetryLayer::http(config).layer(service), put(body));
        let mut attempt = server.next().await;
        for piece in &PIECES[..frames] {
            assert_eq!(text(attempt.request.body_mut()).await, *piece);
        }
        attempt.answer(500);
        let mut attempt = server.next().await;
        assert_eq!(until_broken(attempt.request.body_mut()).await, "something");
        if answered {
            attempt.answer(502)
        } else {
            attempt.fail()
        };
        let result = ended(call).await;
        assert_eq!(result.map(|answer| answer.status()), if answered { Ok(status(502)) } else { Err(Down) });
        assert_eq!(stopped(&events), Some(StopReason::NotReplayable));
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_that_would_break_off_does_no_harm_before_it_does() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::new([data("some"), Step::Error]);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    for code in [503, 503, 200] {
        let mut attempt = server.next().await;
        assert_eq!(text(attempt.request.body_mut()).await, "some");
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c31_a_retry_goes_on_with_a_slow_body_where_the_attempt_before_was_given_up() {
    let (service, mut server) = server::<Replayed>();
    let limited = RetryConfig::builder()
        .backoff(backoff::fixed(ms(10)))
        .attempt_timeout(secs(2))
        .build()
        .expect("a configuration that works");
    let gate = Gate::default();
    let body = Script::new([data("some"), Step::Wait(gate.clone()), data("thing")]);
    let call = start(RetryLayer::http(limited).layer(service), put(body));
    for _ in 0..2 {
        let attempt = server.next().await;
        let mut body = attempt.request.into_body();
        assert_eq!(text(&mut body).await, "some");
        assert!(futures::FutureExt::now_or_never(body.frame()).is_none(), "there is no more yet");
        // Kept, or the attempt would fail at once.
        std::mem::forget(attempt.answer);
    }
    let mut attempt = server.next().await;
    gate.open();
    assert_eq!(rest(attempt.request.body_mut()).await.0, "something");
    attempt.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_streams_on_after_the_answer() {
    for code in [200, 404, 501] {
        let (service, mut server) = server::<Replayed>();
        let body = Script::of(&PIECES);
        let seen = body.seen();
        let call = start(RetryLayer::http(at_once()).layer(service), put(body));
        let mut first = server.next().await;
        first.request.body_mut().frame().await.expect("a frame").expect("no error");
        let mut body = first.answer(code);
        assert_eq!(ended(call).await.expect("an answer").status(), code);
        server.got_no_more().await;
        assert_eq!(rest(&mut body).await.0, "thingmore");
        assert!(!seen.dropped());
        drop(body);
        assert!(seen.dropped(), "nobody else holds on to it");
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_replayed_body_streams_on_after_the_answer() {
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(Script::of(&PIECES)));
    let mut first = server.next().await;
    for piece in &PIECES[..2] {
        assert_eq!(text(first.request.body_mut()).await, *piece);
    }
    first.answer(503);
    let mut second = server.next().await;
    assert_eq!(text(second.request.body_mut()).await, "some");
    let body = second.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    assert_eq!(rest(body).await.0, "thingmore", "the rest of the record, and what the original still had");
}

#[tokio::test(start_paused = true)]
async fn c31_data_in_several_buffers_is_sent_and_replayed_whole() {
    let two = |piece: Bytes| piece.slice(..1).chain(piece.slice(1..));
    for (cap, attempts) in [(100, 3), (8, 1)] {
        let chained = Script::of(&["some", "thing"]).map_frame(move |frame| frame.map_data(two));
        let seen = attempts_of(RetryLayer::http(at_once()).replay_up_to(cap), chained).await;
        assert_eq!(seen, vec!["something"; attempts]);
    }
}

#[tokio::test(start_paused = true)]
async fn c31_the_original_is_dropped_with_the_last_attempt() {
    let body = Script::of(&PIECES);
    let seen = body.seen();
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    let kept = server.next().await.answer(503);
    let last = server.next().await;
    assert!(!seen.dropped());
    last.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    drop(kept);
    assert!(seen.dropped());
}

#[test]
fn a_replayed_body_is_empty_by_default() {
    let body = ReplayBody::<Script>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(at_hand(rest(body)), (String::new(), None));
}

// 16

const fn is_send<T: Send>(_: &T) {}
const fn is_client_body<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static>() {}

/// Fails to compile where a type has the trait after all: then there are two ways to be `Lacks`.
macro_rules! lacks {
    ($name:ident, $of:ident) => {
        trait $name<Which> {
            const YES: () = ();
        }
        impl<T: ?Sized> $name<()> for T {}
        impl<T: ?Sized + $of> $name<u8> for T {}
    };
}

lacks!(NotSync, Sync);
lacks!(NotUnpin, Unpin);
lacks!(NotClone, Clone);

// The body that these tests send is as awkward as they say.
const _: [(); 3] = [<Script as NotSync<_>>::YES, <Script as NotUnpin<_>>::YES, <Script as NotClone<_>>::YES];

#[test]
fn c16_a_body_that_is_neither_sync_nor_unpin_nor_clone_is_replayed() {
    const { is_client_body::<Replayed>() };
    let (log, service) = answers::<Replayed>(&[503]);
    let call = tower::ServiceExt::oneshot(RetryLayer::http(at_once()).layer(service), put(Script::of(&PIECES)));
    is_send(&call);
    assert_eq!(at_hand(call).expect("an answer").status(), 200);
    assert_eq!(log.take().into_iter().map(Request::into_body).collect::<Vec<_>>(), [WHOLE; 2]);
}

#[test]
fn c16_a_body_that_clients_box_is_replayed() {
    let layer = RetryLayer::http(at_once()).body(BodyExt::boxed_unsync);
    let (log, service) = answers::<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>(&[503]);
    let call = tower::ServiceExt::oneshot(layer.layer(service), put(Script::of(&PIECES)));
    assert_eq!(at_hand(call).expect("an answer").status(), 200);
    assert_eq!(log.take().into_iter().map(Request::into_body).collect::<Vec<_>>(), [WHOLE; 2]);
}
