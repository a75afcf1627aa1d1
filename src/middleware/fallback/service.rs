//! The service with a fallback.

use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use super::replace::Replace;

/// A service whose failures get another answer. Made by [`FallbackLayer`](super::FallbackLayer).
///
/// ```
/// use fusebox::{FallbackLayer, fallback::FallbackService};
/// use tower::Layer;
///
/// struct Client {
///     region: u32,
/// }
/// let service: FallbackService<Client, _> =
///     FallbackLayer::new(|_: std::io::Error| async { Ok(0) }).layer(Client { region: 1 });
/// assert_eq!(service.get_ref().region, 1);
/// assert_eq!(service.into_inner().region, 1);
/// ```
#[derive(Clone, Debug)]
pub struct FallbackService<S, G> {
    inner: S,
    replace: G,
}

impl<S, G> FallbackService<S, G> {
    pub(super) const fn new(inner: S, replace: G) -> Self {
        Self { inner, replace }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service by value.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, G, Req> Service<Req> for FallbackService<S, G>
where
    S: Service<Req>,
    G: Replace<Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, G, G::Kept, G::Future, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let kept = self.replace.keep(&request);
        ResponseFuture::new(self.inner.call(request), self.replace.clone(), kept)
    }
}
