//! What is replaced, and by what.

use std::fmt;
use std::future::Future;

use crate::classify::Classify;

/// What is replaced, and by what: [`OnError`], [`OnErrorOf`] or [`OnFailure`]. Sealed.
///
/// It is a bound for code that works with each of them:
///
/// ```
/// use fusebox::{FallbackLayer, fallback::Replace};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// async fn price<G: Replace<u32, u32, &'static str>>(layer: &FallbackLayer<G>) -> Result<u32, &'static str> {
///     layer.layer(service_fn(|_: u32| async { Err("down") })).oneshot(7).await
/// }
///
/// # futures::executor::block_on(async {
/// assert_eq!(price(&FallbackLayer::new(|_: &str| async { Ok(100) })).await, Ok(100));
/// assert_eq!(price(&FallbackLayer::with_request(|sku, _: &str| async move { Ok(100 + sku) })).await, Ok(107));
/// # })
/// ```
#[diagnostic::on_unimplemented(
    message = "this fallback does not fit the service: response `{T}`, error `{E}`",
    note = "it must return a future of `Result` with the service's own response and error; `with_request` needs a request that is `Clone`"
)]
pub trait Replace<Req, T, E>: Clone + sealed::Sealed {
    /// What is kept of a request until its answer is known.
    #[doc(hidden)]
    type Kept;
    /// The other answer.
    type Future: Future<Output = Result<T, E>>;

    #[doc(hidden)]
    fn keep(&self, request: &Req) -> Self::Kept;

    /// The other answer, or the first one if that stands.
    #[doc(hidden)]
    fn replace(&self, kept: Self::Kept, result: Result<T, E>) -> Result<Self::Future, Result<T, E>>;
}

macro_rules! replacement {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<F> {
            pub(super) f: F,
        }

        impl<F> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

replacement! {
    /// Errors are replaced. Made by [`FallbackLayer::new`](super::FallbackLayer::new). A function pointer gives the layer a
    /// type that can be written down:
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use std::io;
    /// use fusebox::fallback::{FallbackLayer, OnError};
    ///
    /// type Zero = OnError<fn(io::Error) -> Ready<io::Result<u32>>>;
    ///
    /// fn layer() -> FallbackLayer<Zero> {
    ///     FallbackLayer::new(|_| ready(Ok(0)))
    /// }
    /// # let _ = layer();
    /// ```
    OnError
}
replacement! {
    /// Errors are replaced by a function that gets the request as well. Made by
    /// [`FallbackLayer::with_request`](super::FallbackLayer::with_request).
    OnErrorOf
}

/// What a classifier calls a failure is replaced. Made by [`FallbackLayer::on_failure`](super::FallbackLayer::on_failure).
#[derive(Clone, Copy)]
pub struct OnFailure<C, F> {
    pub(super) classify: C,
    pub(super) f: F,
}

impl<C: fmt::Debug, F> fmt::Debug for OnFailure<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnFailure").field("classify", &self.classify).finish_non_exhaustive()
    }
}

impl<F, Fut, Req, T, E> Replace<Req, T, E> for OnError<F>
where
    F: Fn(E) -> Fut + Clone,
    Fut: Future<Output = Result<T, E>>,
{
    type Kept = ();
    type Future = Fut;

    fn keep(&self, _request: &Req) {}

    fn replace(&self, (): (), result: Result<T, E>) -> Result<Fut, Result<T, E>> {
        match result {
            Ok(response) => Err(Ok(response)),
            Err(error) => Ok((self.f)(error)),
        }
    }
}

impl<F, Fut, Req, T, E> Replace<Req, T, E> for OnErrorOf<F>
where
    F: Fn(Req, E) -> Fut + Clone,
    Fut: Future<Output = Result<T, E>>,
    Req: Clone,
{
    type Kept = Req;
    type Future = Fut;

    fn keep(&self, request: &Req) -> Req {
        request.clone()
    }

    fn replace(&self, request: Req, result: Result<T, E>) -> Result<Fut, Result<T, E>> {
        match result {
            Ok(response) => Err(Ok(response)),
            Err(error) => Ok((self.f)(request, error)),
        }
    }
}

impl<C, F, Fut, Req, T, E> Replace<Req, T, E> for OnFailure<C, F>
where
    C: Classify<T, E> + Clone,
    F: Fn(Result<T, E>) -> Fut + Clone,
    Fut: Future<Output = Result<T, E>>,
{
    type Kept = ();
    type Future = Fut;

    fn keep(&self, _request: &Req) {}

    fn replace(&self, (): (), result: Result<T, E>) -> Result<Fut, Result<T, E>> {
        if self.classify.classify(&result).is_failure() { Ok((self.f)(result)) } else { Err(result) }
    }
}

mod sealed {
    pub trait Sealed {}
    impl<F> Sealed for super::OnError<F> {}
    impl<F> Sealed for super::OnErrorOf<F> {}
    impl<C, F> Sealed for super::OnFailure<C, F> {}
}
