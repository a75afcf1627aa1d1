//! What the server is asked for at most.

/// The last microsecond of the year 9999: later times are as good as that, and no version of ours is greater.
pub(super) const LATEST: u64 = 253_402_300_799_999_999;
/// How long a statement waits for a lock: what holds one for longer must not keep one of a store's few connections.
pub(super) const LOCK_TIMEOUT_MS: u32 = 100;
