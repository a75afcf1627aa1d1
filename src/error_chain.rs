//! Errors of known clients, seen as errors, and all that they come from.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use std::{io, iter};

use crate::error::BoxError;

/// Sees an error whose type is known to be one: boxed errors, and those of clients that wrap what their connector or channel
/// returned. A type parameter tells nothing of its error; which type it is, is known when it is compiled, so the question
/// costs nothing.
#[inline]
pub(crate) fn as_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    macro_rules! one_of {
        ($any:ident, $($(#[$gate:meta])* $known:ty),+ $(,)?) => {
            $($(#[$gate])* if let Some(error) = $any.downcast_ref::<$known>() {
                return Some(error);
            })+
        };
    }
    let any: &dyn Any = error;
    if let Some(boxed) = any.downcast_ref::<BoxError>() {
        return Some(&**boxed);
    }
    one_of!(
        any,
        io::Error,
        #[cfg(feature = "grpc")]
        tonic::Status,
        #[cfg(feature = "grpc")]
        tonic::transport::Error,
        #[cfg(feature = "grpc")]
        tonic::ConnectError,
        #[cfg(feature = "reqwest")]
        reqwest::Error,
        #[cfg(feature = "hyper")]
        hyper_util::client::legacy::Error,
        // Its connector's error has no other name.
        #[cfg(feature = "hyper")]
        <hyper_util::client::legacy::connect::HttpConnector as tower_service::Service<hyper::Uri>>::Error,
        #[cfg(feature = "hyper")]
        hyper::Error,
        #[cfg(feature = "hyper")]
        h2::Error,
        #[cfg(feature = "tower")]
        tower::load_shed::error::Overloaded,
        #[cfg(feature = "tower")]
        tower::timeout::error::Elapsed,
        #[cfg(feature = "postgres")]
        sqlx::Error,
        #[cfg(feature = "postgres")]
        sqlx::postgres::PgDatabaseError,
        #[cfg(feature = "postgres")]
        Box<dyn sqlx::error::DatabaseError>,
        #[cfg(feature = "redis")]
        redis::RedisError,
        #[cfg(feature = "redis")]
        redis::ServerError,
    );
    None
}

/// An error and all that it comes from, one by one: an error is asked for its source only when the next one is wanted.
pub(crate) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut here = None;
    let mut start = Some(error);
    iter::from_fn(move || {
        here = start.take().or_else(|| here.and_then(inside));
        here
    })
}

/// What an error has inside. For most it is their source; some hide it, or skip one; and what broke the body of an own
/// request is another story, of where the body came from.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its `source()` is the source of what it holds.
        let held = error.get_ref()?;
        return Some(held);
    }
    // One that is shared says what it is the source of, and not what it is.
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return Some(&**shared);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        let io = error.get_io()?;
        return Some(io);
    }
    #[cfg(feature = "hyper")]
    if error.downcast_ref().is_some_and(hyper::Error::is_user) {
        return None;
    }
    error.source()
}
