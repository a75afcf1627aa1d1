//! 31: what a body says of its size is exact at every step, so that clients send `Content-Length`.

use fusebox::RetryLayer;
use fusebox::retry::ReplayHttp;
use http_body::SizeHint;
use tower::Layer;

use super::script::{Knows, Step, data, trailers};
use super::*;

fn bounds(body: &Replayed) -> (u64, Option<u64>) {
    let hint = body.size_hint();
    (hint.lower(), hint.upper())
}

const fn exactly(bytes: u64) -> (u64, Option<u64>) {
    (bytes, Some(bytes))
}

type HttpLayer = RetryLayer<fusebox::classify::Http, ReplayHttp>;

/// Reads a body of these pieces to its end, up to `frames` frames, and checks what it says of itself before each.
async fn read_exact(body: &mut Replayed, pieces: &[&str], frames: usize) {
    let mut left: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    for n in 0..frames {
        assert_eq!(bounds(body), exactly(left), "before frame {n} of {pieces:?}");
        assert_eq!(body.is_end_stream(), n >= pieces.len(), "before frame {n} of {pieces:?}");
        let piece = text(body).await;
        assert_eq!(piece, *pieces.get(n).unwrap_or(&""));
        left -= piece.len() as u64;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_sizes_and_ends_are_exact_before_each_frame_of_each_attempt() {
    for pieces in [&["some", "thing", "more"][..], &["something"], &["a", "b", "c", "d", "e"]] {
        for (first, second) in (0..=4).flat_map(|first| (0..=4).map(move |second| (first, second))) {
            let (service, mut server) = server::<Replayed>();
            let layer: HttpLayer = RetryLayer::http(at_once());
            let call = start(layer.layer(service), put(Script::of(pieces)));
            for frames in [first, second] {
                let mut attempt = server.next().await;
                read_exact(attempt.request.body_mut(), pieces, frames).await;
                attempt.answer(503);
            }
            let mut last = server.next().await;
            read_exact(last.request.body_mut(), pieces, pieces.len() + 2).await;
            last.answer(200);
            assert_eq!(ended(call).await.expect("an answer").status(), 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_sizes_and_ends_are_exact_for_a_body_that_is_sent_once() {
    let pieces = ["some", "thing", "more"];
    let post = Request::post("/").body(Script::of(&pieces)).expect("a request");
    let layers =
        [(RetryLayer::http(at_once()), post), (RetryLayer::http(at_once()).replay_up_to(5), put(Script::of(&pieces)))];
    for (layer, request) in layers {
        let (service, mut server) = server::<Replayed>();
        let call = start(layer.layer(service), request);
        let mut attempt = server.next().await;
        read_exact(attempt.request.body_mut(), &pieces, 5).await;
        attempt.answer(503);
        assert_eq!(ended(call).await.expect("an answer").status(), 503);
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_an_empty_body_says_so_at_once_in_every_attempt() {
    for method in [http::Method::PUT, http::Method::POST] {
        let (service, mut server) = server::<Replayed>();
        let request = Request::builder().method(&method).uri("/").body(Script::of(&[])).expect("a request");
        let call = start(RetryLayer::http(at_once()).layer(service), request);
        let codes: &[u16] = if method == http::Method::PUT { &[503, 503, 200] } else { &[503] };
        for &code in codes {
            let mut attempt = server.next().await;
            let body = attempt.request.body_mut();
            assert!(body.is_end_stream());
            assert_eq!(bounds(body), exactly(0));
            assert_eq!(text(body).await, "");
            attempt.answer(code);
        }
        ended(call).await.expect("an answer");
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_trailers_are_not_the_end_until_they_are_sent() {
    for frames in 0..=3 {
        let (service, mut server) = server::<Replayed>();
        let body = Script::new([data("some"), trailers(&[("checksum", "7f")])]);
        let call = start(RetryLayer::http(at_once()).layer(service), put(body));
        for (frames, code) in [(frames, 503), (3, 200)] {
            let mut attempt = server.next().await;
            let body = attempt.request.body_mut();
            for n in 0..frames {
                assert_eq!(bounds(body), exactly(if n == 0 { 4 } else { 0 }));
                assert_eq!(body.is_end_stream(), n >= 2);
                assert_eq!(body.frame().await.is_some(), n < 2);
            }
            attempt.answer(code);
        }
        assert_eq!(ended(call).await.expect("an answer").status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn c60_a_length_that_the_first_attempt_did_not_know_is_told_by_none() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::of(&["some", "thing"]).knows(Knows::Nothing);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));

    let mut first = server.next().await;
    let body = first.request.body_mut();
    assert_eq!(bounds(body), (0, None));
    assert!(!body.is_end_stream());
    assert_eq!(text(body).await, "some");
    assert_eq!(bounds(body), (0, None));
    first.answer(503);

    let mut second = server.next().await;
    let body = second.request.body_mut();
    assert_eq!(bounds(body), (0, None), "it would be a header more");
    assert_eq!(rest(body).await.0, "something");
    second.answer(503);

    let mut third = server.next().await;
    let body = third.request.body_mut();
    assert_eq!((bounds(body), body.is_end_stream()), ((0, None), false));
    assert_eq!(rest(body).await.0, "something");
    third.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c60_a_body_that_turned_out_to_be_empty_begins_in_each_attempt_as_in_the_first() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::of(&[]).knows(Knows::Nothing);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    for code in [503, 503, 200] {
        let mut attempt = server.next().await;
        let body = attempt.request.body_mut();
        assert_eq!((bounds(body), body.is_end_stream()), ((0, None), false), "sent in chunks, of which there are none");
        assert_eq!(text(body).await, "");
        assert!(body.is_end_stream());
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c31_a_size_within_bounds_stays_within_them() {
    /// Says that it has at least one byte more, and at most ten.
    struct Vague(http_body_util::Full<bytes::Bytes>);

    impl Body for Vague {
        type Data = bytes::Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
            std::pin::Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            if !self.0.is_end_stream() {
                hint.set_lower(1);
                hint.set_upper(10);
            }
            hint
        }
    }

    let (service, mut server) = server::<ReplayBody<Vague>>();
    let request = Request::put("/").body(Vague("four".into())).expect("a request");
    let call = start(RetryLayer::http(at_once()).layer(service), request);
    let said = |body: &ReplayBody<Vague>| (body.size_hint().lower(), body.size_hint().upper());
    let mut first = server.next().await;
    assert_eq!(said(first.request.body()), (1, Some(10)));
    assert_eq!(text(first.request.body_mut()).await, "four");
    assert_eq!(said(first.request.body()), (0, Some(6)), "what is left of it");
    first.answer(503);
    let mut second = server.next().await;
    assert_eq!(said(second.request.body()), (1, Some(10)), "as in the first attempt");
    assert_eq!(rest(second.request.body_mut()).await.0, "four");
    second.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_whose_end_is_not_announced_says_so_after_it_was_reached() {
    let (service, mut server) = server::<Replayed>();
    let body = Script::new([data("some"), Step::Pause]).knows(Knows::Nothing);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    for code in [503, 200] {
        let mut attempt = server.next().await;
        let body = attempt.request.body_mut();
        assert!(!body.is_end_stream());
        assert_eq!(text(body).await, "some");
        assert_eq!(body.is_end_stream(), code == 200, "known from the attempt before");
        assert_eq!(text(body).await, "");
        assert!(body.is_end_stream());
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}
