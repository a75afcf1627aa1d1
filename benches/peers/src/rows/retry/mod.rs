//! Retries, alone and with a breaker inside. All may retry three times, fusebox's default.

mod backon;
mod floor;
#[cfg(feature = "ours")]
mod ours;
mod tower;
mod tower_resilience;

use super::{Cell, Column, Make, Row, healthy, on_shared, one_call, successes};
use crate::caller::{Boom, Caller, Inner, Outcome, Req, Tower, inner, serving, weight};
use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::runtime::Builder;
use tower_service::Service;

pub use floor::FLOOR;

const RETRIES: u32 = 3;
/// Not zero, because fusebox and others make no timer then.
const WAIT: Duration = Duration::from_millis(1);

/// Fails twice, succeeds, fails twice, … The count is the thread's: a retry clones its service, and
/// the clone of an `Arc` around a count would cost more than the retry.
fn flaky() -> Inner {
    thread_local!(static FAILED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    fn serve(req: Req) -> Ready<Result<u32, Boom>> {
        let failed = FAILED.get();
        FAILED.set(if failed == 2 { 0 } else { failed + 1 });
        ready(if failed == 2 { Ok(req.answer()) } else { Err(Boom::FAILED) })
    }
    FAILED.set(0);
    serving(serve)
}

thread_local!(static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });

/// Counts its calls, as one that is made again would pass for a dear refusal.
fn counted() -> Inner {
    fn serve(req: Req) -> Ready<Result<u32, Boom>> {
        CALLS.set(CALLS.get() + 1);
        inner().call(req)
    }
    serving(serve)
}

fn made_once<C: Caller>(mut caller: C) -> C {
    CALLS.set(0);
    assert_eq!(caller.call(Req::failing(0)), Outcome::Failed);
    assert_eq!(CALLS.get(), 1, "no budget pays for another attempt");
    caller
}

fn failures<C: Caller>(caller: &mut C, n: u64) {
    (0..n).for_each(|i| one_call(caller, Req::failing(i)));
}

impl Row {
    /// A column without a runtime: Tokio's timers panic there, so who is measured makes none.
    fn column<C: Caller>(self, column: Column, build: impl Fn() -> C + 'static) -> Row {
        self.with(Cell::new(column, on_shared(move || healthy(build()), successes)))
    }

    /// The column with timers. A sleep costs the timer wheel and a turn of the scheduler, but no
    /// waiting, because a paused clock jumps to the next timer.
    fn waits<F: AsyncFnMut(Req) -> bool + Send + 'static>(self, build: impl Fn() -> F + 'static) -> Row {
        let make: Make = Box::new(move |threads| {
            assert_eq!(threads, 1);
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let mut call = build();
            vec![Box::new(move |n| {
                runtime.block_on(async {
                    for i in 0..n {
                        assert!(black_box(&mut call)(black_box(Req::ok(i))).await);
                    }
                });
            })]
        });
        self.with(Cell::new(Column::TwoWaits, make))
    }

    /// How the column added last weighs a call.
    fn weighing(mut self, weigh: impl Fn() -> f64 + 'static) -> Row {
        self.cells.last_mut().expect("a column").weigh = Box::new(move || Some(weigh()));
        self
    }

    fn service<S>(self, column: Column, build: impl Fn() -> S + Clone + 'static) -> Row
    where
        S: Service<Req> + Clone + Send + 'static,
        S::Error: 'static,
    {
        let service = build.clone();
        let row = self.column(column, move || Tower { service: service(), rejected: |_| false });
        row.weighing_service(build)
    }

    /// The column in which every call fails, over a service that is [`counted`], and may not be made again.
    fn unpaid<S>(self, build: impl Fn() -> S + 'static) -> Row
    where
        S: Service<Req> + Clone + Send + 'static,
        S::Error: 'static,
    {
        let build = move || made_once(Tower { service: build(), rejected: |_| false });
        self.with(Cell::new(Column::NoBudget, on_shared(build, failures)))
    }

    fn service_waits<S>(self, build: impl Fn() -> S + Clone + 'static) -> Row
    where
        S: Service<Req> + Send + 'static,
    {
        let service = build.clone();
        let row = self.waits(move || {
            let mut service = service();
            async move |req| poll_fn(|cx| service.poll_ready(cx)).await.is_ok() && service.call(req).await.is_ok()
        });
        row.weighing_service(build)
    }

    fn weighing_service<S>(self, build: impl Fn() -> S + 'static) -> Row
    where
        S: Service<Req>,
    {
        self.weighing(move || {
            let mut service = build();
            assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
            weight(|| service.call(Req::ok(0)))
        })
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![floor::row(), tower::row(), tower::row_with_budget()];
    #[cfg(feature = "ours")]
    rows.extend(ours::rows());
    rows.extend([backon::row(), tower_resilience::row()]);
    #[cfg(feature = "ours")]
    rows.extend(ours::stacks());
    rows.extend([backon::stack(), tower_resilience::stack()]);
    rows
}
