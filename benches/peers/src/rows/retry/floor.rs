//! The calls alone: what remains of a row beyond them is the retry's.

use super::{WAIT, counted, flaky};
use crate::caller::{Outcome, Plain, Req, drive, inner};
use crate::rows::{Column, Row};
use std::hint::black_box;
use tower_service::Service;

pub const FLOOR: &str = "no-retry";

pub fn row() -> Row {
    Row::empty(FLOOR, "no retry, as many calls (the floor)")
        .service(Column::FirstTry, inner)
        .column(Column::TwoRetries, || {
            let mut service = flaky();
            Plain(move |req: Req| {
                for _ in 0..2 {
                    black_box(drive(service.call(black_box(req)))).unwrap_err();
                }
                drive(service.call(black_box(req))).map_or(Outcome::Failed, |answer| {
                    black_box(answer);
                    Outcome::Ok
                })
            })
        })
        .waits(|| {
            let mut service = flaky();
            async move |req| {
                for _ in 0..2 {
                    black_box(service.call(black_box(req)).await).unwrap_err();
                    tokio::time::sleep(WAIT).await;
                }
                service.call(black_box(req)).await.is_ok()
            }
        })
        .unpaid(counted)
        .service(Column::Stacked, inner)
}
