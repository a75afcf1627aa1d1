//! Safety nets with numbers that do for most.

use std::time::Duration;

use tower_layer::{Identity, Stack};

use super::net::SafetyNet;
use crate::attempts::{Budget, RetryConfig, Timed};
use crate::backoff::exponential;
use crate::breaker::CircuitBreakerConfig;
use crate::circuit::{Cooldown, detector as detect};
use crate::classify::Errors;
#[cfg(feature = "grpc")]
use crate::classify::Grpc;
#[cfg(feature = "http")]
use crate::classify::{self, Http};
use crate::error::ConfigError;
#[cfg(feature = "http")]
use crate::middleware::circuit_breaker::ReleasesReadiness;
use crate::middleware::circuit_breaker::{Boxed, CircuitBreakerLayer, KeepsReadiness, One};
#[cfg(feature = "grpc")]
use crate::middleware::retry::ReplayGrpc;
#[cfg(feature = "http")]
use crate::middleware::retry::ReplayHttp;
use crate::middleware::retry::{Cloned, RetryLayer};

/// A retry with a circuit breaker inside.
type RetryOverBreaker<C, P, R = KeepsReadiness> =
    SafetyNet<Stack<CircuitBreakerLayer<C, Boxed, One, R>, Stack<RetryLayer<C, P, Timed>, Identity>>>;

/// What [`SafetyNet::http_client`] returns.
#[cfg(feature = "http")]
pub type HttpClient = RetryOverBreaker<Http, ReplayHttp, ReleasesReadiness>;

/// What [`SafetyNet::grpc_client`] returns.
#[cfg(feature = "grpc")]
pub type GrpcClient = RetryOverBreaker<Grpc, ReplayGrpc, ReleasesReadiness>;

/// What [`SafetyNet::database`] returns.
pub type Database = RetryOverBreaker<Errors, Cloned>;

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
const HTTP_CLIENT: Numbers = Numbers {
    retries: 2,
    backoff: (ms(100), ms(2_000)),
    attempt: ms(10_000),
    deadline: ms(30_000),
    window: ms(30_000),
    min_calls: 20,
    cooldown: (ms(5_000), ms(60_000)),
};

#[cfg(feature = "grpc")]
const GRPC_CLIENT: Numbers = Numbers {
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

    fn breaker(&self, name: String) -> Result<CircuitBreakerLayer, ConfigError> {
        let config = CircuitBreakerConfig::builder(name)
            .detector(detect::failure_rate(0.5).within(self.window).min_calls(self.min_calls))
            .cooldown(Cooldown::exponential(self.cooldown.0..=self.cooldown.1))
            // The attempt timeout drops a call that hangs; the breaker has to see a failure in that.
            .abandoned_after(self.attempt * 9 / 10)
            .build()?;
        Ok(CircuitBreakerLayer::new(config))
    }
}

impl SafetyNet<Identity> {
    /// For clients of HTTP services: retry, then circuit breaker, as [`RetryLayer::http`] and
    /// [`classify::http`](crate::classify::http) have it. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 2, after 0 to 100 ms and 0 to 200 ms; at most one for five requests, and 10 a second besides |
    /// | time | 10 s an attempt, 30 s in all |
    /// | the circuit opens | when half of at least 20 calls within 30 s failed; a call given up after 9 s counts |
    /// | cooldown | 5 s, up to 60 s if it keeps opening |
    /// | a rejected call | gives back what the client has [reserved](CircuitBreakerLayer::releases_readiness) for it |
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use fusebox::SafetyNet;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// let http = service_fn(|_: Request<_>| async { Ok::<_, std::io::Error>(Response::new("12.50")) });
    /// let client = SafetyNet::http_client("prices")?.layer(http);
    /// let response = client.oneshot(Request::get("/prices/7").body(Full::<Bytes>::default())?).await?;
    /// assert_eq!(response.into_body(), "12.50");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[cfg(feature = "http")]
    pub fn http_client(name: impl Into<String>) -> Result<HttpClient, ConfigError> {
        let retry = RetryLayer::http(HTTP_CLIENT.retry(Budget::ratio(0.2).reserve_per_second(10))?);
        let breaker = HTTP_CLIENT.breaker(name.into())?.classify(classify::http()).releases_readiness();
        Ok(Self::builder().retry(retry).breaker(breaker).build())
    }

    /// For clients of gRPC services, around a tonic `Channel`: retry, then circuit breaker, as [`RetryLayer::grpc`] and
    /// [`classify::grpc`](crate::classify::grpc) have it. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 3, after 0 to 100, 200 and 400 ms; throttled by 100 tokens, 0.1 back for each success |
    /// | time | 5 s an attempt, 15 s in all, each until the headers of the response |
    /// | the circuit opens | when half of at least 20 calls within 30 s failed; a call given up after 4.5 s counts |
    /// | cooldown | 5 s, up to 60 s if it keeps opening |
    /// | a rejected call | gives back what the client has [reserved](CircuitBreakerLayer::releases_readiness) for it |
    ///
    /// For unary calls and short streams: a stream that the client drops after 4.5 s was given up, as far as the breaker can
    /// see, and a probe has 30 s until its trailers.
    ///
    /// # Errors
    ///
    /// The name is empty.
    ///
    /// ```
    /// let net = fusebox::SafetyNet::grpc_client("payments")?;
    /// assert!(net.to_string().starts_with("retry (3 retries, "));
    /// assert!(net.to_string().ends_with(" -> circuit breaker `payments`"));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[cfg(feature = "grpc")]
    pub fn grpc_client(name: impl Into<String>) -> Result<GrpcClient, ConfigError> {
        let retry = RetryLayer::grpc(GRPC_CLIENT.retry(Budget::tokens(100, 0.1))?);
        let breaker = GRPC_CLIENT.breaker(name.into())?.classify(classify::grpc()).releases_readiness();
        Ok(Self::builder().retry(retry).breaker(breaker).build())
    }

    /// For calls to a database, made with [`call`](Self::call): retry, then circuit breaker; every error is a failure. For
    /// reads, and for transactions that are safe to repeat. `name` is the breaker's.
    ///
    /// | | |
    /// |---|---|
    /// | retries | 2, after 0 to 20 ms and 0 to 40 ms; at most one for ten calls, and 5 a second besides |
    /// | time | 5 s an attempt, 10 s in all |
    /// | the circuit opens | when half of at least 10 calls within 10 s failed; a call given up after 4.5 s counts |
    /// | cooldown | 2 s, up to 30 s if it keeps opening |
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
        Ok(Self::builder().retry(retry).breaker(DATABASE.breaker(name.into())?).build())
    }
}
