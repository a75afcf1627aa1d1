//! A client that sends requests at a steady rate.

use std::net::SocketAddr;
use std::time::Duration;

use fusebox::BoxError;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::interval;
use tower::{Service, ServiceExt};

use crate::{RATE, REQUESTS, Start};

/// hyper's client, which is a Tower service.
pub(crate) type HttpClient = Client<HttpConnector, String>;
pub(crate) type Answer = Response<Incoming>;

pub(crate) fn http() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A hyper client with or without layers around it.
pub(crate) trait Http:
    Service<Request<String>, Response = Answer, Error = BoxError, Future: Send> + Clone + Send + 'static
{
}

impl<S> Http for S where
    S: Service<Request<String>, Response = Answer, Error = BoxError, Future: Send> + Clone + Send + 'static
{
}

/// A call as its caller saw it.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) sent: Duration,
    pub(crate) ended: Duration,
    pub(crate) end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Served,
    Failed,
    /// By the breaker: the request was never sent.
    Rejected,
}

/// Sends requests without waiting for the answers to earlier ones, as a stream of visitors does.
pub(crate) async fn load(
    service: impl Http,
    to: SocketAddr,
    start: Start,
    tell: impl Fn(Call) + Clone + Send + 'static,
) {
    let mut beat = interval(Duration::from_secs(1) / RATE);
    for _ in 0..REQUESTS {
        beat.tick().await;
        let (service, tell) = (service.clone(), tell.clone());
        tokio::spawn(async move {
            let sent = start.elapsed();
            let end = call(service, to).await.unwrap_or_else(|error| match fusebox::rejection(&*error) {
                Some(_) => End::Rejected,
                None => End::Failed,
            });
            tell(Call { sent, ended: start.elapsed(), end });
        });
    }
}

async fn call(service: impl Http, to: SocketAddr) -> Result<End, BoxError> {
    let request = Request::get(format!("http://{to}/stock")).body(String::new())?;
    let answer = service.oneshot(request).await?;
    let end = if answer.status().is_success() { End::Served } else { End::Failed };
    // Read to its end, so that the connection can be used again.
    answer.into_body().collect().await?;
    Ok(end)
}
