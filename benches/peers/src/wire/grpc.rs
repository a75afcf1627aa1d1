//! tonic at both ends, one connection.

use super::load::{Client, Load, load};
use super::prices::{PriceStream, Prices, PricesClient, PricesServer};
use bytes::Bytes;
use fusebox::{CircuitBreakerConfig, classify};
use fusebox::{CircuitBreakerLayer, Registry, SafetyNet, grpc, key};
use http_body::Body as HttpBody;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tower::BoxError;
use tower_layer::Layer;

struct Shop;

impl Prices for Shop {
    async fn get(&self, _sku: Request<String>) -> Result<Response<String>, Status> {
        Ok(Response::new("12.50".into()))
    }

    async fn watch(&self, _sku: Request<String>) -> Result<Response<PriceStream>, Status> {
        Err(Status::unimplemented("prices stand still"))
    }
}

#[derive(Clone)]
struct Caller<S>(PricesClient<S>);

impl<S> Client for Caller<S>
where
    S: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<BoxError> + Send,
{
    async fn call(&mut self) -> bool {
        self.0.get("7").await.is_ok()
    }
}

/// Where the server listens, and what for.
async fn incoming() -> (TcpIncoming, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (TcpIncoming::from(listener).with_nodelay(Some(true)), address)
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub async fn plain() -> Load {
    let (incoming, address) = incoming().await;
    let server = Server::builder().add_service(PricesServer::new(Shop));
    tokio::spawn(server.serve_with_incoming(incoming));
    load(Caller(PricesClient::new(channel(address).await)))
}

pub async fn layered() -> Load {
    let (incoming, address) = incoming().await;
    let breakers = Registry::new(|method| CircuitBreakerConfig::builder(method).build());
    let guard = CircuitBreakerLayer::keyed(breakers, key::grpc_method())
        .classify(classify::grpc())
        .respond_with(grpc::unavailable);
    let server = Server::builder().layer(guard).add_service(PricesServer::new(Shop));
    tokio::spawn(server.serve_with_incoming(incoming));
    let net = SafetyNet::grpc("prices").unwrap();
    load(Caller(PricesClient::new(net.layer(channel(address).await))))
}
