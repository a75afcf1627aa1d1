//! What the ready-made nets are: a retry over a breaker, with one rule for both.

use std::error::Error;

use tower_layer::Layer;

use super::boxed_errors::BoxedErrors;
use super::net::SafetyNet;
use crate::attempts::Timed;
#[cfg(feature = "grpc")]
use crate::classify::Grpc;
#[cfg(feature = "http")]
use crate::classify::Http;
use crate::classify::{Errors, ExceptSource};
use crate::middleware::circuit_breaker::{Boxed, CircuitBreakerLayer, CircuitBreakerService, KeepsReadiness, One};
use crate::middleware::retry::{RetryLayer, RetryService};

/// A retry with limits of time over a circuit breaker. Both have one classifier: the layer in the presets of
/// [`SafetyNet`].
///
/// `C` is that classifier, `P` says how requests are sent again. Errors are boxed below the breaker, so that both judge the
/// same: what a caller's own error has for its source is looked into.
///
/// ```
/// use fusebox::classify::Errors;
/// use fusebox::retry::Cloned;
/// use fusebox::safety_net::RetryOverBreaker;
/// use fusebox::SafetyNet;
///
/// struct Repository {
///     database: SafetyNet<RetryOverBreaker<Errors, Cloned>>, // `SafetyNet<safety_net::Database>` for short
/// }
/// let repository = Repository { database: SafetyNet::database("orders")? };
/// assert!(repository.database.breaker().is_some());
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetryOverBreaker<C, P, R = KeepsReadiness> {
    retry: RetryLayer<C, P, Timed>,
    breaker: CircuitBreakerLayer<C, Boxed, One, R>,
}

impl<S, C, P, R> Layer<S> for RetryOverBreaker<C, P, R>
where
    C: Clone,
    P: Clone,
{
    type Service = RetryService<CircuitBreakerService<BoxedErrors<S>, C, Boxed, One, R>, C, P, Timed>;

    fn layer(&self, inner: S) -> Self::Service {
        self.retry.layer(self.breaker.layer(BoxedErrors::new(inner)))
    }
}

impl<C, P, R> SafetyNet<RetryOverBreaker<C, P, R>> {
    pub(super) fn retry_over_breaker(
        retry: RetryLayer<C, P, Timed>,
        breaker: CircuitBreakerLayer<C, Boxed, One, R>,
    ) -> Self {
        let steps = vec![retry.to_string(), breaker.to_string()];
        let handle = breaker.breaker().clone();
        Self { layers: RetryOverBreaker { retry, breaker }, steps, breaker: Some(handle) }
    }

    /// Changes how the retry sends requests again. It is done by methods of [`RetryLayer`] such as `body`,
    /// `replay_up_to`, `idempotent_when` and `without_redirects`.
    ///
    /// ```
    /// # #[cfg(feature = "http")] {
    /// use axum::body::Body;
    /// use fusebox::SafetyNet;
    /// use http::{Request, Response};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// /// A client that takes axum's body and no other.
    /// async fn send(request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
    ///     Ok(Response::new(request.into_body()))
    /// }
    ///
    /// # tokio_test::block_on(async {
    /// let net = SafetyNet::http("shop")?.map_retry(|retry| retry.body(Body::new).replay_up_to(1024 * 1024));
    /// let response = net.layer(service_fn(send)).oneshot(Request::new(Body::from("7"))).await?;
    /// assert!(response.status().is_success());
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// # }
    /// ```
    pub fn map_retry<N, F>(self, f: F) -> SafetyNet<RetryOverBreaker<C, N, R>>
    where
        F: FnOnce(RetryLayer<C, P, Timed>) -> RetryLayer<C, N, Timed>,
    {
        let RetryOverBreaker { retry, breaker } = self.layers;
        let layers = RetryOverBreaker { retry: f(retry), breaker };
        SafetyNet { layers, steps: self.steps, breaker: self.breaker }
    }

    /// Decides with `classifier` what is a failure and what is tried again. It does so for the retry and the breaker
    /// alike.
    ///
    /// Errors come boxed to it, whatever they are: see [`exclude`](Self::exclude) for those of the caller's own.
    ///
    /// ```
    /// use fusebox::{SafetyNet, classify};
    ///
    /// let net = SafetyNet::database("orders")?.classify(classify::errors().exclude_source(|e: &std::io::Error| {
    ///     e.kind() == std::io::ErrorKind::NotFound
    /// }));
    /// # let _ = net;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn classify<N: Clone>(self, classifier: N) -> SafetyNet<RetryOverBreaker<N, P, R>> {
        let RetryOverBreaker { retry, breaker } = self.layers;
        let layers =
            RetryOverBreaker { retry: retry.classify(classifier.clone()), breaker: breaker.classify(classifier) };
        SafetyNet { layers, steps: self.steps, breaker: self.breaker }
    }
}

macro_rules! excluding {
    ($(#[$gate:meta])* $rule:ident, $preset:literal) => {
        $(#[$gate])*
        impl<P, R> SafetyNet<RetryOverBreaker<$rule, P, R>> {
            /// Makes errors for which `is_excluded` holds the caller's own. They open no circuit and are not tried
            /// again.
            ///
            /// It is asked of each `T` in an error: the error itself, and all that it has for its sources.
            ///
            /// ```
            /// use fusebox::SafetyNet;
            ///
            /// # #[derive(Debug)]
            /// enum ShopError { SoldOut, Down }
            /// # impl std::fmt::Display for ShopError {
            /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") }
            /// # }
            /// impl std::error::Error for ShopError {}
            ///
            #[doc = concat!("let net = SafetyNet::", $preset, "(\"shop\")?")]
            ///     .exclude(|error: &ShopError| matches!(error, ShopError::SoldOut));
            /// # let _ = (net, ShopError::Down);
            /// # Ok::<(), fusebox::ConfigError>(())
            /// ```
            pub fn exclude<T, F>(self, is_excluded: F) -> SafetyNet<RetryOverBreaker<$rule<ExceptSource<T, F>>, P, R>>
            where
                T: Error + 'static,
                F: Fn(&T) -> bool + Clone,
            {
                let rule = self.layers.retry.classifier().exclude_source(is_excluded);
                self.classify(rule)
            }
        }
    };
}

excluding!(Errors, "database");
excluding!(
    #[cfg(feature = "http")]
    Http,
    "http"
);
excluding!(
    #[cfg(feature = "grpc")]
    Grpc,
    "grpc"
);
