//! An HTTP server whose dependency falls ill and recovers by the clock.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::Start;

/// How many requests the dependency works on at once; the others wait in line.
pub(crate) const WORKERS: usize = 10;
/// How long it takes for one when it is well: together 200 requests a second, twice the load.
const WELL: Duration = Duration::from_millis(50);
/// How long it takes to fail when it is ill: 33 a second, a third of the load.
pub(crate) const ILL: Duration = Duration::from_millis(300);

/// A server on a port of this machine.
pub(crate) struct Server {
    address: SocketAddr,
    reached_while_sick: Arc<AtomicU32>,
}

impl Server {
    pub(crate) async fn start(start: Start) -> io::Result<Self> {
        let reached_while_sick = Arc::new(AtomicU32::new(0));
        let dependency = Dependency {
            start,
            workers: Arc::new(Semaphore::new(WORKERS)),
            reached_while_sick: reached_while_sick.clone(),
        };
        let app = Router::new().route("/stock", get(stock)).with_state(dependency);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { address, reached_while_sick })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn reached_while_sick(&self) -> u32 {
        self.reached_while_sick.load(Ordering::Relaxed)
    }
}

async fn stock(State(dependency): State<Dependency>) -> Result<&'static str, StatusCode> {
    if dependency.start.is_sick() {
        dependency.reached_while_sick.fetch_add(1, Ordering::Relaxed);
    }
    // A task of its own: like most servers, this one finishes what it has begun, whether or not the caller still waits.
    tokio::spawn(dependency.work()).await.unwrap_or(Err(StatusCode::INTERNAL_SERVER_ERROR))
}

#[derive(Clone)]
struct Dependency {
    start: Start,
    workers: Arc<Semaphore>,
    reached_while_sick: Arc<AtomicU32>,
}

impl Dependency {
    async fn work(self) -> Result<&'static str, StatusCode> {
        let _worker = self.workers.acquire().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        if self.start.is_sick() {
            sleep(ILL).await;
            return Err(StatusCode::INTERNAL_SERVER_ERROR);
        }
        sleep(WELL).await;
        Ok("12 in stock")
    }
}
