//! What becomes of a rejected request.

use std::fmt;
use std::future::{Future, Ready, ready};

use crate::breaker::Rejected;
use crate::error::BoxError;

/// What becomes of a rejected request: [`Boxed`], [`MapRejection`], [`RespondWith`] or [`Fallback`].
#[diagnostic::on_unimplemented(
    message = "this rejection mode does not fit the service: response `{Res}`, error `{Err}`",
    note = "by default the inner error must be `Into<BoxError>`; `map_rejection` must return the inner error type, `respond_with` and `fallback` the inner response type"
)]
pub trait OnReject<Req, Res, Err>: Clone {
    /// The error of the guarded service.
    type Error;
    /// The answer to a rejected request.
    type Future: Future<Output = Result<Res, Self::Error>>;

    /// Answers a rejected request.
    fn reject(&self, request: Req, rejected: Rejected) -> Self::Future;

    /// Turns an error of the inner service into one of the guarded service.
    fn error(error: Err) -> Self::Error;
}

/// A rejection is an error, boxed as Tower's own middleware does it. [`rejection`](crate::rejection) finds it again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Boxed;

impl<Req, Res, Err: Into<BoxError>> OnReject<Req, Res, Err> for Boxed {
    type Error = BoxError;
    type Future = Ready<Result<Res, BoxError>>;

    fn reject(&self, _request: Req, rejected: Rejected) -> Self::Future {
        ready(Err(rejected.into()))
    }

    #[inline]
    fn error(error: Err) -> BoxError {
        error.into()
    }
}

macro_rules! mode {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<F>(pub(super) F);

        impl<F> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

mode! {
    /// A rejection becomes an error of the inner service's own type.
    MapRejection
}
mode! {
    /// A rejection becomes a response.
    RespondWith
}
mode! {
    /// A rejected request goes to a function instead.
    Fallback
}

impl<F, Req, Res, Err> OnReject<Req, Res, Err> for MapRejection<F>
where
    F: Fn(Rejected) -> Err + Clone,
{
    type Error = Err;
    type Future = Ready<Result<Res, Err>>;

    #[inline]
    fn reject(&self, _request: Req, rejected: Rejected) -> Self::Future {
        ready(Err((self.0)(rejected)))
    }

    #[inline]
    fn error(error: Err) -> Err {
        error
    }
}

impl<F, Req, Res, Err> OnReject<Req, Res, Err> for RespondWith<F>
where
    F: Fn(&Rejected) -> Res + Clone,
{
    type Error = Err;
    type Future = Ready<Result<Res, Err>>;

    fn reject(&self, _request: Req, rejected: Rejected) -> Self::Future {
        ready(Ok((self.0)(&rejected)))
    }

    #[inline]
    fn error(error: Err) -> Err {
        error
    }
}

impl<F, Fut, Req, Res, Err> OnReject<Req, Res, Err> for Fallback<F>
where
    F: Fn(Req, Rejected) -> Fut + Clone,
    Fut: Future<Output = Result<Res, Err>>,
{
    type Error = Err;
    type Future = Fut;

    fn reject(&self, request: Req, rejected: Rejected) -> Fut {
        (self.0)(request, rejected)
    }

    #[inline]
    fn error(error: Err) -> Err {
        error
    }
}
