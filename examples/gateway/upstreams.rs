//! The services behind the gateway, on this machine, which the example breaks and mends.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use fusebox::BoxError;
use http::StatusCode;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Status};

use crate::prices::{PriceStream, Prices, PricesServer};

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    Well,
    /// It answers that it cannot.
    Ill,
    /// It takes requests and never answers.
    Hanging,
}

/// A service with its address, and how often it was asked.
#[derive(Clone)]
pub(crate) struct Upstream {
    name: &'static str,
    health: Arc<AtomicU8>,
    asked: Arc<AtomicU32>,
}

impl Upstream {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, health: Arc::default(), asked: Arc::default() }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_now(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
    }

    /// Returns how often it was asked since its health was last set.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Takes note of a request; returns whether the service can answer it.
    async fn answers(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.health.load(Ordering::Relaxed) {
            health if health == Health::Hanging as u8 => pending().await,
            health => health == Health::Well as u8,
        }
    }

    /// Starts an HTTP service that answers `GET /{sku}` with what `answer` makes of it.
    pub(crate) async fn serve_http(&self, answer: fn(u32) -> String) -> Result<SocketAddr, BoxError> {
        let handler = async move |State(upstream): State<Self>, Path(sku): Path<u32>| -> Response {
            if upstream.answers().await {
                answer(sku).into_response()
            } else {
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        };
        let app = Router::new().route("/{sku}", get(handler)).with_state(self.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, app).await });
        Ok(address)
    }

    /// Starts a gRPC service.
    pub(crate) fn serve_grpc(&self) -> Result<SocketAddr, BoxError> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = incoming.local_addr()?;
        let service = PricesServer::new(self.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(address)
    }
}

impl Prices for Upstream {
    async fn get(&self, sku: Request<String>) -> Result<tonic::Response<String>, Status> {
        let sku: u32 = sku.get_ref().parse().map_err(|_| Status::invalid_argument("a SKU is a number"))?;
        if self.answers().await {
            Ok(tonic::Response::new(format!("{} cents", 100 + sku)))
        } else {
            Err(Status::unavailable("the price list is being printed"))
        }
    }

    async fn watch(&self, _sku: Request<String>) -> Result<tonic::Response<PriceStream>, Status> {
        Err(Status::unimplemented("ask for one price at a time"))
    }
}
