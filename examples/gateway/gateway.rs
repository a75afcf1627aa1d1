//! The gateway itself: what there is to copy.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use fusebox::circuit_breaker::{Boxed, CircuitBreakerService, One, ReleasesReadiness};
use fusebox::classify::{self, Grpc};
use fusebox::retry::{ReplayGrpc, RetryService, Timed};
use fusebox::settings::Settings;
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerLayer, Registry, RetryLayer, key, web};
use http::StatusCode;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::prices::PricesClient;

/// A channel with a retry and a breaker around it: goes wherever a `Channel` goes.
type GuardedChannel =
    RetryService<CircuitBreakerService<Channel, Grpc, Boxed, One, ReleasesReadiness>, Grpc, ReplayGrpc, Timed>;

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: BoxCloneSyncService<reqwest::Request, reqwest::Response, BoxError>,
    prices: PricesClient<GuardedChannel>,
    /// The breakers of the hosts that are called over HTTP.
    hosts: Registry,
    /// The breaker of the gRPC service.
    breaker: CircuitBreaker,
}

impl Gateway {
    pub(crate) fn new(settings: &Settings, client: reqwest::Client, channel: Channel) -> Result<Self, BoxError> {
        let hosts = settings.registry("hosts")?;
        let http = ServiceBuilder::new()
            .layer(RetryLayer::reqwest(settings.retry("http")?))
            .layer(CircuitBreakerLayer::keyed_by(hosts.clone(), key::host()).classify(classify::http()))
            .service(client);
        let layer = CircuitBreakerLayer::grpc(settings.breaker("prices")?);
        let breaker = layer.breaker().clone();
        let channel =
            ServiceBuilder::new().layer(RetryLayer::grpc(settings.retry("grpc")?)).layer(layer).service(channel);
        Ok(Self { http: BoxCloneSyncService::new(http), prices: PricesClient::new(channel), hosts, breaker })
    }

    pub(crate) fn breakers(&self) -> impl Iterator<Item = CircuitBreaker> {
        self.hosts.iter().chain([self.breaker.clone()])
    }

    pub(crate) fn into_router(self) -> Router {
        Router::new().route("/product/{sku}", get(product)).with_state(self)
    }

    /// Asks a service over HTTP.
    async fn get(&self, url: String) -> Result<String, BoxError> {
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse()?);
        let response = self.http.clone().oneshot(request).await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Asks the gRPC service.
    async fn price(&self, sku: u32) -> Result<String, BoxError> {
        Ok(self.prices.clone().get(sku.to_string()).await?.into_inner())
    }
}

/// A product needs its price and its stock; reviews are nice to have.
async fn product(State(gateway): State<Gateway>, Path(sku): Path<u32>) -> Result<String, Failure> {
    let (price, stock, reviews) = tokio::join!(
        gateway.price(sku),
        gateway.get(format!("http://stock.internal/{sku}")),
        gateway.get(format!("http://reviews.internal/{sku}")),
    );
    let reviews = reviews.unwrap_or_else(|_| "no reviews today".to_owned());
    Ok(format!("{}, {}, {reviews}", price?, stock?))
}

/// Why a request could not be answered.
struct Failure(BoxError);

impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    /// 503 and when to come back, where a circuit is open; 504 where time ran out; else 502.
    fn into_response(self) -> Response {
        web::response_of(&*self.0).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response())
    }
}
