//! The state of a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backoff::draw;
use crate::circuit::{Folded, Record};
use crate::fleet::member::Member;
use crate::store::{BatchId, Commit, Round, StoreTime, Version};
use crate::time::Timestamp;

/// One breaker's line to the store.
pub(in crate::fleet) struct Link {
    pub(in crate::fleet) member: Arc<dyn Member>,
    pub(in crate::fleet) key: String,
    /// Names this line in batches and records; random.
    pub(super) writer: u64,
    pub(super) flush_interval: Duration,
    pub(super) seq: u64,
    pub(super) draws: u64,
    pub(super) known: Option<Known>,
    /// What was asked of the store and is not answered yet.
    pub(super) asked: Option<Asked>,
    /// When the store was last asked.
    pub(super) asked_at: (Timestamp, Timestamp),
    /// Taken from the member, and not accepted by the store yet.
    pub(super) batch: Option<Batch>,
    pub(super) round: Option<Combining>,
    /// When what waits is sent; moves as failures are waiting or not.
    pub(super) flush_at: Option<Timestamp>,
    pub(super) flushed: Timestamp,
    /// How long failures wait for company.
    pub(super) linger: Duration,
    pub(super) probe_at: Option<Timestamp>,
    /// A batch was queued; when to see whether it was taken in.
    pub(super) look_at: Option<Timestamp>,
    pub(super) load_now: bool,
    pub(super) not_before: Timestamp,
    pub(super) failures: u32,
    pub(super) conflicts: u32,
    /// Since when something urgent waits.
    pub(super) urgent_since: Option<Timestamp>,
    pub(super) alone: bool,
    /// The record is not this release's to touch; when to look again.
    pub(super) blocked_until: Option<Timestamp>,
    pub(super) corrupt_since: Option<Timestamp>,
    pub(super) flush: Option<Flush>,
    /// The member is gone; until when what it left may be sent.
    pub(super) departing: Option<Timestamp>,
}

/// The record as the store last had it.
pub(super) struct Known {
    pub(super) version: Version,
    pub(super) record: Record,
    /// The store has lost it; when to give it again.
    pub(super) lost: Option<Timestamp>,
    /// The store's time, and what that was by the member's clock: calls and deadlines are timed by that one.
    pub(super) now: StoreTime,
    pub(super) at: Timestamp,
}

pub(super) enum Asked {
    Load,
    Commit { folded: Box<Folded>, batch: bool, orders: usize, round: bool },
}

pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) bytes: Bytes,
    pub(super) taken: Timestamp,
    /// It lost a race: the store may keep it for whoever combines.
    pub(super) may_queue: bool,
}

pub(super) struct Combining {
    pub(super) round: Round,
    pub(super) rounds: u32,
    pub(super) since: Timestamp,
}

/// Somebody waits until everything is sent and the newest is fetched.
pub(super) struct Flush {
    pub(super) waiters: Vec<u64>,
    /// Fetched since.
    pub(super) fetched: bool,
}

/// What a line wants.
pub(in crate::fleet) enum Plan {
    /// Nothing before this time.
    Wait(Option<Timestamp>),
    Load,
    Commit(Box<Commit>),
}

/// Failures wait this long for company, and up to [`LINGER_MOST`] where the store is busy.
pub(super) const LINGER: Duration = Duration::from_millis(100);
/// The engine waits for no answer longer than this, if it is there to stop waiting.
const LATE: Duration = Duration::from_secs(1);
/// Instances of a fleet do not ask for a probe, or write a lost record, all in the same moment.
pub(super) const JITTER: Duration = Duration::from_millis(50);
/// What a breaker has left to say when it is dropped is sent within this time, or never.
const PARTING: Duration = Duration::from_secs(1);

impl Link {
    pub(in crate::fleet) fn new(
        member: Arc<dyn Member>,
        key: String,
        writer: u64,
        flush_interval: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            member,
            key,
            writer,
            flush_interval,
            seq: 0,
            draws: writer,
            known: None,
            asked: None,
            asked_at: (now, now),
            batch: None,
            round: None,
            flush_at: None,
            flushed: now,
            linger: LINGER,
            probe_at: None,
            look_at: None,
            load_now: true,
            not_before: Timestamp::ZERO,
            failures: 0,
            conflicts: 0,
            urgent_since: None,
            alone: true,
            blocked_until: None,
            corrupt_since: None,
            flush: None,
            departing: None,
        }
    }

    /// The member is gone, and `departed` has what it left.
    pub(in crate::fleet) fn depart(&mut self, departed: Arc<dyn Member>, now: Timestamp) {
        self.member = departed;
        self.member.return_leases();
        self.not_before = Timestamp::ZERO;
        self.departing = Some(now + PARTING);
        let waiters = self.flush.take().map_or_else(Vec::new, |flush| flush.waiters);
        self.flush = Some(Flush { waiters, fetched: true });
    }

    /// Nothing of a member that is gone is left to be sent, or it cannot be.
    pub(in crate::fleet) fn has_departed(&self, now: Timestamp) -> bool {
        let waits = self.asked.is_some() || self.batch.is_some() || self.round.is_some();
        self.departing.is_some_and(|until| !waits || now >= until || self.failures > 0)
    }

    fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        draw(self.writer, self.draws)
    }

    pub(super) fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.draw())
    }

    pub(in crate::fleet) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// It is asked for now.
    pub(in crate::fleet) fn loading(&mut self, now: Timestamp) {
        self.asked_at = (now, self.member.clock(now));
    }

    /// When an answer came that is here now, by the member's clock. One that takes so long has waited for this process, which stood still: what it
    /// says about the time was true as long ago, and a lease that comes with it may be over.
    pub(super) fn answered_at(&self, now: Timestamp) -> Timestamp {
        let (asked, by_member) = self.asked_at;
        if now.since(asked) > LATE { by_member } else { self.member.clock(now) }
    }

    /// A load that was wished for has not been sent.
    pub(in crate::fleet) fn load_later(&mut self) {
        if matches!(self.asked, Some(Asked::Load)) {
            self.asked = None;
            self.load_now = true;
        }
    }

    /// The version it knows.
    pub(in crate::fleet) fn version(&self) -> Version {
        self.known.as_ref().map_or(Version::NONE, |known| known.version)
    }

    /// Somebody waits until everything is sent and the newest is known.
    pub(in crate::fleet) fn flush(&mut self, waiter: u64) {
        self.not_before = Timestamp::ZERO;
        match &mut self.flush {
            Some(flush) => {
                flush.waiters.push(waiter);
                flush.fetched = false;
            }
            None => {
                self.member.return_leases();
                self.flush = Some(Flush { waiters: vec![waiter], fetched: false });
            }
        }
    }

    /// Nothing is left to do, or can be done now, for those who wait.
    pub(in crate::fleet) fn flushed(&mut self, is_down: bool) -> Vec<u64> {
        let is_done = self.flush.as_ref().is_some_and(|flush| flush.fetched) || self.failures > 0 || is_down;
        let done = if is_done && self.asked.is_none() { self.flush.take() } else { None };
        done.map_or_else(Vec::new, |flush| flush.waiters)
    }

    /// Whatever is known may be old.
    pub(in crate::fleet) const fn reload(&mut self) {
        self.load_now = true;
    }
}
