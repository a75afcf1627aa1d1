//! How an engine finds out which records have changed: what it asks the store each second, and whose records it loads then.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::loads::MAX_KEYS_IN_LOAD;
use super::member::MemberId;
use crate::replica::POLL_INTERVAL;
use crate::store::Changes;
use crate::time::Timestamp;

/// What is known of changes, and when to ask again.
#[derive(Debug)]
pub(super) struct Polls {
    at: Timestamp,
    count: u64,
    feed: Feed,
    /// The store was asked what changed.
    is_asking: bool,
    /// Members whose record each poll loads, because something goes on.
    followed: BTreeSet<MemberId>,
    followed_up_to: Option<MemberId>,
    /// When records are next loaded whatever the store says of changes, and after which.
    reread_at: Timestamp,
    reread_up_to: Option<MemberId>,
    /// Notices were missed since the store was last asked for that.
    has_lagged: bool,
    /// The store no longer knew what had changed, soon after all had been loaded for that.
    must_reload: bool,
    /// From when on what was missed is asked for at once.
    catch_up_after: Timestamp,
}

/// How it is found out which records have changed.
#[derive(Debug)]
enum Feed {
    /// The store has not said yet whether it can tell; nothing is loaded before, so that nothing is missed between.
    Unknown,
    /// It could not be asked: all records are loaded until it can.
    Lost,
    /// It cannot tell: all records are loaded.
    Unsupported,
    /// It tells from there on.
    From(Bytes),
}

/// What a poll asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// All replicas load: whatever is known may be old.
    pub(super) reload_all: bool,
    /// Whose records are to be loaded.
    pub(super) load: Vec<MemberId>,
    /// The store is to be asked what changed: it can tell, and that is not among what is loaded anyway.
    pub(super) changes: bool,
}

/// Keys in one poll.
const MAX_KEYS_IN_POLL: usize = 4 * MAX_KEYS_IN_LOAD;
/// Each record is loaded this often whatever the store says of changes, as far as one load a poll does that.
const REREAD_INTERVAL: Duration = Duration::from_secs(60);

impl Polls {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            at: now + POLL_INTERVAL,
            count: 0,
            feed: Feed::Unknown,
            is_asking: false,
            followed: BTreeSet::new(),
            followed_up_to: None,
            reread_at: now + REREAD_INTERVAL,
            reread_up_to: None,
            has_lagged: false,
            must_reload: false,
            catch_up_after: now,
        }
    }

    /// When the next poll is due.
    pub(super) const fn at(&self) -> Timestamp {
        self.at
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Nothing may be loaded yet.
    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self.feed, Feed::Unknown)
    }

    /// Whether a member's record is loaded in each poll.
    pub(super) fn follow(&mut self, id: MemberId, follows: bool) {
        if follows {
            self.followed.insert(id);
        } else {
            self.followed.remove(&id);
        }
    }

    /// Says from where on to ask what changed, unless that is being asked, or cannot be answered.
    pub(super) fn ask(&mut self) -> Option<Option<Bytes>> {
        if self.is_asking || matches!(self.feed, Feed::Unsupported) {
            return None;
        }
        self.is_asking = true;
        Some(if let Feed::From(cursor) = &self.feed { Some(cursor.clone()) } else { None })
    }

    /// What was asked will not be answered.
    pub(super) const fn ask_again(&mut self) {
        self.is_asking = false;
    }

    /// A poll is due. `spread`: a random part of the interval, so that instances do not poll together.
    pub(super) fn poll<T>(&mut self, members: &BTreeMap<MemberId, T>, spread: f64, now: Timestamp) -> Wanted {
        self.at = now + POLL_INTERVAL.mul_f64(spread);
        self.count = self.count.wrapping_add(1);
        let has_lagged = std::mem::take(&mut self.has_lagged) && !self.tells();
        let reload_all = std::mem::take(&mut self.must_reload) || has_lagged;
        if reload_all {
            self.catch_up_after = now + POLL_INTERVAL;
        }
        let followed = self.followed.range(after(self.followed_up_to)).copied();
        let mut load = turn(followed, MAX_KEYS_IN_POLL, &mut self.followed_up_to);
        let more = match self.feed {
            Feed::Lost | Feed::Unsupported => MAX_KEYS_IN_POLL,
            Feed::From(_) if now >= self.reread_at => {
                let loads = u32::try_from(members.len().div_ceil(MAX_KEYS_IN_LOAD)).unwrap_or(u32::MAX);
                // From when it was due, not from when a poll came to it, or a turn of many would take longer.
                self.reread_at = now.max(self.reread_at + REREAD_INTERVAL / loads.max(1));
                MAX_KEYS_IN_LOAD
            }
            Feed::Unknown | Feed::From(_) => 0,
        };
        if more > 0 {
            load.extend(self.reread(members, more));
        }
        let changes = self.followed.len() < members.len() || !self.tells();
        Wanted { reload_all, load, changes }
    }

    /// Whether the store is known to tell what changed.
    const fn tells(&self) -> bool {
        matches!(self.feed, Feed::From(_))
    }

    /// The records that come next in their turn.
    fn reread<T>(&mut self, members: &BTreeMap<MemberId, T>, most: usize) -> Vec<MemberId> {
        let next = members.range(after(self.reread_up_to)).map(|(id, _)| *id);
        turn(next, most, &mut self.reread_up_to)
    }

    /// The store has said what changed. Returns whether all replicas are to load.
    pub(super) fn hear(&mut self, changes: &Changes, now: Timestamp) -> bool {
        self.is_asking = false;
        let (is_restart, cursor) = match changes {
            Changes::Unsupported => {
                self.feed = Feed::Unsupported;
                return false;
            }
            Changes::Restart { cursor } => (true, cursor),
            Changes::Since { cursor, .. } => (false, cursor),
        };
        // Before the first answer nothing was loaded that could be old.
        let was_unknown = self.is_unknown();
        self.feed = Feed::From(cursor.clone());
        let reload_all = is_restart && !was_unknown;
        reload_all && self.at_once(now, |polls| polls.must_reload = true)
    }

    /// The store could not say what changed: which records are loaded instead, this time.
    pub(super) fn hear_nothing<T>(&mut self, members: &BTreeMap<MemberId, T>) -> Vec<MemberId> {
        self.is_asking = false;
        if self.is_unknown() {
            self.feed = Feed::Lost;
            return Vec::new();
        }
        // From a cursor it goes on later.
        self.reread(members, MAX_KEYS_IN_POLL)
    }

    /// Notices were missed. Returns whether all replicas are to load: where the store tells what changed, it is asked
    /// at once.
    pub(super) fn catch_up(&mut self, now: Timestamp) -> bool {
        // The next poll does it: a notice that no store can read costs no more than that, however many there are.
        let is_due = self.at_once(now, |polls| polls.has_lagged = true);
        if is_due && self.tells() {
            self.at = now;
        }
        is_due && !self.tells()
    }

    /// Whether something as large as that may be done now: once a second, or else with the next poll.
    fn at_once(&mut self, now: Timestamp, later: impl FnOnce(&mut Self)) -> bool {
        let may = now >= self.catch_up_after;
        if may {
            self.catch_up_after = now + POLL_INTERVAL;
        } else {
            later(self);
        }
        may
    }
}

/// The ids after one, or all.
fn after(id: Option<MemberId>) -> (Bound<MemberId>, Bound<MemberId>) {
    (id.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// The next of them, at most so many; where there may be more, the next turn begins after these.
fn turn(ids: impl Iterator<Item = MemberId>, most: usize, up_to: &mut Option<MemberId>) -> Vec<MemberId> {
    let ids: Vec<_> = ids.take(most).collect();
    *up_to = ids.last().copied().filter(|_| ids.len() == most);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn members(count: u64) -> BTreeMap<MemberId, ()> {
        (0..count).map(|id| (MemberId(id), ())).collect()
    }

    fn after_seconds(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    /// Polls of a store that tells what changed.
    fn telling() -> Polls {
        let mut polls = Polls::new(START);
        assert_eq!(polls.ask(), Some(None));
        assert!(!polls.hear(&Changes::restart("1".into()), START), "nothing was loaded before");
        polls
    }

    #[test]
    fn each_record_is_read_once_a_minute_however_many_there_are() {
        for count in [1, 256, 1_000, 10_000] {
            let (mut polls, members) = (telling(), members(count));
            let mut read = vec![0; usize::try_from(count).unwrap()];
            for second in 1..=180 {
                let wanted = polls.poll(&members, 1.0, after_seconds(second));
                assert!(wanted.load.len() <= MAX_KEYS_IN_LOAD && wanted.changes && !wanted.reload_all);
                wanted.load.iter().for_each(|id| read[usize::try_from(id.0).unwrap()] += 1);
            }
            assert!(read.iter().all(|times| (2..=4).contains(times)), "{count}: {:?}", read.iter().max());
        }
    }

    #[test]
    fn the_followed_are_read_in_each_poll_and_of_very_many_a_part() {
        let (mut polls, members) = (telling(), members(3_000));
        (0..2_000).for_each(|id| polls.follow(MemberId(id), true));
        let mut read = vec![0; 3_000];
        for second in 1..=4 {
            let wanted = polls.poll(&members, 1.0, after_seconds(second));
            wanted.load.iter().for_each(|id| read[usize::try_from(id.0).unwrap()] += 1);
        }
        assert!(read[..2_000].iter().all(|times| *times == 2), "in every second poll");
        assert!(read[2_000..].iter().all(|times| *times == 0));
    }

    #[test]
    fn a_store_that_cannot_tell_is_asked_for_all_and_one_that_lost_its_place_once() {
        let (mut polls, members) = (Polls::new(START), members(2_000));
        polls.ask();
        polls.hear(&Changes::Unsupported, START);
        assert_eq!(polls.ask(), None);
        let read: Vec<_> = (1..=2).flat_map(|s| polls.poll(&members, 1.0, after_seconds(s)).load).collect();
        assert_eq!(read.len(), 2_000);

        let mut polls = telling();
        polls.ask();
        assert!(polls.hear(&Changes::restart("2".into()), after_seconds(5)), "all is to be loaded");
        polls.ask();
        assert!(!polls.hear(&Changes::restart("3".into()), after_seconds(5)), "but not again at once");
        assert!(polls.poll(&members, 1.0, after_seconds(6)).reload_all, "with the next poll");
    }

    #[test]
    fn what_was_missed_is_asked_for_at_once_and_once_a_second() {
        let mut polls = telling();
        let now = after_seconds(10);
        for nth in 0..100 {
            assert!(!polls.catch_up(now), "the store tells what it was");
            assert_eq!(polls.at(), if nth == 0 { now } else { polls.at() });
        }
        assert!(!polls.poll(&members(1), 1.0, now).reload_all);
        let mut lost = Polls::new(START);
        lost.ask();
        assert!(lost.hear_nothing(&members(1)).is_empty());
        assert!(lost.catch_up(now) && !lost.catch_up(now));
        assert!(lost.poll(&members(1), 1.0, now).reload_all, "the second one, with the poll");
    }
}
