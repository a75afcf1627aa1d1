//! The cheapest layers there can be: what remains of a row beyond them is the breaker's.

use super::{Column, Row};
use crate::caller::{Boom, Inner, Outcome, Plain, Tower, inner};
use crate::memory::Memory;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
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

const NEVER: [Column; 2] = [Column::Open, Column::Cycle];

pub const PASSTHROUGH: &str = "passthrough";

pub fn rows() -> Vec<Row> {
    let passthrough = |_| tower(Pass { inner: inner(), kept: () });
    let counted = |_| tower(Pass { inner: inner(), kept: Arc::new(1_u64) });
    vec![
        Row::new("bare", "bare service", |_| tower(inner())).without(&NEVER),
        Row::new(PASSTHROUGH, "passthrough layer (the floor)", passthrough).without(&NEVER),
        Row::new("passthrough-arc", "passthrough layer, `Arc` in its future", counted).without(&NEVER),
    ]
}

/// What a map of names costs before it holds a single breaker.
pub fn memory() -> Memory {
    Memory::by_host("names", "the names in a map, no breakers", || Plain(|_| Outcome::Ok))
}
