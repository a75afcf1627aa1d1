//! A breaker, as its engine sees it.

use std::sync::Arc;

use crate::replica::{Replica, Turn};
use crate::time::Timestamp;

/// Which member of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

/// A breaker, to the engine: a replica that can be reached, for as long as the breaker is there.
pub(crate) trait Member: Send + Sync + 'static {
    /// Which member it is, also when the breaker is gone.
    fn id(&self) -> MemberId;

    /// The key of its record.
    fn key(&self) -> &Arc<str>;

    /// Lets `f` have a turn at the replica, under the breaker's lock, and does what the breaker must do after that.
    /// `now` is the engine's time. Where the breaker is gone, `f` is not called.
    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>));
}
