//! The cheapest layers there can be: what remains of a row beyond them is the breaker's.

use super::{Column, Row, Setup};
use crate::caller::{Boom, Caller, Inner, Outcome, Plain, Req, Tower, inner};
use crate::memory::Memory;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower_service::Service;

/// `K` is what the layer puts into every future.
#[derive(Clone)]
struct Pass<K> {
    inner: Inner,
    kept: K,
}

struct PassFuture<F, K> {
    future: F,
    kept: K,
}

impl<F: Future + Unpin, K: Unpin> Future for PassFuture<F, K> {
    type Output = F::Output;
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        black_box(&self.kept);
        Pin::new(&mut self.future).poll(cx)
    }
}

impl<R, K: Clone + Unpin> Service<R> for Pass<K>
where
    Inner: Service<R>,
    <Inner as Service<R>>::Future: Unpin,
{
    type Response = <Inner as Service<R>>::Response;
    type Error = <Inner as Service<R>>::Error;
    type Future = PassFuture<<Inner as Service<R>>::Future, K>;
    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }
    #[inline(always)]
    fn call(&mut self, req: R) -> Self::Future {
        PassFuture { future: self.inner.call(req), kept: self.kept.clone() }
    }
}

fn tower<S>(service: S) -> Tower<S, Boom> {
    Tower { service, rejected: |_| false }
}

/// Looks at the exact clock before and after a call, as what counts slow calls has to.
#[derive(Clone)]
struct Clocked<C>(C);

impl<C: Caller> Caller for Clocked<C> {
    #[inline(always)]
    fn call(&mut self, req: Req) -> Outcome {
        let start = Instant::now();
        let outcome = self.0.call(req);
        black_box(start.elapsed());
        outcome
    }
}

const NEVER: [Column; 2] = [Column::Open, Column::Cycle];

pub const PASSTHROUGH: &str = "passthrough";
pub const CLOCK: &str = "passthrough-clock";

pub fn passthrough(_: Setup) -> impl Caller + Sync {
    tower(Pass { inner: inner(), kept: () })
}

pub fn rows() -> Vec<Row> {
    let counted = |_| tower(Pass { inner: inner(), kept: Arc::new(1_u64) });
    vec![
        Row::new("bare", "bare service", |_| tower(inner())).without(&NEVER),
        Row::new(PASSTHROUGH, "passthrough layer (the floor)", passthrough).without(&NEVER),
        Row::new("passthrough-arc", "passthrough layer, `Arc` in its future", counted).without(&NEVER),
        Row::new(CLOCK, "passthrough layer, two looks at the clock", |setup| Clocked(passthrough(setup)))
            .without(&NEVER),
    ]
}

/// What a map of names costs before it holds a single breaker.
pub fn memory() -> Memory {
    Memory::by_host("names", "the names in a map, no breakers", || Plain(|_| Outcome::Ok))
}
