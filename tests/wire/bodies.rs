//! Bodies of requests.

use bytes::Bytes;
use fusebox::BoxError;
use futures::{TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, SizeHint};

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) fn whole(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// Says a word, and then breaks with this error.
pub(crate) fn broken(error: impl Into<BoxError>) -> Body {
    StreamBody::new(stream::iter(pieces(error)).map_ok(Frame::data)).boxed_unsync()
}

/// The same as pieces, for clients with bodies of their own.
pub(crate) fn pieces(error: impl Into<BoxError>) -> [Result<Bytes, BoxError>; 2] {
    [Ok(Bytes::from_static(b"some")), Err(error.into())]
}

/// Says that it has four bytes more than it has.
pub(crate) fn short() -> Body {
    struct Short(Full<Bytes>);

    impl hyper::body::Body for Short {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            std::pin::Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(8)
        }
    }
    Short(Full::new(Bytes::from_static(b"some"))).map_err(|never| match never {}).boxed_unsync()
}
