//! axum behind hyper's client, HTTP/1.

use super::load::{Client, Load, load};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use fusebox::retry::ReplayBody;
use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Registry, SafetyNet, classify, key};
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client as Hyper, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

type Sent = Empty<Bytes>;

#[derive(Clone)]
struct Caller<S> {
    service: S,
    uri: Uri,
}

impl<S, B> Client for Caller<S>
where
    S: Service<Request<Sent>, Response = Response<B>, Error: Send, Future: Send> + Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Send> + Send,
{
    async fn call(&mut self) -> bool {
        let mut request = Request::new(Sent::new());
        *request.uri_mut() = self.uri.clone();
        let Ok(service) = self.service.ready().await else { return false };
        let Ok(response) = service.call(request).await else { return false };
        response.status() == StatusCode::OK && response.into_body().collect().await.is_ok()
    }
}

async fn serve(app: Router) -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/prices/7").parse().unwrap()
}

fn app() -> Router {
    Router::new().route("/prices/{sku}", get(|| async { "12.50" }))
}

fn hyper<B: Body<Data: Send> + Send>() -> Hyper<HttpConnector, B> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Hyper::builder(TokioExecutor::new()).build(connector)
}

pub async fn plain() -> Load {
    load(Caller { service: hyper::<Sent>(), uri: serve(app()).await })
}

pub async fn layered() -> Load {
    let breakers = Registry::new(|route| CircuitBreakerConfig::builder(route).build());
    let guard = CircuitBreakerLayer::keyed_by(breakers, key::matched_path())
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable);
    let service = SafetyNet::http("prices").unwrap().layer(hyper::<ReplayBody<Sent>>());
    load(Caller { service, uri: serve(app().route_layer(guard)).await })
}
