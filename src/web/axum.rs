//! Errors of this crate as answers of axum's handlers.

use axum::response::{IntoResponse, Response};

use super::health::health;
use super::response::too_late;
use super::unavailable::unavailable;
use crate::attempts::TimedOut;
use crate::breaker::CallError;
use crate::health::Report;
use crate::rejected::Rejected;

/// 503 with `Retry-After` where it is known when to come back. It is as [`unavailable`](fn@crate::web::unavailable) has
/// it.
impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        unavailable(&self)
    }
}

/// 504.
impl IntoResponse for TimedOut {
    fn into_response(self) -> Response {
        too_late()
    }
}

/// 200 or 503, as [`health`](fn@crate::web::health) has it.
impl IntoResponse for Report {
    fn into_response(self) -> Response {
        health(&self)
    }
}

/// 503 with `Retry-After` for a rejected call, else what its own error answers. It is for `breaker.call(..).await?` in
/// a handler.
impl<E: IntoResponse> IntoResponse for CallError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Rejected(rejected) => rejected.into_response(),
            Self::Inner(error) => error.into_response(),
        }
    }
}
