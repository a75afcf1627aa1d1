//! Where a breaker belongs.

#[cfg(feature = "counts")]
use std::sync::Arc;

#[cfg(feature = "counts")]
use super::registry_counts::RegistryCounts;

/// Where a breaker belongs: what it has counted goes on there when it is gone.
#[derive(Clone, Debug)]
pub(in crate::breaker) enum Home {
    /// To none but its name: the application has made it.
    Name,
    /// To a registry.
    #[cfg(feature = "counts")]
    Registry(Arc<RegistryCounts>),
}
