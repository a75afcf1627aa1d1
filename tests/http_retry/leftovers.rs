//! What is read, during the wait, of a response that failed. Time is tokio's, paused.
#![cfg(feature = "axum")]

use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use axum::body::Body as AxumBody;
use fusebox::RetryLayer;
use http::Version;
use tower::{Layer, ServiceExt};

use super::script::{Gate, Seen, Step, data};
use super::*;
use support::{ms, poll_once};

/// A call whose first answer fails, in that version of HTTP and with that body; the second comes a second later. With what
/// becomes of the body.
fn call_after(version: Version, body: Script) -> (Seen, impl Future<Output = StatusCode>) {
    let seen = body.seen();
    let first = Arc::new(Mutex::new(Some(body)));
    let service = tower::service_fn(move |_: Request<Replayed>| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = match first {
            Some(body) => Response::builder().status(503).version(version).body(AxumBody::new(body)),
            None => Ok(Response::default()),
        };
        std::future::ready(answer)
    });
    let client = RetryLayer::http(config(|builder| builder.backoff(backoff::fixed(secs(1))))).layer(service);
    let call = async { client.oneshot(put(Script::of(&[]))).await.expect("an answer").status() };
    (seen, call)
}

#[tokio::test(start_paused = true)]
async fn it_is_read_for_ten_milliseconds_and_no_longer() {
    let stalls = Script::new([data("busy"), Step::Wait(Gate::default())]);
    let (seen, call) = call_after(Version::HTTP_11, stalls);
    let mut call = pin!(call);
    for (after, is_dropped) in [(0, false), (9, false), (3, true)] {
        tokio::time::advance(ms(after)).await;
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!((seen.bytes(), seen.dropped()), (4, is_dropped), "after {after} ms more");
    }
    assert_eq!(call.await, 200);
}

#[tokio::test(start_paused = true)]
async fn it_is_read_where_that_saves_a_connection_and_is_no_more_than_16_kib() {
    let (short, long) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
    for (version, text, is_read) in [
        (Version::HTTP_10, &short, true),
        (Version::HTTP_11, &short, true),
        (Version::HTTP_11, &long, false),
        (Version::HTTP_2, &short, false),
        (Version::HTTP_3, &short, false),
    ] {
        let (seen, call) = call_after(version, Script::of(&[text]));
        let mut call = pin!(call);
        assert!(poll_once(call.as_mut()).is_pending());
        let expected = if is_read { short.len() } else { 0 };
        assert_eq!((seen.bytes(), seen.dropped()), (expected, true), "{version:?}, {} bytes", text.len());
        assert_eq!(call.await, 200);
    }
}
