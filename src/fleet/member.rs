//! What the engine knows of a breaker.

use std::sync::Arc;

use crate::circuit::{Folded, Met, Needs, Order, Record, Unreadable};
use crate::store::{StoreTime, Stored};
use crate::time::Timestamp;

/// Which member of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

/// A breaker, to the engine: it takes evidence out and brings views in. The rules are the breaker's.
pub(crate) trait Member: Send + Sync + 'static {
    /// The time by the member's own clock, where it has one; `now` is the engine's.
    fn clock(&self, now: Timestamp) -> Timestamp {
        now
    }
    /// What it has for the fleet, or wants of it.
    fn needs(&self) -> Needs;
    /// Its orders that wait.
    fn orders(&self) -> Vec<Order>;
    /// Its first `count` orders are done.
    fn ordered(&self, count: usize);
    /// Takes out what it has seen, to be sent. `now` is the store's time.
    fn take(&self, now: StoreTime) -> Option<Vec<u8>>;
    /// What was taken last has arrived, or never will.
    fn taken_settled(&self, accepted: bool);
    /// Leases in hand go back, used or not.
    fn return_leases(&self);
    /// Compares what the store has with what it is known to have had.
    fn meet(&self, stored: &Stored) -> Result<Met, Unreadable>;
    /// Takes batches and orders into a record, by the member's rules.
    fn fold(&self, record: &Record, batches: &[&[u8]], orders: &[Order], writer: u64, now: StoreTime) -> Folded;
    /// Does as the record says.
    fn adopt(&self, record: &Record, writer: u64, granted: &[u32], settled: bool, now: StoreTime);
    /// Says whether the store answers, and if not, why.
    fn set_reachable(&self, away: Option<&Arc<str>>);
    /// Has something told to whoever listens.
    fn tell(&self, news: News);
    /// The engine has heard: only a louder ring need wake it. `armed`: it will look by itself for what merely waits.
    fn heard(&self, armed: bool);
}

/// What the engine has to tell a breaker's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    StoreDegraded,
    StoreRecovered,
    RecordUnreadable,
    WouldOpen(crate::circuit::Tally),
}
