//! An axum application with `/metrics`, and a shop in front of a dependency.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use fusebox::telemetry::Collector;
use http::StatusCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

use crate::cast::{Ask, Guarded, Seen};
use crate::server::Job;

/// A server on a port of its own, for as long as the test's runtime runs.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// Who has it alone keeps everything else from scraping.
    pub(crate) scraping: Arc<RwLock<()>>,
}

#[derive(Clone)]
struct Inside {
    registry: Arc<Registry>,
    scraping: Arc<RwLock<()>>,
    checkout: Guarded,
}

impl App {
    pub(crate) async fn serve(checkout: Guarded) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collector::process()));
        let scraping = Arc::new(RwLock::new(()));
        let inside = Inside { registry: Arc::new(registry), scraping: scraping.clone(), checkout };
        let app = Router::new()
            .route("/metrics", get(metrics))
            .route("/facade", get(facade))
            .route("/checkout/{how}", get(checkout_order))
            .with_state(inside);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { address, scraping }
    }

    /// What is scraped: through `prometheus-client`, and through the facade `metrics`.
    pub(crate) fn jobs(&self) -> [Job<'static>; 2] {
        [
            Job { name: "client", at: self.address, path: "/metrics" },
            Job { name: "facade", at: self.address, path: "/facade" },
        ]
    }

    pub(crate) async fn body(&self, path: &str) -> String {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.text().await.expect("text")
    }
}

/// As the documentation of `prometheus-client` has it.
async fn metrics(State(inside): State<Inside>) -> impl IntoResponse {
    let _scraping = inside.scraping.read().await;
    let mut text = String::new();
    encode(&mut text, &inside.registry).expect("a string takes everything");
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// The recorder is one of the process's, as in an application.
async fn facade(State(inside): State<Inside>) -> impl IntoResponse {
    static RECORDER: OnceLock<PrometheusRecorder> = OnceLock::new();

    let _scraping = inside.scraping.read().await;
    let recorder = RECORDER.get_or_init(|| PrometheusBuilder::new().build_recorder());
    ::metrics::with_local_recorder(recorder, || Collector::process().publish());
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], recorder.handle().render())
}

async fn checkout_order(State(inside): State<Inside>, Path(how): Path<String>) -> StatusCode {
    let ask = match &*how {
        "paid" => Ask::Succeed,
        "unknown" => Ask::Refuse,
        _ => Ask::Fail,
    };
    match inside.checkout.ask(ask).await {
        Seen::Success => StatusCode::OK,
        Seen::Failure => StatusCode::BAD_GATEWAY,
        Seen::Refusal => StatusCode::NOT_FOUND,
        Seen::Rejected => StatusCode::SERVICE_UNAVAILABLE,
    }
}
