//! What is left to read of a response that goes to no caller.

#[cfg(any(feature = "hyper", feature = "axum"))]
use std::any::Any;
use std::fmt;
use std::future::Future;
#[cfg(any(feature = "hyper", feature = "axum"))]
use std::future::poll_fn;
use std::pin::Pin;
#[cfg(any(feature = "hyper", feature = "axum"))]
use std::task::ready;
use std::task::{Context, Poll};

#[cfg(any(feature = "hyper", feature = "axum"))]
use bytes::Buf;
use http::Response;
#[cfg(any(feature = "hyper", feature = "axum"))]
use http::Version;
#[cfg(any(feature = "hyper", feature = "axum"))]
use http_body::Body;

/// The rest of a response that a retry has given up, while it is read to its end: then HTTP/1 can use its connection again. It
/// is bounded in bytes here, and in time by its caller; a longer one is dropped, and its connection with it.
pub struct Leftover {
    rest: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// More bytes than that are not worth a connection.
#[cfg(any(feature = "hyper", feature = "axum"))]
const LIMIT: usize = 16 * 1024;

impl Leftover {
    /// The rest of a response whose body is one of a client that has connections: hyper's, reqwest's or axum's.
    #[cfg(any(feature = "hyper", feature = "axum"))]
    pub(super) fn of<B: 'static>(response: Response<B>) -> Option<Self> {
        // A stream of HTTP/2 or later ends without its connection.
        if response.version() > Version::HTTP_11 {
            return None;
        }
        let mut body = Some(response.into_body());
        let body: &mut dyn Any = &mut body;
        #[cfg(feature = "hyper")]
        if let Some(body) = body.downcast_mut::<Option<hyper::body::Incoming>>() {
            return body.take().and_then(Self::reading);
        }
        #[cfg(feature = "reqwest")]
        if let Some(body) = body.downcast_mut::<Option<reqwest::Body>>() {
            return body.take().and_then(Self::reading);
        }
        #[cfg(feature = "axum")]
        if let Some(body) = body.downcast_mut::<Option<axum::body::Body>>() {
            return body.take().and_then(Self::reading);
        }
        None
    }

    /// No client is known whose connections could be kept.
    #[cfg(not(any(feature = "hyper", feature = "axum")))]
    pub(super) fn of<B: 'static>(_response: Response<B>) -> Option<Self> {
        None
    }

    #[cfg(any(feature = "hyper", feature = "axum"))]
    fn reading<B>(mut body: B) -> Option<Self>
    where
        B: Body + Send + Unpin + 'static,
    {
        let is_too_long = usize::try_from(body.size_hint().lower()).map_or(true, |least| least > LIMIT);
        if body.is_end_stream() || is_too_long {
            return None;
        }
        let mut left = LIMIT;
        let rest = poll_fn(move |cx| {
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
        });
        Some(Self { rest: Box::pin(rest) })
    }
}

impl Future for Leftover {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.rest.as_mut().poll(cx)
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftover").finish_non_exhaustive()
    }
}
