//! Callers of the gateway, and what they see.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fusebox::BoxError;
use http::header::RETRY_AFTER;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::upstreams::Upstream;

const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Callers {
    client: reqwest::Client,
    gateway: SocketAddr,
}

/// What a caller got.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    text: String,
}

impl Answer {
    pub(crate) fn is(&self, status: u16, text: &str) -> bool {
        self.status == status && self.text == text
    }

    pub(crate) fn says_when_to_come_back(&self) -> bool {
        self.status == 503 && self.retry_after.is_some()
    }
}

impl Callers {
    /// Starts the gateway, with callers in front of it.
    pub(crate) async fn of(gateway: Gateway) -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, gateway.into_router()).await });
        Ok(Self { client: reqwest::Client::new(), gateway: address })
    }

    pub(crate) async fn get(&self) -> Result<Answer, BoxError> {
        let response = self.client.get(format!("http://{}/product/7", self.gateway)).send().await?;
        let retry_after =
            response.headers().get(RETRY_AFTER).map(|wait| wait.to_str().map(str::to_owned)).transpose()?;
        Ok(Answer { status: response.status().as_u16(), retry_after, text: response.text().await? })
    }

    /// Sends so many requests, one after the other, with a pause after each.
    pub(crate) async fn send(&self, requests: usize) -> Result<Vec<Answer>, BoxError> {
        let mut answers = Vec::with_capacity(requests);
        for _ in 0..requests {
            answers.push(self.get().await?);
            sleep(PAUSE).await;
        }
        Ok(answers)
    }
}

/// Prints how many callers saw what, and how often services were asked meanwhile; returns the latter for the last service.
pub(crate) fn show(answers: &[Answer], asked: &[&Upstream]) -> u32 {
    let mut seen = BTreeMap::<_, usize>::new();
    for Answer { status, retry_after, text } in answers {
        let hint = retry_after.as_ref().map(|wait| format!("retry-after: {wait}")).unwrap_or_default();
        *seen.entry((*status, format!("{text}{hint}"))).or_default() += 1;
    }
    for ((status, text), times) in seen {
        println!("{}", format!("  {times:>3} x {status}  {text}").trim_end());
    }
    let mut last = 0;
    for upstream in asked {
        last = upstream.asked();
        println!("        asked: {last} x {}", upstream.name());
    }
    last
}
