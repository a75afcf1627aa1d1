//! Whether the store answers.

use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;
use crate::store::StoreTrouble;
use crate::time::Timestamp;

/// Whether the store is there, and when to look whether it is.
///
/// One operation that fails says nothing of the store: what it was about may be the matter. So the keys of others are
/// asked for in a *ping*, and only where nothing gets through for any of them is the store away.
#[derive(Debug)]
pub(super) struct StoreHealth {
    /// Which store, in its own words.
    store: Arc<str>,
    has_answered: bool,
    /// When it last answered, or was first there to be asked.
    heard_at: Timestamp,
    /// An operation has failed, and none has shown since that the store is there.
    doubt: Option<Doubt>,
    down: Option<Down>,
}

/// Whether the store is there is to be seen.
#[derive(Debug)]
struct Doubt {
    /// Pings that failed so far.
    pings: u32,
    ping_at: Timestamp,
}

/// What is known of a store that is away.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) outage: Arc<StoreTrouble>,
    tries: u32,
    /// When to look whether it is back.
    pub(super) retry_at: Timestamp,
}

/// A store that says nothing is away after that time.
const SILENCE: Duration = Duration::from_secs(3);
/// Before the first answer, the connection may still be being made: so many pings may fail at once.
const PINGS_AT_FIRST: u32 = 2;
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// How long it takes, at most, until the engine looks again.
const MAX_RETRY: Duration = Duration::from_secs(2);

/// What an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Degraded,
    Recovered,
}

/// Tells whether an error shows that the store is there: it is about one key, or about this moment.
pub(super) const fn is_there(error: &StoreError) -> bool {
    match error {
        StoreError::Busy(_) | StoreError::Foreign { .. } | StoreError::TooLarge { .. } => true,
        StoreError::Unavailable { .. } | StoreError::Refused(_) => false,
    }
}

impl StoreHealth {
    pub(super) const fn new(store: Arc<str>, now: Timestamp) -> Self {
        Self { store, has_answered: false, heard_at: now, doubt: None, down: None }
    }

    /// When it last answered, or was first there to be asked.
    pub(super) const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    /// Which store, in its own words.
    pub(super) const fn store(&self) -> &Arc<str> {
        &self.store
    }

    pub(super) const fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub(super) const fn down(&self) -> Option<&Down> {
        self.down.as_ref()
    }

    pub(super) fn retry_now(&mut self, now: Timestamp) {
        if let Some(down) = &mut self.down {
            down.retry_at = now;
        }
    }

    /// When to ask for the keys of all to see whether the store is there, unless it is known to be away.
    pub(super) fn ping_at(&self) -> Option<Timestamp> {
        self.doubt.as_ref().filter(|_| self.down.is_none()).map(|doubt| doubt.ping_at)
    }

    /// It has answered something.
    pub(super) fn answered(&mut self, now: Timestamp) -> Change {
        self.has_answered = true;
        self.heard_at = now;
        self.doubt = None;
        if self.down.take().is_some() { Change::Recovered } else { Change::Nothing }
    }

    /// An operation on one key has failed.
    pub(super) fn doubted(&mut self, now: Timestamp) {
        self.doubt.get_or_insert(Doubt { pings: 0, ping_at: now });
    }

    /// What was asked of all has failed for all. `draw`: a random number from 0 up to 1, so that the instances of a fleet do
    /// not come back together.
    pub(super) fn ping_failed(&mut self, error: &StoreError, now: Timestamp, draw: f64) -> Change {
        let tries = self.down.as_ref().map_or(0, |down| down.tries.saturating_add(1));
        let is_silent = matches!(error, StoreError::Unavailable { maybe: true, .. });
        let doubt = self.doubt.get_or_insert(Doubt { pings: 0, ping_at: now });
        doubt.pings = doubt.pings.saturating_add(1);
        doubt.ping_at = now + FIRST_RETRY;
        let is_early = doubt.pings <= PINGS_AT_FIRST && !self.has_answered;
        if self.down.is_none() && now.since(self.heard_at) < SILENCE && (is_silent || is_early) {
            return Change::Nothing;
        }
        let most = (FIRST_RETRY * (1 << tries.min(10))).min(MAX_RETRY);
        let retry_at = now + most.mul_f64(draw);
        if let Some(down) = &mut self.down {
            (down.tries, down.retry_at) = (tries, retry_at);
            return Change::Nothing;
        }
        let outage = Arc::new(StoreTrouble::new(self.store.clone(), error.explain().into()));
        self.down = Some(Down { outage, tries, retry_at });
        Change::Degraded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn after(millis: u64) -> Timestamp {
        START + Duration::from_millis(millis)
    }

    fn answered() -> StoreHealth {
        let mut health = StoreHealth::new("the attic".into(), START);
        assert_eq!(health.answered(START), Change::Nothing);
        health
    }

    #[test]
    fn one_operation_that_fails_is_no_outage() {
        let mut health = answered();
        health.doubted(after(10));
        assert_eq!((health.ping_at(), health.is_down()), (Some(after(10)), false));
        assert_eq!(health.answered(after(11)), Change::Nothing, "the ping has come back");
        assert_eq!(health.ping_at(), None);
    }

    #[test]
    fn a_store_that_refuses_all_is_away_at_once_and_told_of_once() {
        for error in [StoreError::unreachable("connection refused"), StoreError::refused("wrong password")] {
            let mut health = answered();
            health.doubted(after(10));
            assert_eq!(health.ping_failed(&error, after(11), 0.5), Change::Degraded);
            assert_eq!(health.ping_failed(&error, after(200), 0.5), Change::Nothing);
            let told = health.down().unwrap().outage.to_string();
            assert!(told.starts_with("the attic: ") && told.contains(&error.to_string()), "{told}");
            assert_eq!(health.answered(after(300)), Change::Recovered);
        }
    }

    #[test]
    fn a_store_that_says_nothing_is_away_after_three_seconds() {
        let mut health = answered();
        let silent = StoreError::no_answer("late");
        health.doubted(after(1_000));
        assert_eq!(health.ping_failed(&silent, after(2_000), 0.5), Change::Nothing);
        assert_eq!(health.ping_at(), Some(after(2_100)));
        assert_eq!(health.ping_failed(&silent, after(2_999), 0.5), Change::Nothing);
        assert_eq!(health.ping_failed(&silent, after(3_000), 0.5), Change::Degraded);
        assert_eq!(health.ping_at(), None, "from now on it is looked whether it is back");
    }

    #[test]
    fn a_connection_may_take_some_tries_to_be_made() {
        let mut health = StoreHealth::new("the attic".into(), START);
        let away = StoreError::unreachable("not connected yet");
        assert_eq!(health.ping_failed(&away, START, 0.5), Change::Nothing);
        assert_eq!(health.ping_failed(&away, after(100), 0.5), Change::Nothing);
        assert_eq!(health.ping_failed(&away, after(200), 0.5), Change::Degraded);
    }

    #[test]
    fn it_is_looked_again_within_two_seconds_however_long_the_store_is_away() {
        let mut health = answered();
        let away = StoreError::refused("wrong password");
        let mut now = after(10);
        for _ in 0..50 {
            health.ping_failed(&away, now, 0.999);
            let retry_at = health.down().unwrap().retry_at;
            assert!(retry_at.since(now) <= MAX_RETRY);
            now = retry_at;
        }
    }
}
