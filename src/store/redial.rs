//! How long to wait before a server that was lost is dialled again.

use std::time::Duration;

use crate::backoff::{self, Backoff, Delays};
use crate::clock::fresh_seed;

const FIRST: Duration = Duration::from_millis(100);
/// After a failover the new primary is found at most so long after it is named. A dial a second and instance is nothing
/// to a server; ten seconds on its own are much to a fleet.
const MOST: Duration = Duration::from_secs(1);

/// The waits before the first dial and the next ones. Never at once: thousands may have lost the same server.
pub(super) fn delays() -> Delays {
    backoff::exponential(FIRST..=MOST).delays(fresh_seed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_comes_back_is_dialled_within_a_second() {
        for _ in 0..100 {
            let waits: Vec<_> = delays().take(20).collect();
            assert_eq!(waits.len(), 20, "it never gives up");
            assert!(waits.iter().all(|wait| *wait <= MOST), "{waits:?}");
            assert!(waits.first().is_some_and(|wait| *wait <= FIRST), "{waits:?}");
        }
        let of_two = || delays().take(20).collect::<Vec<_>>();
        assert_ne!(of_two(), of_two(), "two instances do not dial at the same moments");
    }
}
