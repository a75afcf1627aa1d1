//! 31: what is recorded, for how long, and how much of it.

use bytes::Bytes;
use fusebox::RetryLayer;
use tower::Layer;

use super::script::{Knows, Step};
use super::*;
use std::sync::atomic::AtomicUsize;

/// Counts the bytes that somebody still holds.
#[derive(Clone, Debug, Default)]
struct Held(Arc<AtomicUsize>);

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
        self.held.0.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

impl Held {
    fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn piece(&self, length: usize) -> Step {
        self.0.fetch_add(length, Ordering::SeqCst);
        Step::Data(Bytes::from_owner(Owner { bytes: vec![b'x'; length], held: self.clone() }))
    }

    /// So many pieces of ten bytes each.
    fn pieces(&self, count: usize) -> Script {
        Script::new((0..count).map(|_| self.piece(10)).collect::<Vec<_>>()).knows(Knows::Nothing)
    }
}

async fn read(body: &mut Replayed, frames: usize) {
    for _ in 0..frames {
        body.frame().await.expect("a frame").expect("no error");
    }
}

#[tokio::test(start_paused = true)]
async fn c31_nothing_is_recorded_any_more_once_the_call_is_over() {
    for code in [200, 404, 501] {
        let held = Held::default();
        let (service, mut server) = server::<Replayed>();
        let call = start(RetryLayer::http(at_once()).layer(service), put(held.pieces(100)));
        let mut attempt = server.next().await;
        read(attempt.request.body_mut(), 2).await;
        assert_eq!(held.now(), 1_000, "it may have to be sent again");
        let mut body = attempt.answer(code);
        ended(call).await.expect("an answer");
        let recorded = held.now();
        for read_on in 1..=98 {
            read(&mut body, 1).await;
            assert!(held.now() <= recorded - 10 * read_on, "{} bytes held after {read_on} more", held.now());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c31_what_was_recorded_is_let_go_once_the_call_is_over() {
    let held = Held::default();
    let (service, mut server) = server::<Replayed>();
    let call = start(RetryLayer::http(at_once()).layer(service), put(held.pieces(100)));
    let mut attempt = server.next().await;
    read(attempt.request.body_mut(), 50).await;
    let mut body = attempt.answer(200);
    ended(call).await.expect("an answer");
    read(&mut body, 1).await;
    assert_eq!(held.now(), 490, "what was sent and will not be sent again");
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
    read(body, 4).await;
    assert_eq!(held.now(), 1_000, "all of it is recorded");
    for sent in 5..=100 {
        read(body, 1).await;
        assert_eq!(held.now(), 1_000 - 10 * sent, "a body too long to be sent again is not kept at all");
    }
    attempt.answer(503);
    assert_eq!(ended(call).await.expect("an answer").status(), 503);
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
    for code in [503, 503, 503, 200] {
        let mut attempt = server.next().await;
        let sent = rest(attempt.request.body_mut()).await.0;
        assert_eq!((sent.len(), held.now()), (100, 100));
        attempt.answer(code);
    }
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    assert_eq!(held.now(), 0);
}
