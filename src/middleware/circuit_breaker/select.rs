//! Which breaker a request belongs to.

use std::fmt;

use crate::breaker::{CircuitBreaker, Permit, Registry, Rejected};

/// Which breaker a request belongs to: [`One`], [`By`] or [`ByOwned`]. Sealed.
pub trait Select<Req>: sealed::Sealed {
    /// Asks the request's breaker for a call; `None` when the request has none.
    #[doc(hidden)]
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>>;

    /// The breaker of all requests, if they have one in common.
    #[doc(hidden)]
    fn one(&self) -> Option<&CircuitBreaker>;
}

/// All requests have one breaker.
#[derive(Clone, Debug)]
pub struct One {
    pub(super) breaker: CircuitBreaker,
}

/// A breaker for each key that a function finds in the request.
#[derive(Clone)]
pub struct By<F> {
    pub(super) registry: Registry,
    pub(super) key: F,
}

/// A breaker for each key that a function makes from the request.
#[derive(Clone)]
pub struct ByOwned<F> {
    pub(super) registry: Registry,
    pub(super) key: F,
}

impl<Req> Select<Req> for One {
    #[inline]
    fn acquire(&self, _request: &Req) -> Option<Result<Permit, Rejected>> {
        Some(self.breaker.acquire())
    }

    #[inline]
    fn one(&self) -> Option<&CircuitBreaker> {
        Some(&self.breaker)
    }
}

impl<Req, F> Select<Req> for By<F>
where
    F: Fn(&Req) -> Option<&str>,
{
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>> {
        let name = (self.key)(request)?;
        self.registry.acquire(name)
    }

    fn one(&self) -> Option<&CircuitBreaker> {
        None
    }
}

impl<Req, F, O> Select<Req> for ByOwned<F>
where
    F: Fn(&Req) -> Option<O>,
    O: AsRef<str>,
{
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>> {
        let name = (self.key)(request)?;
        self.registry.acquire(name.as_ref())
    }

    fn one(&self) -> Option<&CircuitBreaker> {
        None
    }
}

impl<F> fmt::Debug for By<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("By").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for ByOwned<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByOwned").field("registry", &self.registry).finish_non_exhaustive()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::One {}
    impl<F> Sealed for super::By<F> {}
    impl<F> Sealed for super::ByOwned<F> {}
}
