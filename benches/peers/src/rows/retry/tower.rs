use super::{RETRIES, WAIT, counted, flaky};
use crate::caller::{Boom, Req, inner};
use crate::rows::{Column, Row};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, Retry};
#[cfg(feature = "ours")]
use tower_service::Service;

/// Tower has no policy ready for use; this is the least one. `W`: how it waits, `B`: what pays for
/// retries.
#[derive(Clone)]
struct AnyError<W, B> {
    left: u32,
    wait: W,
    budget: B,
}

trait Wait: Clone {
    type Future: Future<Output = ()>;
    fn begin(&self) -> Self::Future;
}

#[derive(Clone)]
struct NoDelay;

impl Wait for NoDelay {
    type Future = Ready<()>;
    fn begin(&self) -> Ready<()> {
        ready(())
    }
}

#[derive(Clone)]
struct Timer;

impl Wait for Timer {
    type Future = Sleep;
    fn begin(&self) -> Sleep {
        sleep(WAIT)
    }
}

trait Pays: Clone {
    fn success(&self) {}
    fn withdraw(&self) -> bool {
        true
    }
}

impl Pays for () {}

impl Pays for Arc<TpsBudget> {
    fn success(&self) {
        self.deposit();
    }
    fn withdraw(&self) -> bool {
        Budget::withdraw(&**self)
    }
}

impl<W: Wait, B: Pays> Policy<Req, u32, Boom> for AnyError<W, B> {
    type Future = W::Future;

    fn retry(&mut self, _req: &mut Req, result: &mut Result<u32, Boom>) -> Option<W::Future> {
        if result.is_ok() {
            self.budget.success();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| self.wait.begin())
    }

    fn clone_request(&mut self, req: &Req) -> Option<Req> {
        Some(*req)
    }
}

fn any_error<W, B>(wait: W, budget: B) -> AnyError<W, B> {
    AnyError { left: RETRIES, wait, budget }
}

/// A budget that always pays: a thousand retries for each request.
fn rich() -> Arc<TpsBudget> {
    Arc::new(TpsBudget::new(Duration::from_secs(10), 1_000, 1_000.0))
}

/// One that never does.
fn poor() -> Arc<TpsBudget> {
    Arc::new(TpsBudget::new(Duration::from_secs(10), 0, 0.0))
}

pub fn row() -> Row {
    Row::empty("tower-retry", "tower::retry 0.5.3, the least policy")
        .service(Column::FirstTry, || Retry::new(any_error(NoDelay, ()), inner()))
        .service(Column::TwoRetries, || Retry::new(any_error(NoDelay, ()), flaky()))
        .service_waits(|| Retry::new(any_error(Timer, ()), flaky()))
        .service(Column::Stacked, || Retry::new(any_error(NoDelay, ()), inner()))
}

pub fn row_with_budget() -> Row {
    Row::empty("tower-retry-budget", "tower::retry 0.5.3 and `TpsBudget`")
        .service(Column::FirstTry, || Retry::new(any_error(NoDelay, rich()), inner()))
        .service(Column::TwoRetries, || Retry::new(any_error(NoDelay, rich()), flaky()))
        .service_waits(|| Retry::new(any_error(Timer, rich()), flaky()))
        .unpaid(|| Retry::new(any_error(NoDelay, poor()), counted()))
}

#[cfg(feature = "ours")]
pub fn over<S>(service: S) -> impl Service<Req, Response = u32, Error = Boom> + Clone + Send
where
    S: Service<Req, Response = u32, Error = Boom> + Clone + Send,
{
    Retry::new(any_error(NoDelay, ()), service)
}
