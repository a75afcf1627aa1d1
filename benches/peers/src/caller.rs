//! One call through a breaker or a retry, driven to its end without a runtime: what is left is theirs.

use crate::alloc::count;
use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::hint::{black_box, spin_loop};
use std::pin::pin;
use std::sync::{Arc, OnceLock, RwLock};
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// Names for the keyed rows, long lived so that a request can name one without an allocation, made a
/// thousand at a time when first used, so that a profiler that runs one cell need not watch the others.
static HOSTS: [OnceLock<String>; HOSTS_MOST / BLOCK] = [const { OnceLock::new() }; HOSTS_MOST / BLOCK];
pub const HOSTS_MOST: usize = 1_000_000;
const BLOCK: usize = 1_000;
const NAME: usize = "api-000000.tenants.example.com".len();

fn host(k: usize) -> &'static str {
    let first = k / BLOCK * BLOCK;
    let name = |k: usize| format!("api-{k:06}.tenants.example.com");
    let block = HOSTS[k / BLOCK].get_or_init(|| (first..first + BLOCK).map(name).collect());
    &block[(k - first) * NAME..][..NAME]
}

pub fn hosts(n: usize) -> Vec<&'static str> {
    (0..n).map(host).collect()
}

/// One word: whether it fails, its host, its number. A larger request costs more to copy than the
/// cheapest breakers cost to pass.
#[derive(Clone, Copy)]
pub struct Req(u64);

const FAILS: u64 = 1 << 63;
const HOST: u32 = 32;

impl Req {
    pub fn ok(number: u64) -> Self {
        Req(number & ((1 << HOST) - 1))
    }
    pub fn failing(number: u64) -> Self {
        Req(Req::ok(number).0 | FAILS)
    }
    pub fn to(self, host: usize) -> Self {
        Req(self.0 | (host as u64) << HOST)
    }
    pub fn host(&self) -> &'static str {
        host(((self.0 & !FAILS) >> HOST) as usize)
    }
    pub fn answer(&self) -> u32 {
        self.0 as u32
    }
}

/// With its answer it fits in a register: a larger one is copied in pieces, and the copy waits for
/// the stores (up to 7 ns) in some rows and not in others, as the compiler happens to arrange them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Boom(u32);

impl Boom {
    pub const FAILED: Boom = Boom(1);
    /// For breakers that map a rejection into the service's own error.
    #[cfg_attr(not(feature = "ours"), allow(dead_code))]
    pub const OPEN: Boom = Boom(2);
}

impl std::fmt::Display for Boom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("boom")
    }
}
impl std::error::Error for Boom {}

pub type Inner = tower::util::ServiceFn<fn(Req) -> Ready<Result<u32, Boom>>>;

/// A function pointer, so that no compiler folds the service into a layer.
pub fn serving(serve: fn(Req) -> Ready<Result<u32, Boom>>) -> Inner {
    tower::service_fn(serve)
}

/// The guarded service.
pub fn inner() -> Inner {
    fn serve(req: Req) -> Ready<Result<u32, Boom>> {
        ready(if req.0 & FAILS == 0 { Ok(req.answer()) } else { Err(Boom::FAILED) })
    }
    serving(serve)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    Failed,
    Rejected,
}

pub trait Caller: Clone + Send + 'static {
    fn call(&mut self, req: Req) -> Outcome;

    /// The bytes of a call on its way, where that is a value one can look at.
    fn weight(&mut self) -> Option<f64> {
        None
    }
}

/// The bytes of a future: its own, and those it has on the heap.
pub fn weight<T>(call: impl FnOnce() -> T) -> f64 {
    let (_, heap, future) = count(call);
    (size_of_val(&future) as i64 + heap) as f64
}

#[inline(always)]
pub fn drive<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    let mut polls = 0_u32;
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            // Only an async mutex held by another thread comes here; polling again at once is kinder
            // to it than a scheduler would be, unless its holder has no core.
            Poll::Pending if polls < 64 => spin_loop(),
            Poll::Pending => std::thread::yield_now(),
        }
        polls += 1;
    }
}

/// A Tower service, and how its error says that the breaker rejected.
pub struct Tower<S, E> {
    pub service: S,
    pub rejected: fn(&E) -> bool,
}

impl<S: Clone, E> Clone for Tower<S, E> {
    fn clone(&self) -> Self {
        Tower { service: self.service.clone(), rejected: self.rejected }
    }
}

impl<S> Caller for Tower<S, S::Error>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Error: 'static,
{
    #[inline(always)]
    fn call(&mut self, req: Req) -> Outcome {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(self.service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        match drive(self.service.call(req)) {
            Ok(answer) => {
                black_box(answer);
                Outcome::Ok
            }
            Err(error) if (self.rejected)(&error) => Outcome::Rejected,
            Err(_) => Outcome::Failed,
        }
    }

    fn weight(&mut self) -> Option<f64> {
        assert!(self.service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        Some(weight(|| self.service.call(Req::ok(0))))
    }
}

/// A closure, for breakers that are no Tower layer.
#[derive(Clone)]
pub struct Plain<F>(pub F);

impl<F: FnMut(Req) -> Outcome + Clone + Send + 'static> Caller for Plain<F> {
    #[inline(always)]
    fn call(&mut self, req: Req) -> Outcome {
        (self.0)(req)
    }
}

/// One breaker per host as users of a breaker without a registry write it.
#[derive(Clone)]
pub struct ByHost<C>(Arc<RwLock<HashMap<String, C>>>);

impl<C> ByHost<C> {
    pub fn new(hosts: &[&str], build: impl Fn() -> C) -> Self {
        ByHost(Arc::new(RwLock::new(hosts.iter().map(|host| (host.to_string(), build())).collect())))
    }
}

impl<C: Caller + Sync> Caller for ByHost<C> {
    #[inline(always)]
    fn call(&mut self, req: Req) -> Outcome {
        let mut breaker = self.0.read().unwrap().get(req.host()).unwrap().clone();
        breaker.call(req)
    }
}

/// The same where names are not known before. Nothing is ever taken out.
pub struct Growing<C, F> {
    breakers: Arc<RwLock<HashMap<String, C>>>,
    build: F,
}

impl<C, F> Growing<C, F> {
    pub fn new(build: F) -> Self {
        Growing { breakers: Arc::default(), build }
    }
}

impl<C, F: Clone> Clone for Growing<C, F> {
    fn clone(&self) -> Self {
        Growing { breakers: self.breakers.clone(), build: self.build.clone() }
    }
}

impl<C: Caller + Sync, F: Fn() -> C + Clone + Send + 'static> Caller for Growing<C, F> {
    fn call(&mut self, req: Req) -> Outcome {
        let known = self.breakers.read().unwrap().get(req.host()).cloned();
        let make = || self.breakers.write().unwrap().entry(req.host().to_string()).or_insert_with(&self.build).clone();
        known.unwrap_or_else(make).call(req)
    }
}
