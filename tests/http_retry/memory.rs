//! 31: what is recorded, for how long, and how much of it.

use bytes::Bytes;
use fusebox::RetryLayer;
use tower::Layer;

use super::script::{Knows, Step, headers};
use super::*;
use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};

/// Counts the bytes of a body that are held where they came from. The record is a copy, so that what is sent is let go.
#[derive(Clone, Debug, Default)]
struct Held {
    bytes: Arc<AtomicUsize>,
    /// Where they are.
    places: Arc<Mutex<HashSet<usize>>>,
}

struct Owner {
    bytes: Vec<u8>,
    held: Held,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes.len(), Ordering::SeqCst);
        self.held.places().remove(&self.bytes.as_ptr().addr());
    }
}

impl Held {
    fn now(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashSet<usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn piece(&self, length: usize) -> Step {
        let bytes = vec![b'x'; length];
        self.bytes.fetch_add(length, Ordering::SeqCst);
        self.places().insert(bytes.as_ptr().addr());
        Step::Data(Bytes::from_owner(Owner { bytes, held: self.clone() }))
    }

    /// How many of the frames are in the record, too: copies that are shared.
    fn recorded(&self, frames: &[Bytes]) -> usize {
        let places = self.places();
        frames.iter().filter(|frame| !places.contains(&frame.as_ptr().addr()) && !frame.is_unique()).count()
    }

    /// So many pieces of ten bytes each.
    fn pieces(&self, count: usize) -> Script {
        Script::new((0..count).map(|_| self.piece(10)).collect::<Vec<_>>()).knows(Knows::Nothing)
    }
}

/// Reads on, and returns the frames.
async fn read(body: &mut Replayed, frames: usize) -> Vec<Bytes> {
    let mut read = Vec::new();
    for _ in 0..frames {
        let frame = body.frame().await.expect("a frame").expect("no error");
        read.push(frame.into_data().expect("no trailers"));
    }
    read
}

#[tokio::test(start_paused = true)]
async fn c31_nothing_is_recorded_any_more_once_the_call_is_over() {
    for code in [200, 404, 501] {
        let held = Held::default();
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(at_once()).layer(service), put(held.pieces(100)));
        let mut attempt = server.next().await;
        let frames = read(attempt.request.body_mut(), 2).await;
        assert_eq!((held.recorded(&frames), held.now()), (2, 980), "it may have to be sent again");
        let mut body = attempt.answer(code);
        ended(call).await.expect("an answer");
        for read_on in 1..=98 {
            let frames = read(&mut body, 1).await;
            assert_eq!(held.recorded(&frames), 0, "after {read_on} more");
            drop(frames);
            assert_eq!(held.now(), 980 - 10 * read_on, "after {read_on} more");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_what_was_recorded_is_let_go_once_the_call_is_over() {
    let held = Held::default();
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(held.pieces(100)));
    let mut attempt = server.next().await;
    let frames = read(attempt.request.body_mut(), 50).await;
    assert_eq!(held.recorded(&frames), 50);
    let mut body = attempt.answer(200);
    ended(call).await.expect("an answer");
    assert_eq!(held.recorded(&frames), 0, "what was sent and will not be sent again");
    read(&mut body, 1).await;
    assert_eq!(held.now(), 490);
    drop(body);
    assert_eq!(held.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn c31_the_record_never_holds_more_than_the_cap() {
    let held = Held::default();
    let (service, mut server) = server::<Replayed>();
    let layer = RetryLayer::http(at_once()).replay_up_to(45);
    let call = start(layer.layer(service), put(held.pieces(100)));
    let mut attempt = server.next().await;
    let body = attempt.request.body_mut();
    let frames = read(body, 4).await;
    assert_eq!(held.recorded(&frames), 4, "all of it is recorded");
    for sent in 5..=100 {
        let next = read(body, 1).await;
        assert_eq!(
            held.recorded(&frames) + held.recorded(&next),
            0,
            "a body too long to be sent again is not kept at all"
        );
        drop(next);
        assert_eq!(held.now(), 1_000 - 10 * sent);
    }
    attempt.answer(503);
    assert_eq!(ended(call).await.expect("an answer").status(), 503);
}

/// Sends a body of so many pieces of one byte twice, if it is kept. Returns how many of them the record has at the end
/// of the first attempt, how many frames each attempt had, and how many bytes.
async fn sent_twice(count: usize) -> (usize, Vec<(usize, usize)>) {
    let held = Held::default();
    let body = Script::new((0..count).map(|_| held.piece(1)).collect::<Vec<_>>()).knows(Knows::Nothing);
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    let mut in_record = None;
    let mut attempts = Vec::new();
    let expected = loop {
        let mut attempt = server.next().await;
        let mut frames = Vec::new();
        while let Some(frame) = attempt.request.body_mut().frame().await {
            frames.extend(frame.expect("no error").into_data());
        }
        in_record.get_or_insert_with(|| held.recorded(&frames));
        attempts.push((frames.len(), frames.iter().map(Bytes::len).sum()));
        let code = if attempts.len() == 2 { 200 } else { 503 };
        attempt.answer(code);
        // A body that is not kept is not sent again: then the first answer is the last.
        if attempts.len() == 2 || in_record == Some(0) {
            break code;
        }
    };
    assert_eq!(ended(call).await.expect("an answer").status(), expected);
    server.got_no_more().await;
    (in_record.expect("an attempt"), attempts)
}

#[tokio::test(start_paused = true)]
async fn e9_a_small_piece_does_not_keep_the_large_buffer_it_is_of() {
    const BUFFER: usize = 1 << 20;
    let held = Held::default();
    let slices = (0..200).map(|n| match held.piece(BUFFER) {
        Step::Data(buffer) => Step::Data(buffer.slice(n..=n)),
        other => other,
    });
    let (service, mut server) = server::<Replayed>();
    let body = Script::new(slices.collect::<Vec<_>>()).knows(Knows::Nothing);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    let mut attempt = server.next().await;
    for sent in 1..=200 {
        drop(read(attempt.request.body_mut(), 1).await);
        assert_eq!(held.now(), (200 - sent) * BUFFER, "after {sent} slices of one byte");
    }
    attempt.answer(503);
    let mut again = server.next().await;
    assert_eq!(rest(again.request.body_mut()).await.0.len(), 200, "all of them are there to be sent again");
    again.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn e9_frames_cost_what_it_takes_to_keep_them_even_empty_ones() {
    let empty = |count| Script::new(vec![Step::Data(Bytes::new()); count]).knows(Knows::Nothing);
    // 64 bytes each, in 64 KiB.
    assert_eq!(sent_twice(1_024).await, (1_024, vec![(1_024, 1_024); 2]));
    assert_eq!(sent_twice(1_041).await, (0, vec![(1_041, 1_041)]), "1,041 times 63 bytes more than the one they have");
    for count in [1_025, 100_000] {
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(at_once()).layer(service), put(empty(count)));
        let mut attempt = server.next().await;
        assert_eq!(rest(attempt.request.body_mut()).await.0, "");
        attempt.answer(503);
        assert_eq!(ended(call).await.expect("an answer").status(), 503, "{count} empty frames are too many to keep");
        server.got_no_more().await;
    }
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(empty(1_024)));
    for code in [503, 200] {
        let mut attempt = server.next().await;
        assert_eq!(rest(attempt.request.body_mut()).await.0, "");
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn e9_trailers_cost_their_size() {
    let long = "x".repeat(32 * 1024);
    for (many, attempts) in [(&[("a", long.as_str())][..], 2), (&[("a", long.as_str()), ("b", long.as_str())], 1)] {
        let (service, mut server) = server::<Replayed>();
        let body = Script::new([Step::Data("some".into()), Step::Trailers(headers(many))]).knows(Knows::Nothing);
        let call = start(RetryLayer::http(at_once()).layer(service), put(body));
        for attempt in 1..=attempts {
            let mut sent = server.next().await;
            let (text, trailers) = rest(sent.request.body_mut()).await;
            assert_eq!((text.as_str(), trailers.map(|trailers| trailers.len())), ("some", Some(many.len())));
            sent.answer(if attempt == 2 { 200 } else { 503 });
        }
        ended(call).await.expect("an answer");
        server.got_no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_is_not_recorded_where_there_is_no_room_for_it() {
    let held = Held::default();
    let (service, mut server) = server::<Replayed>();
    let post = Request::post("/").body(held.pieces(10)).expect("a request");
    let call = start(RetryLayer::http(at_once()).replay_up_to(0).layer(service), post);
    let mut attempt = server.next().await;
    read(attempt.request.body_mut(), 10).await;
    assert_eq!(held.now(), 0);
    attempt.answer(503);
    ended(call).await.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn c31_a_record_is_shared_by_all_attempts() {
    let held = Held::default();
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(held.pieces(10)));
    let (mut places, mut kept) = (None, Vec::new());
    for code in [503, 503, 503, 200] {
        let mut attempt = server.next().await;
        drop(kept);
        kept = read(attempt.request.body_mut(), 10).await;
        assert_eq!((held.recorded(&kept), held.now()), (10, 0));
        let of_these: Vec<_> = kept.iter().map(|frame| frame.as_ptr()).collect();
        assert_eq!(places.get_or_insert_with(|| of_these.clone()), &of_these, "the same bytes, not copies of copies");
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    assert_eq!(held.recorded(&kept), 0);
}
