//! What the classifiers say of an error.

use std::fmt::Debug;

use fusebox::{
    Classify, Outcome,
    classify::{self, Retry},
};

/// Who failed, as a breaker and a retry see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A failure, which may have been processed.
    Failed,
    /// A failure that certainly was not processed.
    Unprocessed,
    /// A failure that no other attempt mends.
    Final,
    /// No failure of the dependency, and not to be tried again.
    Ignored,
}

pub(crate) fn by<C: Classify<T, E>, T, E: Debug>(classifier: &C, result: &Result<T, E>) -> Verdict {
    match (classifier.classify(result), classifier.retry(result)) {
        (Outcome::Failure, Retry::IfIdempotent) => Verdict::Failed,
        (Outcome::Failure, Retry::Unprocessed) => Verdict::Unprocessed,
        (Outcome::Failure, Retry::Never) => Verdict::Final,
        (Outcome::Ignored, Retry::Never) => Verdict::Ignored,
        other => panic!("{other:?} of {:?}", result.as_ref().err()),
    }
}

/// What every classifier says that judges errors of clients. (gRPC's own has more to go by: `tonic`.)
#[track_caller]
pub(crate) fn of<E: Debug + 'static>(error: E) -> Verdict {
    let result: Result<(), E> = Err(error);
    let verdict = by(&classify::errors(), &result);
    #[cfg(feature = "http")]
    {
        let response = result.map(http::Response::new);
        assert_eq!(by(&classify::http(), &response), verdict, "over HTTP, {response:?}");
        #[cfg(feature = "grpc")]
        assert_eq!(by(&classify::grpc(), &response), verdict, "over gRPC, {response:?}");
    }
    verdict
}

/// Checks what is said of the error of a result.
#[track_caller]
pub(crate) fn check<T, E: Debug + 'static>(result: Result<T, E>, expected: Verdict) {
    let Err(error) = result else { panic!("no error, expected {expected:?}") };
    let text = format!("{error:?}");
    assert_eq!(of(error), expected, "{text}");
}
