//! How it works. States, generations, probes, calls that never end, retries that do, and what stands around them.
//!
//! Which of it to take, and every trap on the way, is told in `docs/choosing.md` of the repository.
//!
//! # Three states
//!
//! **Closed**: every call goes through, and how it ends is shown to the [`Detector`](crate::detect::Detector).
//! **Open**: every call is rejected at once, with the time left until it is worth another try. **Half-open**: a few
//! calls go through to find out whether the dependency is back.
//!
//! ```
//! use std::time::Duration;
//! use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, ManualClock, State};
//!
//! let clock = ManualClock::new();
//! let config = CircuitBreakerConfig::builder("payments")
//!     .detector(detect::failures(3).of_last(10))
//!     .cooldown(Duration::from_secs(30))
//!     .clock(clock.clone())
//!     .build()?;
//! let breaker = CircuitBreaker::new(config);
//!
//! for _ in 0..3 {
//!     breaker.acquire()?.failure();
//! }
//! assert_eq!(breaker.state(), State::Open);
//! assert_eq!(breaker.acquire().unwrap_err().retry_after(), Some(Duration::from_secs(30)));
//!
//! clock.advance(Duration::from_secs(30));
//! assert_eq!(breaker.state(), State::Open, "time alone changes nothing");
//! let probe = breaker.acquire()?;
//! assert_eq!(breaker.state(), State::HalfOpen);
//! probe.success();
//! assert_eq!(breaker.state(), State::Closed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The detector is asked after failures and slow calls only. A success can make a rate fall or a window fill up, but what
//! follows from that waits for the next failure: no circuit ever opens because a call succeeded.
//!
//! # Generations: why a late answer changes nothing
//!
//! Calls take time, and the circuit may change while they are on their way. Think of a request that was sent while all was
//! well, hangs for a minute, and then succeeds, by luck, on a connection that was made before the outage. Meanwhile the
//! circuit opened, cooled down, and is half-open. If that success counted, it would close the circuit although no probe
//! has shown anything; and a late *failure* would reopen a circuit that has just recovered. Most breakers get this wrong.
//!
//! Here every transition begins a new [`Generation`](crate::circuit_breaker::Generation), and each
//! [`Permit`](crate::Permit) remembers the one that admitted it. An outcome of another generation is history: it
//! decides nothing.
//!
//! ```
//! # use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
//! # use std::time::Duration;
//! # let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("p").cooldown(Duration::ZERO).build()?);
//! let slow = breaker.acquire()?; // admitted while closed
//! breaker.trip()?;
//! let probe = breaker.acquire()?; // half-open: this one is the probe
//! slow.success();
//! assert_eq!(breaker.state(), State::HalfOpen, "the late success decides nothing");
//! probe.success();
//! assert_eq!(breaker.state(), State::Closed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Probes: places that always come back
//!
//! [`Probes`](crate::Probes) says how many calls go out while half-open and what they must show: `Probes::one()`, the
//! default; `Probes::consecutive(3)`; `Probes::ratio(3, 5)`; each with `.concurrent(n)` on their way at a time. All other
//! calls are rejected meanwhile.
//!
//! A probe holds a place, and a place that is never given back would leave the circuit half-open for ever. So a place is a
//! lease:
//!
//! | the probe | counts as | its place |
//! |---|---|---|
//! | succeeds | success | is free |
//! | fails or panics | failure | is free |
//! | succeeds and is slow | failure where slow calls opened the circuit, or the probes by themselves meet the rule of slow calls; else success | is free |
//! | is ignored by the classifier, or dropped | nothing; three dropped in a row reopen | is free: the next call is a probe |
//! | outlives its deadline (default 30 s) | failure; success where its response has begun and is on its way | is free, and its answer no longer counts |
//!
//! The deadline is seen by the next call that asks; nothing runs in the background. Set it above the dependency's honest
//! worst case: `.probes(Probes::one().deadline(..))`. If probes go out for ten cooldowns (at least a minute, and twice the
//! deadline) and not one says anything, the circuit reopens. So half-open always ends. It ends soon where the dependency
//! hangs and callers give up: after three probes in a row that were dropped without an answer
//! ([`ProbesGivenUp`](crate::circuit_breaker::TransitionReason::ProbesGivenUp)).
//!
//! # `abandoned_after`: the dependency that hangs
//!
//! The worst dependencies do not fail, they just never answer. Somewhere further out a timeout gives up and drops the call;
//! the breaker sees a dropped future and no result. That may mean two things: the dependency hangs, or a user has closed the
//! tab. A drop is therefore evidence of nothing, by default; only three probes in a row that are dropped are.
//!
//! [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) tells the two apart by time: a call that is
//! dropped after at least that long is a failure. Set it a little below your timeout:
//!
//! ```
//! use std::time::Duration;
//! use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use tower::ServiceBuilder;
//!
//! # let client = tower::service_fn(|_: ()| async { Ok::<_, fusebox::BoxError>(()) });
//! let config = CircuitBreakerConfig::builder("search").abandoned_after(Duration::from_millis(1900)).build()?;
//! let service = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(2))
//!     .layer(CircuitBreakerLayer::new(config))
//!     .service(client);
//! # let _ = service;
//! # Ok::<(), fusebox::ConfigError>(())
//! ```
//!
//! Without it, a hung dependency behind an outer timeout never opens the circuit.
//!
//! A response that is watched to its end, as of gRPC, is a stream that may go on for hours. Its age says nothing: after the
//! head what counts is silence, from the first poll of the body that finds nothing until the next frame. A reader who leaves
//! a stream that goes on is no failure of the dependency; one who leaves after `abandoned_after` of silence is.
//!
//! ## A call that nothing ends
//!
//! A breaker has no timer of its own. A call that hangs, and for which there is no timeout anywhere, is neither over
//! nor given up: the breaker never hears of it, the circuit stays closed, and each further call joins those that hang.
//! So give each dependency a limit of time. A timeout *inside* the breaker is an error like any other, and needs no
//! `abandoned_after`:
//!
//! ```
//! use std::time::Duration;
//! use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, State, detect};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let config = CircuitBreakerConfig::builder("search").detector(detect::consecutive_failures(1)).build()?;
//! let layer = CircuitBreakerLayer::new(config);
//! let breaker = layer.breaker().clone();
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .timeout(Duration::from_millis(5)) // further in: the breaker sees its error
//!     .service(service_fn(|_: &str| std::future::pending::<Result<u32, BoxError>>()));
//!
//! assert!(service.oneshot("socks").await.is_err());
//! assert_eq!(breaker.state(), State::Open);
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! A retry's limit for each attempt is *outside* of the breaker, and needs `abandoned_after` a little below it. The presets
//! of [`SafetyNet`](crate::SafetyNet) have both; by hand it is
//!
//! ```
//! use std::time::Duration;
//! use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer, State, detect};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let retry = RetryConfig::builder().max_retries(0).attempt_timeout(Duration::from_millis(20)).build()?;
//! let config = CircuitBreakerConfig::builder("search")
//!     .detector(detect::consecutive_failures(1))
//!     .abandoned_after(Duration::from_millis(15))
//!     .build()?;
//! let layer = CircuitBreakerLayer::new(config);
//! let breaker = layer.breaker().clone();
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(retry))
//!     .layer(layer)
//!     .service(service_fn(|_: &str| std::future::pending::<Result<u32, BoxError>>()));
//!
//! assert!(service.oneshot("socks").await.is_err());
//! assert_eq!(breaker.state(), State::Open);
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! For plain futures, put the timeout into the call, and make an error of the call of its `Elapsed`.
//!
//! # Where to put the layer
//!
//! Outside of what belongs to one try (a timeout per attempt, the connection), inside of what belongs to the caller
//! (retries, load shedding). The breaker lives in the layer, not in the service it makes: all services made by one layer,
//! and all clones of it, share one breaker. Making a new layer per request makes a new breaker per request, which never
//! sees enough to open.
//!
//! # Retries: when they help, and when they stop
//!
//! A retry mends failures that are short and rare. In an outage it does the opposite: three retries make four times the
//! load on a dependency that is already failing. So a retry needs reasons to stop, and has these, in the order in which
//! they are asked ([`StopReason`](crate::retry::StopReason) names the one that was it):
//!
//! | it stops when | set by |
//! |---|---|
//! | a circuit breaker inside rejects the attempt | [`when_rejected`](crate::RetryConfigBuilder::when_rejected) |
//! | another attempt would not help (a client's mistake, an untrusted certificate, most gRPC codes) | [`Classify`](crate::Classify) |
//! | there were enough | [`max_retries`](crate::RetryConfigBuilder::max_retries), or the end of the backoff |
//! | the dependency asks for a wait longer than allowed | [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap) |
//! | the wait would outlast the deadline (which is over the body of an HTTP response, too) | [`deadline`](crate::RetryConfigBuilder::deadline), or the caller: `grpc-timeout`, reqwest's `timeout`, `retry::Deadline` |
//! | the request cannot be sent again: not idempotent (unless it was certainly not processed), not cloneable, body too long | [`Replay`](crate::retry::Replay) |
//! | all callers together retry too much | [`Budget`](crate::Budget) |
//!
//! Whatever the reason, the caller gets the last error as it was. To know more, listen:
//!
//! ```
//! use std::sync::mpsc;
//! use std::time::Duration;
//! use fusebox::{backoff, CircuitBreaker, CircuitBreakerConfig, RetryConfig, RetryLayer, detect};
//!
//! let (tell, told) = mpsc::channel();
//! let config = RetryConfig::builder()
//!     .backoff(backoff::fixed(Duration::from_millis(1)))
//!     .on_event(move |event| tell.send(event.to_string()).unwrap())
//!     .build()?;
//! let retry = RetryLayer::new(config);
//! let breaker = CircuitBreaker::new(
//!     CircuitBreakerConfig::builder("disk").detector(detect::consecutive_failures(2)).build()?,
//! );
//! let result = retry.call_blocking(|| -> Result<Vec<u8>, fusebox::BoxError> {
//!     Ok(breaker.call_blocking(|| std::fs::read("no such file"))?)
//! });
//! assert!(fusebox::rejection(&*result.unwrap_err()).is_some());
//! assert_eq!(
//!     told.try_iter().collect::<Vec<_>>(),
//!     [
//!         "attempt 1 failed, next in 1ms",
//!         "attempt 2 failed, next in 1ms", // and opened the circuit
//!         "attempt 3 failed, given up: rejected by a circuit breaker",
//!     ],
//! );
//! # Ok::<(), fusebox::ConfigError>(())
//! ```
//!
//! A wait that the dependency asks for is a least one (`Retry-After`): the backoff counts where it is longer, and
//! chance adds up to a tenth. gRPC's pushback is taken as it is, up to
//! [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap). All other waits are moved by chance, differently
//! for every request, so that callers who failed together do not come back together.
//!
//! A caller's own deadline is over all attempts, too: a gRPC call's `grpc-timeout` and the timeout of a request of reqwest
//! are rewritten for each further attempt, to what is left; for HTTP there is the extension `retry::Deadline`. The
//! configured deadline also covers the time that the service needs to get ready.
//!
//! Where retries are nested (a retry in a library, another in the service, a third in its caller), attempts multiply. Retry
//! in one place, next to the dependency, and let the others pass errors on.
//!
//! # Registries: a breaker for each key
//!
//! What fails by itself has a breaker of its own: each host that a client calls, each tenant's database. A
//! [`Registry`](crate::Registry) makes breakers from one template when their name is first asked for, and
//! [`keyed`](crate::CircuitBreakerLayer::keyed) asks by what a function finds in the request; ready-made keys are in
//! [`key`](crate::key).
//!
//! ```
//! use fusebox::{detect, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
//! use tower::{service_fn, Layer, ServiceExt};
//!
//! # futures::executor::block_on(async {
//! let tenants = Registry::new(|name| {
//!     CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(1)).build()
//! });
//! let layer = CircuitBreakerLayer::keyed(tenants.clone(), |tenant: &&'static str| Some(*tenant));
//! let databases = layer.layer(service_fn(|tenant: &'static str| async move {
//!     if tenant == "ana" { Err("down") } else { Ok("done") }
//! }));
//! assert!(databases.clone().oneshot("ana").await.is_err()); // opens ana's circuit
//! assert!(databases.clone().oneshot("ana").await.is_err_and(|error| fusebox::rejection(&*error).is_some()));
//! assert_eq!(databases.oneshot("ben").await?, "done");
//! assert!(tenants.get("ana").is_some_and(|breaker| breaker.is_open()));
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! Names made from requests are as many as strangers like, so a registry is bounded. Beyond [`max`](crate::Registry::max) it
//! forgets breakers that were idle, never one that protects; where nothing can be forgotten, further names share 64 overflow
//! breakers, by hash. It fails no call. Two counters say that something is wrong:
//! [`overflowed`](crate::Registry::overflowed), names that got such a breaker, and
//! [`unguarded`](crate::Registry::unguarded), requests without a key, which
//! [`fallback_key`](crate::CircuitBreakerLayer::fallback_key) guards.
//!
//! # Fallbacks: another answer
//!
//! Two things may be meant. An answer to what was *rejected*, by a function that gets the request:
//! [`CircuitBreakerLayer::fallback`](crate::CircuitBreakerLayer::fallback). And an answer to all that *failed*, rejections
//! included: [`FallbackLayer`](crate::FallbackLayer), which belongs outside of breaker and retry. Inside of a breaker it
//! would hide every failure from it.
//!
//! ```
//! use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, FallbackLayer, Rejected};
//! use tower::{service_fn, ServiceBuilder, ServiceExt};
//!
//! # futures::executor::block_on(async {
//! let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices"));
//! let handle = breaker.breaker().clone();
//! let down = service_fn(|_sku: u32| async { Err::<u32, BoxError>("down".into()) });
//!
//! let strict = breaker.clone().fallback(|sku: u32, _: Rejected| async move { Ok::<_, BoxError>(100 + sku) });
//! let strict = ServiceBuilder::new().layer(strict).service(down);
//! let lenient = FallbackLayer::new(|_: BoxError| async { Ok(100) });
//! let lenient = ServiceBuilder::new().layer(lenient).layer(breaker).service(down);
//!
//! assert!(strict.clone().oneshot(7).await.is_err(), "a failure is the caller's");
//! assert_eq!(lenient.clone().oneshot(7).await?, 100);
//! handle.trip()?;
//! assert_eq!((strict.oneshot(7).await?, lenient.oneshot(7).await?), (107, 100)); // rejections
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! # The safety net: all of it as one layer
//!
//! A [`SafetyNet`](crate::SafetyNet) composes fallback, retry and breaker, each at most once (twice does not compile), the
//! first given outermost. It goes around a service as a layer, and around a function by [`call`](crate::SafetyNet::call);
//! printed, it says what it is made of. There are presets whose numbers do for most.
//!
//! ```
//! use fusebox::{BoxError, SafetyNet};
//!
//! # tokio_test::block_on(async {
//! let net = SafetyNet::database("orders")?;
//! assert_eq!(
//!     net.to_string(),
//!     "retry (2 retries, exponential 20ms..=500ms, full jitter, budget 0.1 of requests + 5/s, 5s an attempt, 10s in all) \
//!      -> circuit breaker `orders`",
//! );
//! assert_eq!(net.call(|| async { Ok::<_, std::io::Error>(12) }).await?, 12);
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! # Fleets: one breaker for all instances
//!
//! A breaker with a store shares its state with every breaker of the same name over it: all trip, probe and recover as one
//! (feature `fleet`).
//!
//! ```
//! # #[cfg(feature = "fleet")]
//! # async fn share() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use fusebox::{store::MemoryStore, CircuitBreaker, CircuitBreakerConfig, ConfigError};
//!
//! let store = Arc::new(MemoryStore::new()); // Redis or PostgreSQL for several processes
//! let instance = || {
//!     let config = CircuitBreakerConfig::builder("payments").store(store.clone()).build()?;
//!     Ok::<_, ConfigError>(CircuitBreaker::new(config))
//! };
//! let (one, another) = (instance()?, instance()?);
//! one.flush().await;
//! another.flush().await; // both know the store; nothing but a test needs to wait for that
//!
//! one.trip()?;
//! one.flush().await;
//! another.flush().await;
//! assert!(another.is_open());
//! # Ok(())
//! # }
//! # #[cfg(feature = "fleet")]
//! # tokio_test::block_on(share()).unwrap();
//! ```
//!
//! - **No call waits for the store.** An engine on a thread of its own tells and learns; while all is well nothing is
//!   written: failures are told at once, so silence means success. A store that is slow, down, wiped or wrong fails no call.
//! - **Who judges.** [`Fleet::pooled`](../fleet/struct.Fleet.html#method.pooled), the default, judges the calls of all
//!   instances together. Where the rule may be met, all are asked once, and the verdict is about the calls up to a named
//!   moment. An instance whose own calls meet the rule rejects calls until then
//!   ([`AwaitingVerdict`](crate::circuit_breaker::RejectReason::AwaitingVerdict)). By
//!   [`Fleet::votes(k)`](../fleet/struct.Fleet.html#method.votes) each instance judges its own calls and opens for itself;
//!   when `k` have, the circuit opens for all.
//! - **Which rule.** The default counts failures, and in a fleet those of all: a busy one has five a minute though it is
//!   well. Take a rate with as many `min_calls` as mean something over the whole fleet.
//! - **Probes are leases of the fleet**: never more than [`Probes`](crate::Probes) says, over all instances, and back when
//!   their holder dies. An instance without one rejects
//!   ([`AwaitingLease`](crate::circuit_breaker::RejectReason::AwaitingLease)).
//! - **A fleet of one** decides as a breaker without a store does.
//!
//! # Logs: what happened, and why
//!
//! With the feature `tracing` breakers, retries and stores tell the application's own subscriber what happens; there is
//! nothing to set up and no listener to register. Nothing that a single call does is above DEBUG, and there is no span.
//!
//! ```text
//! WARN fusebox::breaker: circuit opened breaker="payments" registry="" from="closed" to="open" cause="detected"
//!      counted="failures" count=5 calls=12 rule="failure_rate(0.4).of_last(20).min_calls(10)" openings=1
//!      cooldown_ms=30000 generation=7 scope="fleet" origin="decided"
//! ```
//!
//! | target | level | message | fields besides `breaker` and `registry` |
//! |---|---|---|---|
//! | `fusebox::breaker` | WARN | circuit opened | `from`, `to`, `cause`, `counted`, `count`, `calls`, `votes`, `rule`, `openings`, `cooldown_ms`, `generation`, `scope`, `origin` |
//! | | WARN | circuit forced open | `from`, `to`, `cause`, `kind`, `reason`, `actor`, `expires_in_ms`, `generation`, `scope`, `origin` |
//! | | WARN | detector panicked | `rule` |
//! | | WARN | request without a key was not guarded; template refused a name; too many rules share the breaker; instance rejects calls until the fleet has a verdict; events were lost on the way to a slow listener | `error` or `events`, where there are such |
//! | | INFO | circuit half-open, circuit closed | `from`, `to`, `cause`, `open_for_ms`, `rejected` (with the feature `counts`: calls meanwhile), `generation`, `scope`, `origin` |
//! | | INFO | override set, override ended | as forced open, and `open_for_ms` |
//! | | INFO | would have opened | `counted`, `count`, `calls`, `rule` |
//! | | INFO | advice, fallback key used, instance rejects no more calls by itself | `kind`, `advice` |
//! | | DEBUG | call rejected | `reason`, `retry_after_ms`; in the caller's span |
//! | | DEBUG | call failed | `took_ms`, `probe`, `abandoned`; in the caller's span |
//! | | DEBUG | the fleet has a verdict | `verdict` |
//! | `fusebox::retry` | DEBUG | retrying | `retry` (its name), `attempt`, `outcome`, `delay_ms`; no breaker |
//! | | DEBUG | given up | `retry`, `reason`, `attempts`, `outcome`, `total_delay_ms`; no breaker |
//! | | INFO | nothing limits these retries, give them a budget and a deadline | `retry`; no breaker |
//! | `fusebox::store` | WARN, INFO | store away, store back | `store`, `error`, `away_for_ms`; no breaker, as it is told once for all |
//! | | WARN, INFO | store impaired, store mended | `store`, `error`, `impaired_for_ms`; no breaker |
//! | | WARN | record unreadable, batch unreadable | `error` |
//! | | INFO | config drift | |
//!
//! A field that does not apply is left out. What happens to a breaker is told in its order and outside of every lock, by the
//! thread that made it happen or, where another is just telling, by that one. `registry` is what
//! [`Registry::named`](crate::Registry::named) had said when the breaker was made. No text has a password of a store's
//! address. Where no subscriber is installed nothing is prepared to be told, and so nothing comes to the crate `log` either.
//!
//! For spans of one's own there are [`Rejected::error_type`](crate::Rejected::error_type), OpenTelemetry's `error.type`, and
//! `retry::Attempt`, its `http.request.resend_count`.
