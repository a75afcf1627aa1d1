//! Safety nets with numbers that do for most.

use std::time::Duration;

use tower_layer::Identity;

use super::client::RetryOverBreaker;
use super::net::SafetyNet;
use crate::attempts::{Budget, RetryConfig, Timed};
use crate::backoff::exponential;
use crate::breaker::CircuitBreakerConfig;
use crate::circuit::{Cooldown, detector as detect};
#[cfg(feature = "grpc")]
use crate::classify::Grpc;
#[cfg(feature = "http")]
use crate::classify::Http;
use crate::classify::{AllErrors, Errors};
use crate::error::ConfigError;
use crate::middleware::circuit_breaker::CircuitBreakerLayer;
#[cfg(feature = "http")]
use crate::middleware::circuit_breaker::ReleasesReadiness;
#[cfg(feature = "reqwest")]
use crate::middleware::retry::CloneReqwest;
#[cfg(feature = "grpc")]
use crate::middleware::retry::ReplayGrpc;
#[cfg(feature = "http")]
use crate::middleware::retry::ReplayHttp;
use crate::middleware::retry::{Cloned, RetryLayer};

/// What [`SafetyNet::http`] returns; `X` is what is [excluded](crate::classify::Excluded).
#[cfg(feature = "http")]
pub type HttpClient<X = AllErrors> = SafetyNet<RetryOverBreaker<Http<X>, ReplayHttp, ReleasesReadiness>>;

/// What [`SafetyNet::grpc`] returns; `X` is what is [excluded](crate::classify::Excluded).
#[cfg(feature = "grpc")]
pub type GrpcClient<X = AllErrors> = SafetyNet<RetryOverBreaker<Grpc<X>, ReplayGrpc, ReleasesReadiness>>;

/// What [`SafetyNet::reqwest`] returns; `X` is what is [excluded](crate::classify::Excluded).
#[cfg(feature = "reqwest")]
pub type ReqwestClient<X = AllErrors> = SafetyNet<RetryOverBreaker<Http<X>, CloneReqwest, ReleasesReadiness>>;

/// What [`SafetyNet::database`] returns; `X` is what is [excluded](crate::classify::Excluded).
pub type Database<X = AllErrors> = SafetyNet<RetryOverBreaker<Errors<X>, Cloned>>;

/// The numbers of a preset.
struct Numbers {
    retries: u32,
    backoff: (Duration, Duration),
    attempt: Duration,
    deadline: Duration,
    window: Duration,
    min_calls: u32,
    cooldown: (Duration, Duration),
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[cfg(feature = "http")]
const HTTP: Numbers = Numbers {
    retries: 2,
    backoff: (ms(100), ms(2_000)),
    attempt: ms(10_000),
    deadline: ms(30_000),
    window: ms(30_000),
    min_calls: 20,
    cooldown: (ms(5_000), ms(60_000)),
};

#[cfg(feature = "grpc")]
const GRPC: Numbers = Numbers {
    retries: 3,
    backoff: (ms(100), ms(1_000)),
    attempt: ms(5_000),
    deadline: ms(15_000),
    window: ms(30_000),
    min_calls: 20,
    cooldown: (ms(5_000), ms(60_000)),
};

const DATABASE: Numbers = Numbers {
    retries: 2,
    backoff: (ms(20), ms(500)),
    attempt: ms(5_000),
    deadline: ms(10_000),
    window: ms(10_000),
    min_calls: 10,
    cooldown: (ms(2_000), ms(30_000)),
};

impl Numbers {
    fn retry(&self, budget: Budget) -> Result<RetryConfig<Timed>, ConfigError> {
        RetryConfig::builder()
            .max_retries(self.retries)
            .backoff(exponential(self.backoff.0..=self.backoff.1))
            .budget(budget)
            .attempt_timeout(self.attempt)
            .deadline(self.deadline)
            .build()
    }

    fn breaker(&self, name: String) -> Result<CircuitBreakerConfig, ConfigError> {
        CircuitBreakerConfig::builder(name)
            .detector(detect::failure_rate(0.5).within(self.window).min_calls(self.min_calls))
            .cooldown(Cooldown::exponential(self.cooldown.0..=self.cooldown.1))
            // The attempt timeout drops a call that hangs; the breaker has to see a failure in that.
            .abandoned_after(self.attempt * 9 / 10)
            .build()
    }
}

impl SafetyNet<Identity> {
    /// Makes a net for clients of HTTP services: retry, then circuit breaker. They are as [`RetryLayer::http`] and
    /// [`CircuitBreakerLayer::http`] have it. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 2, after 0 to 100 ms and 0 to 200 ms; at most one for five requests, and 10 a second besides |
    /// | time | 10 s an attempt, until the head of the response; 30 s in all, until the end of its body |
    /// | the circuit opens | when half of at least 20 calls within 30 s failed; a call given up after 9 s counts |
    /// | cooldown | 5 s, up to 60 s if it keeps opening |
    /// | a rejected call | gives back what the client has [reserved](CircuitBreakerLayer::releases_readiness) for it |
    ///
    /// For responses that end: one that takes longer (a long download, server-sent events) is cut off after the 30 s. Errors
    /// of the caller's own are left out by `exclude`. Other numbers, a store or a listener are for the
    /// [builder](Self::builder): `.retry(RetryLayer::http(..)).breaker(CircuitBreakerLayer::http(..))`.
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use fusebox::SafetyNet;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// let http = service_fn(|_: Request<_>| async {
    ///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("12.50")))
    /// });
    /// let client = SafetyNet::http("prices")?.layer(http);
    /// let response = client.oneshot(Request::get("/prices/7").body(Full::<Bytes>::default())?).await?;
    /// assert_eq!(response.into_body().collect().await?.to_bytes(), "12.50");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[cfg(feature = "http")]
    pub fn http(name: impl Into<String>) -> Result<HttpClient, ConfigError> {
        let retry = RetryLayer::http(HTTP.retry(Budget::ratio(0.2).reserve_per_second(10))?);
        Ok(SafetyNet::retry_over_breaker(retry, CircuitBreakerLayer::http(HTTP.breaker(name.into())?)))
    }

    /// Makes a net for a [`reqwest::Client`]: retry, then circuit breaker. It has the numbers of [`http`](Self::http);
    /// the layers are as [`RetryLayer::reqwest`] and [`CircuitBreakerLayer::reqwest`] have it. `name` is the breaker's.
    ///
    /// The client needs no timeout of its own: an attempt without an answer is ended after 10 s, and the breaker counts
    /// that as a failure; the body of the answer is ended 30 s after the call began. Build it with
    /// [`retry(reqwest::retry::never())`](reqwest::ClientBuilder::retry), so that it does not send requests again by
    /// itself.
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// use fusebox::SafetyNet;
    /// use tower::{Layer, ServiceExt};
    ///
    /// # async fn get() -> Result<(), fusebox::BoxError> {
    /// let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
    /// let client = SafetyNet::reqwest("prices")?.layer(client);
    /// let request = reqwest::Request::new(reqwest::Method::GET, "https://api.example/prices".parse()?);
    /// let response = client.oneshot(request).await?;
    /// assert!(response.status().is_success());
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "reqwest")]
    pub fn reqwest(name: impl Into<String>) -> Result<ReqwestClient, ConfigError> {
        let retry = RetryLayer::reqwest(HTTP.retry(Budget::ratio(0.2).reserve_per_second(10))?);
        Ok(SafetyNet::retry_over_breaker(retry, CircuitBreakerLayer::reqwest(HTTP.breaker(name.into())?)))
    }

    /// Makes a net for clients of gRPC services: retry, then circuit breaker. It stands around a tonic `Channel`; the
    /// layers are as [`RetryLayer::grpc`] and [`CircuitBreakerLayer::grpc`] have it. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 3, after 0 to 100, 200 and 400 ms; throttled by 100 tokens, 0.1 back for each success |
    /// | time | 5 s an attempt, until the headers of the response; 15 s in all, until its end |
    /// | the circuit opens | when half of at least 20 calls within 30 s failed; a call given up after 4.5 s counts |
    /// | cooldown | 5 s, up to 60 s if it keeps opening |
    /// | a rejected call | gives back what the client has [reserved](CircuitBreakerLayer::releases_readiness) for it |
    ///
    /// For unary calls and streams that go on, of less than 15 s: one that takes longer ends in DEADLINE_EXCEEDED. One that the
    /// client drops after 4.5 s without a message has failed, as far as the breaker can see. Streams that last, or are
    /// silent for longer, belong to a breaker of their own, and to a retry without a deadline.
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// let net = fusebox::SafetyNet::grpc("payments")?;
    /// assert!(net.to_string().starts_with("retry (3 retries, "));
    /// assert!(net.to_string().ends_with(" -> circuit breaker `payments`"));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[cfg(feature = "grpc")]
    pub fn grpc(name: impl Into<String>) -> Result<GrpcClient, ConfigError> {
        let retry = RetryLayer::grpc(GRPC.retry(Budget::tokens(100, 0.1))?);
        Ok(SafetyNet::retry_over_breaker(retry, CircuitBreakerLayer::grpc(GRPC.breaker(name.into())?)))
    }

    /// For calls to a database, made with [`call`](Self::call): retry, then circuit breaker. For reads, and for transactions
    /// that are safe to repeat. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 2, after 0 to 20 ms and 0 to 40 ms; at most one for ten calls, and 5 a second besides |
    /// | time | 5 s an attempt, 10 s in all |
    /// | the circuit opens | when half of at least 10 calls within 10 s failed; a call given up after 4.5 s counts |
    /// | cooldown | 2 s, up to 30 s if it keeps opening |
    ///
    /// Errors are judged by [`classify::errors`](crate::classify::errors()): with the features `postgres` and `redis`,
    /// those of sqlx and redis-rs are known, also as the source of an error of your own. What the database says of a
    /// query (a constraint, a syntax error, a row that is not there) is its answer: it opens no circuit and is not
    /// tried again. `docs/outcomes.md` has the tables. Of any other client, errors of the caller's own are left out by
    /// [`exclude`](Self::exclude).
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// async fn count_orders() -> Result<u32, std::io::Error> {
    ///     Ok(12) // as if from a database
    /// }
    /// let database = fusebox::SafetyNet::database("orders")?;
    /// assert_eq!(database.call(count_orders).await?, 12);
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    pub fn database(name: impl Into<String>) -> Result<Database, ConfigError> {
        let retry = RetryLayer::new(DATABASE.retry(Budget::ratio(0.1).reserve_per_second(5))?);
        Ok(SafetyNet::retry_over_breaker(retry, CircuitBreakerLayer::new(DATABASE.breaker(name.into())?)))
    }

    /// As [`http`](Self::http), by its name before 0.2.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "http")]
    #[deprecated(since = "0.2.0", note = "it is called `SafetyNet::http`")]
    pub fn http_client(name: impl Into<String>) -> Result<HttpClient, ConfigError> {
        Self::http(name)
    }

    /// As [`grpc`](Self::grpc), by its name before 0.2.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "grpc")]
    #[deprecated(since = "0.2.0", note = "it is called `SafetyNet::grpc`")]
    pub fn grpc_client(name: impl Into<String>) -> Result<GrpcClient, ConfigError> {
        Self::grpc(name)
    }
}
