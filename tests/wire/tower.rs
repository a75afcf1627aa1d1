//! What Tower's layers say instead of the service.

use std::future::pending;
use std::io;
use std::time::Duration;

use fusebox::BoxError;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::verdict::{self, Verdict};

async fn never(_: ()) -> Result<(), io::Error> {
    pending().await
}

#[tokio::test]
async fn load_that_was_shed_is_the_callers_own() {
    let full = ServiceBuilder::new().load_shed().concurrency_limit(0).service_fn(never);
    let result = full.clone().oneshot(()).await;
    assert!(result.as_ref().is_err_and(|error| error.is::<tower::load_shed::error::Overloaded>()), "{result:?}");
    verdict::check(result, Verdict::Ignored);
    // Behind a buffer its error is another one's source.
    let buffered = ServiceBuilder::new().buffer(1).service(full);
    verdict::check(buffered.oneshot(()).await, Verdict::Ignored);
    // As a type of its own, too.
    let overloaded = tower::load_shed::error::Overloaded::new();
    verdict::check(Err::<(), _>(overloaded), Verdict::Ignored);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_failure_that_may_have_been_processed() {
    let slow = tower::timeout::TimeoutLayer::new(Duration::from_secs(1)).layer(service_fn(never));
    let result: Result<(), BoxError> = slow.oneshot(()).await;
    assert!(result.as_ref().is_err_and(|error| error.is::<tower::timeout::error::Elapsed>()), "{result:?}");
    verdict::check(result, Verdict::Failed);
}
