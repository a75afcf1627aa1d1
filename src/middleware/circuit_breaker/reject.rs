//! What becomes of a rejected request.

use std::fmt;
use std::future::{Future, Ready, ready};

use crate::error::BoxError;
use crate::rejected::Rejected;

/// What becomes of a rejected request. One of [`Boxed`], [`MapRejection`], [`RespondWith`] or [`Fallback`].
#[diagnostic::on_unimplemented(
    message = "this rejection mode does not fit the service: response `{Res}`, error `{Err}`",
    note = "by default the inner error must be `Into<BoxError>`; `map_rejection` must return the inner error type, `respond_with` and `fallback` the inner response type"
)]
/// It is a bound for code that works with every mode:
///
/// ```
/// use fusebox::circuit_breaker::OnReject;
/// use fusebox::classify::Errors;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// async fn ask<M>(layer: &CircuitBreakerLayer<Errors, M>) -> Result<u32, M::Error>
/// where
///     M: OnReject<&'static str, u32, std::num::ParseIntError>,
/// {
///     layer.layer(service_fn(|text: &str| std::future::ready(text.parse()))).oneshot("42").await
/// }
///
/// # futures::executor::block_on(async {
/// let boxed = CircuitBreakerLayer::new(CircuitBreakerConfig::new("parser"));
/// assert_eq!(ask(&boxed).await?, 42);
/// let zero = CircuitBreakerLayer::from(boxed.breaker().clone()).respond_with(|_: &Rejected| 0);
/// boxed.breaker().trip()?;
/// assert_eq!(ask(&zero).await?, 0);
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
pub trait OnReject<Req, Res, Err>: Clone + sealed::Sealed {
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
///
/// ```
/// use fusebox::circuit_breaker::Boxed;
/// use fusebox::classify::Errors;
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// # futures::executor::block_on(async {
/// let layer: CircuitBreakerLayer<Errors, Boxed> = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
/// let service = layer.layer(service_fn(|_: ()| async { Ok::<_, std::io::Error>(()) }));
/// layer.breaker().trip()?;
/// let error: BoxError = service.oneshot(()).await.unwrap_err();
/// assert!(fusebox::rejection(&*error).is_some());
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
/// ```
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
    ///
    /// Made by [`map_rejection`](super::CircuitBreakerLayer::map_rejection). A function pointer gives the layer a type
    /// that can be written down:
    ///
    /// ```
    /// use std::io;
    /// use fusebox::circuit_breaker::MapRejection;
    /// use fusebox::classify::Errors;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    ///
    /// struct Client {
    ///     layer: CircuitBreakerLayer<Errors, MapRejection<fn(Rejected) -> io::Error>>,
    /// }
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("disk"));
    /// let client = Client { layer: layer.map_rejection(io::Error::other) };
    /// assert_eq!(&*client.layer.breaker().name(), "disk");
    /// ```
    MapRejection
}
mode! {
    /// A rejection becomes a response.
    ///
    /// Made by [`respond_with`](super::CircuitBreakerLayer::respond_with). A function pointer gives the layer a type
    /// that can be written down:
    ///
    /// ```
    /// use fusebox::circuit_breaker::RespondWith;
    /// use fusebox::classify::Errors;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    ///
    /// fn quiet(dependency: &str) -> CircuitBreakerLayer<Errors, RespondWith<fn(&Rejected) -> String>> {
    ///     CircuitBreakerLayer::new(CircuitBreakerConfig::new(dependency)).respond_with(ToString::to_string)
    /// }
    /// assert_eq!(&*quiet("prices").breaker().name(), "prices");
    /// ```
    RespondWith
}
mode! {
    /// A rejected request goes to a function instead.
    ///
    /// Made by [`fallback`](super::CircuitBreakerLayer::fallback). A function pointer gives the layer a type that can
    /// be written down:
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use fusebox::circuit_breaker::Fallback;
    /// use fusebox::classify::Errors;
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    ///
    /// type Cached = fn(u32, Rejected) -> Ready<Result<u32, BoxError>>;
    ///
    /// fn prices() -> CircuitBreakerLayer<Errors, Fallback<Cached>> {
    ///     CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices")).fallback(|sku, _| ready(Ok(100 + sku)))
    /// }
    /// assert_eq!(&*prices().breaker().name(), "prices");
    /// ```
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

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Boxed {}
    impl<F> Sealed for super::MapRejection<F> {}
    impl<F> Sealed for super::RespondWith<F> {}
    impl<F> Sealed for super::Fallback<F> {}
}
