//! What is left to read of a response that goes to no caller: read to its end, HTTP/1 can use its connection again.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Buf;
use http::{Response, Version};
use http_body::Body;

use super::contract::Leftover;
use super::covers::uncovered;

/// More bytes than that are not worth a connection: the rest is dropped, and its connection with it.
const LIMIT: usize = 16 * 1024;

/// The rest of a response whose body is one of a client that has connections: hyper's, reqwest's or axum's; or one of this
/// crate's around such a one.
pub(super) fn of<B: 'static>(response: Response<B>) -> Option<Leftover> {
    // A stream of HTTP/2 or later ends without its connection.
    if response.version() > Version::HTTP_11 {
        return None;
    }
    let body = uncovered(response);
    #[cfg(feature = "hyper")]
    let body = match body.downcast::<hyper::body::Incoming>() {
        Ok(body) => return reading(*body),
        Err(other) => other,
    };
    #[cfg(feature = "reqwest")]
    let body = match body.downcast::<reqwest::Body>() {
        Ok(body) => return reading(*body),
        Err(other) => other,
    };
    #[cfg(feature = "axum")]
    let body = match body.downcast::<axum::body::Body>() {
        Ok(body) => return reading(*body),
        Err(other) => other,
    };
    drop(body);
    None
}

fn reading<B>(mut body: B) -> Option<Leftover>
where
    B: Body + Send + Unpin + 'static,
{
    let is_too_long = usize::try_from(body.size_hint().lower()).map_or(true, |least| least > LIMIT);
    if body.is_end_stream() || is_too_long {
        return None;
    }
    let mut left = LIMIT;
    Some(Box::pin(poll_fn(move |cx| {
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(&mut body).poll_frame(cx)) else {
                return Poll::Ready(());
            };
            let read = frame.data_ref().map_or(0, Buf::remaining);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return Poll::Ready(()),
            }
        }
    })))
}
