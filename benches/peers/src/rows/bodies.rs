//! Bodies that are sent again, of a service that reads each to its end. Peers clone what they have in memory as a whole;
//! a body that streams can't be cloned, and is recorded while it is first sent.

use super::{Cell, Column, Row, on_shared, successes};
use crate::caller::{Boom, Caller, Outcome, Plain, Req, drive};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use std::future::{Ready, ready};
use std::pin::pin;
use tower::retry::{Policy, Retry};
use tower_service::Service;

pub const FLOOR: &str = "bytes";

const SMALL: usize = 1 << 10;
const LARGE: usize = 1 << 20;
const ATTEMPTS: usize = 3;

thread_local! {
    static ATTEMPT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Reads the body; fails twice, then succeeds, and so on, or always succeeds.
async fn read<B: Body<Data = Bytes>>(request: Request<B>, fails: bool) -> Result<Response<()>, Boom> {
    let mut body = pin!(request.into_body());
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.map_err(|_| Boom::FAILED)?.data_ref().map_or(0, Bytes::len);
    }
    READ.set(READ.get() + length);
    let attempt = ATTEMPT.get() + 1;
    ATTEMPT.set(attempt % ATTEMPTS);
    let mut response = Response::new(());
    if fails && attempt < ATTEMPTS {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

fn server<B>(
    fails: bool,
) -> impl Service<Request<B>, Response = Response<()>, Error = Boom, Future: Send> + Clone + Send
where
    B: Body<Data = Bytes, Error: Send> + Send + 'static,
{
    tower::service_fn(move |request| read(request, fails))
}

/// One that may be sent again.
fn put<B>(body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::PUT;
    request
}

fn outcome<E>(answer: Result<Response<()>, E>) -> Outcome {
    match answer {
        Ok(response) if response.status() == StatusCode::OK => Outcome::Ok,
        _ => Outcome::Failed,
    }
}

/// Makes a body for each call.
fn over<S, B, E>(mut service: S, body: impl Fn() -> B + Clone + Send + 'static) -> impl Caller
where
    S: Service<Request<B>, Response = Response<()>, Error = E> + Clone + Send + 'static,
{
    Plain(move |_: Req| outcome(drive(service.call(put(body())))))
}

/// A row of all four columns; `build` is given the bytes, and whether the service fails twice.
fn row<C: Caller>(id: &'static str, name: &'static str, build: impl Fn(Bytes, bool) -> C + Copy + 'static) -> Row {
    let cell = |column, length: usize, fails| {
        let build = move || {
            let mut caller = build(Bytes::from(vec![b'x'; length]), fails);
            ATTEMPT.set(0);
            READ.set(0);
            assert_eq!(caller.call(Req::ok(0)), Outcome::Ok);
            assert_eq!(READ.get(), length * if fails { ATTEMPTS } else { 1 }, "{id}");
            ATTEMPT.set(0);
            caller
        };
        Cell::new(column, on_shared(build, successes))
    };
    Row::empty(id, name)
        .with(cell(Column::SmallBody, SMALL, false))
        .with(cell(Column::SmallBodies, SMALL, true))
        .with(cell(Column::LargeBody, LARGE, false))
        .with(cell(Column::LargeBodies, LARGE, true))
}

fn no_retry(bytes: Bytes, fails: bool) -> impl Caller {
    let mut service = server::<Full<Bytes>>(fails);
    Plain(move |_: Req| {
        let mut call = || drive(service.call(put(Full::new(bytes.clone()))));
        if fails {
            (1..ATTEMPTS).for_each(|_| assert_eq!(outcome(call()), Outcome::Failed));
        }
        outcome(call())
    })
}

/// Clones the request, retries a 503.
#[derive(Clone)]
struct On503(usize);

impl<B: Clone> Policy<Request<B>, Response<()>, Boom> for On503 {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<B>, answer: &mut Result<Response<()>, Boom>) -> Option<Ready<()>> {
        answer.as_ref().ok().filter(|response| response.status() == StatusCode::SERVICE_UNAVAILABLE)?;
        self.0 = self.0.checked_sub(1)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

fn tower_retry(bytes: Bytes, fails: bool) -> impl Caller {
    over(Retry::new(On503(ATTEMPTS), server::<Full<Bytes>>(fails)), move || Full::new(bytes.clone()))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row(FLOOR, "no retry, a clone of the bytes for each attempt (the floor)", no_retry),
        row("tower-retry-bytes", "tower::retry 0.5.3, clones the request with its bytes", tower_retry),
    ];
    #[cfg(feature = "ours")]
    rows.extend(ours::rows());
    rows
}

#[cfg(feature = "ours")]
mod ours {
    use super::{LARGE, Row, over, row, server};
    use crate::caller::Caller;
    use bytes::Bytes;
    use fusebox::retry::ReplayBody;
    use fusebox::{RetryConfig, RetryLayer, backoff};
    use http_body::{Body, Frame};
    use http_body_util::Full;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use tower_layer::Layer;

    const FRAME: usize = 16 << 10;

    /// A body of which no length is known, in frames of 16 KiB.
    struct Frames(Bytes);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = self.0.len().min(FRAME);
            Poll::Ready((next > 0).then(|| Ok(Frame::data(self.0.split_to(next)))))
        }
    }

    fn replaying<B>(fails: bool, body: impl Fn() -> B + Clone + Send + 'static) -> impl Caller
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let config = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).build().unwrap();
        over(RetryLayer::http(config).replay_up_to(LARGE).layer(server::<ReplayBody<B>>(fails)), body)
    }

    pub fn rows() -> [Row; 2] {
        [
            row("fusebox-bytes", "**fusebox**, `RetryLayer::http`, the same body", |bytes, fails| {
                replaying(fails, move || Full::new(bytes.clone()))
            }),
            row(
                "fusebox-frames",
                "**fusebox**, `RetryLayer::http`, a body that streams frames of 16 KiB",
                |bytes, fails| replaying(fails, move || Frames(bytes.clone())),
            ),
        ]
    }
}
