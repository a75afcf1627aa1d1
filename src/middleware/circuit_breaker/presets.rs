//! Layers that bring the classifier of their protocol.

use super::layer::CircuitBreakerLayer;
use super::readiness::ReleasesReadiness;
use super::reject::Boxed;
use super::select::One;
use crate::breaker::CircuitBreakerConfig;
#[cfg(feature = "grpc")]
use crate::classify::Grpc;
use crate::classify::{self, Http};

impl CircuitBreakerLayer<Http, Boxed, One, ReleasesReadiness> {
    /// Makes a breaker and its layer for HTTP, around clients and servers. It judges by
    /// [`classify::http`](crate::classify::http), as [`RetryLayer::http`](crate::RetryLayer::http) does.
    ///
    /// A rejected call gives back what the inner service has [reserved](Self::releases_readiness) for it, so that one
    /// must be `Clone`, as clients and axum's routes are.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, detect};
    /// use http::{Request, Response, StatusCode};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// async fn server(_: Request<()>) -> Result<Response<&'static str>, std::io::Error> {
    ///     Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body("").unwrap())
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let config = CircuitBreakerConfig::builder("prices").detector(detect::consecutive_failures(1)).build()?;
    /// let layer = CircuitBreakerLayer::http(config);
    /// let client = layer.layer(service_fn(server));
    /// assert_eq!(client.clone().oneshot(Request::new(())).await?.status(), StatusCode::BAD_GATEWAY);
    /// assert!(layer.breaker().is_open(), "a status is a failure, too");
    ///
    /// let error = client.oneshot(Request::new(())).await.unwrap_err();
    /// assert!(fusebox::rejection(&*error).is_some());
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn http(config: CircuitBreakerConfig) -> Self {
        let classifier = classify::http().outcomes(config.outcomes());
        CircuitBreakerLayer::new(config).classify(classifier).releases_readiness()
    }

    /// Makes a breaker and its layer for a [`reqwest::Client`]. It judges by [`classify::http`](crate::classify::http),
    /// as [`RetryLayer::reqwest`](crate::RetryLayer::reqwest) does.
    ///
    /// The error is a [`BoxError`](crate::BoxError): the client's own `reqwest::Error`, or a [`Rejected`](crate::Rejected),
    /// which [`rejection`](crate::rejection) finds.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # async fn get() -> Result<(), fusebox::BoxError> {
    /// let client = CircuitBreakerLayer::reqwest(CircuitBreakerConfig::new("prices")).layer(reqwest::Client::new());
    /// let request = reqwest::Request::new(reqwest::Method::GET, "https://api.example/prices".parse()?);
    /// match client.oneshot(request).await {
    ///     Ok(response) => println!("{}", response.text().await?),
    ///     Err(error) if fusebox::rejection(&*error).is_some() => println!("not asked: {error}"),
    ///     Err(error) => println!("asked, and failed: {error}"),
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "reqwest")]
    #[must_use]
    pub fn reqwest(config: CircuitBreakerConfig) -> Self {
        Self::http(config)
    }
}

#[cfg(feature = "grpc")]
impl CircuitBreakerLayer<Grpc, Boxed, One, ReleasesReadiness> {
    /// Makes a breaker and its layer for gRPC. It stands around a tonic `Channel` or in a server, and judges by
    /// [`classify::grpc`](crate::classify::grpc), as [`RetryLayer::grpc`](crate::RetryLayer::grpc) does.
    ///
    /// A generated client around it returns UNAVAILABLE for a rejected call, with the time to come back as pushback. On a
    /// server add `.respond_with(fusebox::grpc::unavailable)`. A rejected call gives back what the channel has
    /// [reserved](Self::releases_readiness) for it.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
    /// use tonic::transport::{Channel, Endpoint};
    /// use tower::{Layer, Service};
    ///
    /// fn client(channel: Channel) -> impl Service<http::Request<tonic::body::Body>> {
    ///     let layer = CircuitBreakerLayer::grpc(CircuitBreakerConfig::new("payments"));
    ///     layer.layer(channel) // then `PaymentsClient::new(..)` of it
    /// }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # let _guard = runtime.enter();
    /// # let _ = client(Endpoint::from_static("http://payments.example").connect_lazy());
    /// ```
    #[must_use]
    pub fn grpc(config: CircuitBreakerConfig) -> Self {
        let classifier = classify::grpc().outcomes(config.outcomes());
        CircuitBreakerLayer::new(config).classify(classifier).releases_readiness()
    }
}
