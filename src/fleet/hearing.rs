//! Whether notices come at all. A commit with a notice is heard by all watchers, the writer too: an instance whose own
//! do not come back is deaf, whatever it was told when it began to listen.

use std::collections::VecDeque;
use std::sync::Arc;

use super::member::MemberId;
use crate::store::Version;
use crate::time::Timestamp;

/// What listeners are told of an instance that is deaf.
pub(super) const DEAF: &str = "notices of this instance's own commits do not come back, so it learns of changes by polls, up \
    to a second later. Where a pooler or a proxy stands before the server, let notices past it: `listen_url` of PostgresStore \
    names the server itself; what stands before Redis must pass SUBSCRIBE on to the server that takes the writes";

/// A notice that did not come for so many rounds does not come. A listener needs less to find out that its connection
/// is lost, and to make another.
const OVERDUE: u64 = 20;
/// So many rounds in a row must have had notices that did not come, or that came again.
const IN_A_ROW: u32 = 3;
/// Own notices that are waited for, at most.
const MOST_UNHEARD: usize = 128;
/// Notices of one key that may come before the answer to the commit that caused one of them.
const MOST_EARLY: usize = 64;

/// What has become of this instance's own notices.
///
/// Times are counted in rounds: polls between which the store has answered something. Neither a process that stands
/// still nor a store that says nothing makes a notice late.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    round: u64,
    /// When the store had last answered at the last round.
    answered_at: Timestamp,
    /// The store never tells of anything.
    is_mute: bool,
    /// Commits with a notice that the store has not answered yet.
    asked: Vec<Asked>,
    /// Notices that have not come, the oldest first.
    unheard: VecDeque<Own>,
    is_deaf: bool,
    /// How many rounds in a row had notices that came, and the last of them.
    heard: (u32, u64),
}

#[derive(Debug)]
struct Asked {
    id: MemberId,
    key: Arc<str>,
    /// A notice may come before the answer to its commit.
    early: Vec<Version>,
}

#[derive(Debug)]
struct Own {
    key: Arc<str>,
    version: Version,
    round: u64,
}

/// What has become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Deaf,
    Hears,
}

impl Hearing {
    /// The store never tells of anything, and says so.
    pub(super) fn expect_nothing(&mut self) {
        self.is_mute = true;
    }

    /// The store is asked for a commit with a notice.
    pub(super) fn ask(&mut self, id: MemberId, key: &Arc<str>) {
        self.asked.retain(|asked| asked.id != id);
        if !self.is_mute {
            self.asked.push(Asked { id, key: Arc::clone(key), early: Vec::new() });
        }
    }

    /// It has answered: it has written this version, or nothing that is known.
    pub(super) fn answer(&mut self, id: MemberId, written: Option<Version>) {
        let Some(at) = self.asked.iter().position(|asked| asked.id == id) else {
            return;
        };
        let Asked { key, early, .. } = self.asked.swap_remove(at);
        let Some(version) = written else {
            return;
        };
        if early.contains(&version) {
            self.unheard.clear();
            self.hear();
        } else if early.len() < MOST_EARLY && self.unheard.len() < MOST_UNHEARD {
            self.unheard.push_back(Own { key, version, round: self.round });
        }
    }

    /// A notice has come.
    pub(super) fn notice(&mut self, key: &str, version: Version) {
        for asked in self.asked.iter_mut().filter(|asked| &*asked.key == key && asked.early.len() < MOST_EARLY) {
            asked.early.push(version);
        }
        if let Some(own) = self.unheard.iter().position(|own| own.version == version && &*own.key == key) {
            self.unheard.drain(..=own);
            self.hear();
        }
    }

    fn hear(&mut self) {
        let (rounds, last) = self.heard;
        if rounds == 0 || last != self.round {
            self.heard = (rounds.saturating_add(1), self.round);
        }
    }

    /// Notices were missed, or may be: those that have not come say nothing.
    pub(super) fn miss(&mut self) {
        self.asked.clear();
        self.unheard.clear();
    }

    /// Once a second. `answered_at`: when the store last answered; `is_explained`: the store itself has said what is wrong.
    pub(super) fn look(&mut self, answered_at: Timestamp, is_explained: bool) -> Option<Change> {
        if std::mem::replace(&mut self.answered_at, answered_at) == answered_at {
            return None;
        }
        self.round += 1;
        let is_overdue = |own: &&Own| own.round + OVERDUE <= self.round;
        let mut rounds: Vec<_> = self.unheard.iter().take_while(is_overdue).map(|own| own.round).collect();
        let overdue = rounds.len();
        rounds.dedup();
        if self.is_deaf || is_explained {
            self.unheard.drain(..overdue);
        }
        if overdue > 0 {
            self.heard.0 = 0;
        }
        let has_changed = match self.is_deaf {
            true => self.heard.0 >= IN_A_ROW,
            false => rounds.len() >= IN_A_ROW as usize && !is_explained,
        };
        if !has_changed {
            return None;
        }
        self.is_deaf = !self.is_deaf;
        self.heard.0 = 0;
        Some(if self.is_deaf { Change::Deaf } else { Change::Hears })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MemberId = MemberId(0);

    /// An instance, and the time of its engine in seconds.
    #[derive(Default)]
    struct Ear {
        hearing: Hearing,
        now: u64,
        version: u64,
        told: Vec<Change>,
    }

    impl Ear {
        /// So many seconds in which the store answers.
        fn wait(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.now += 1;
                let change = self.hearing.look(Timestamp::from_nanos(self.now), false);
                self.told.extend(change);
            }
        }

        fn write(&mut self) -> Version {
            self.version += 1;
            self.hearing.ask(ID, &"a".into());
            self.hearing.answer(ID, Some(Version(self.version)));
            Version(self.version)
        }

        fn write_and_hear(&mut self) {
            let version = self.write();
            self.hearing.notice("a", version);
        }
    }

    #[test]
    fn three_that_do_not_come_back_in_a_row_are_enough_and_told_once() {
        let mut ear = Ear::default();
        for _ in 0..3 {
            ear.write();
            ear.write();
            ear.wait(1);
        }
        ear.wait(OVERDUE - 2);
        assert_eq!(ear.told, []);
        ear.wait(1);
        assert_eq!(ear.told, [Change::Deaf], "the third has been on its way for {OVERDUE} rounds");
        for _ in 0..200 {
            ear.write();
            ear.wait(1);
        }
        assert_eq!(ear.told.len(), 1);
        // One that comes now and then, as through a pooler by chance, is no end.
        for _ in 0..5 {
            ear.write_and_hear();
            ear.write();
            ear.wait(OVERDUE + 1);
        }
        assert_eq!(ear.told.len(), 1);
        for _ in 0..3 {
            assert_eq!(ear.told.len(), 1);
            ear.write_and_hear();
            ear.wait(1);
        }
        assert_eq!(ear.told, [Change::Deaf, Change::Hears]);
    }

    #[test]
    fn one_that_comes_shows_that_those_before_it_were_lost_by_chance() {
        let mut ear = Ear::default();
        for _ in 0..100 {
            ear.write();
            ear.wait(1);
            ear.write();
            ear.wait(1);
            ear.write_and_hear();
            ear.wait(8);
        }
        // The notice of another instance shows nothing: it may be of another database.
        ear.hearing.notice("b", Version(ear.version));
        assert_eq!(ear.told, []);
    }

    #[test]
    fn a_burst_in_one_second_is_one_chance_to_be_heard() {
        let mut ear = Ear::default();
        for _ in 0..1_000 {
            ear.write();
        }
        ear.wait(1_000);
        assert_eq!(ear.told, []);
    }

    #[test]
    fn an_instance_that_writes_nothing_hears_nothing_and_that_is_well() {
        let mut ear = Ear::default();
        ear.wait(100_000);
        for _ in 0..3 {
            // What was not written, or lost a race, is told to none.
            ear.hearing.ask(ID, &"a".into());
            ear.hearing.answer(ID, None);
            ear.wait(100);
        }
        assert_eq!(ear.told, []);
    }

    #[test]
    fn a_process_that_stood_still_and_a_store_that_says_nothing_have_missed_nothing() {
        let mut ear = Ear::default();
        for _ in 0..3 {
            ear.write();
            ear.wait(1);
        }
        // An hour of polls without an answer: the store is slow, frozen or away.
        let last = Timestamp::from_nanos(ear.now);
        assert!((0..3_600).all(|_| ear.hearing.look(last, false).is_none()));
        // An hour in which the process did not run is one round.
        ear.now += 3_600;
        ear.wait(1);
        assert_eq!(ear.told, []);
        ear.hearing.notice("a", Version(3));
        ear.wait(1_000);
        assert_eq!(ear.told, [], "they came late");
    }

    #[test]
    fn a_notice_may_come_before_the_answer_to_its_commit() {
        let mut ear = Ear::default();
        for version in 1..=100 {
            ear.hearing.ask(ID, &"a".into());
            (0..20).for_each(|other| ear.hearing.notice("a", Version(1_000 + other)));
            ear.hearing.notice("a", Version(version));
            ear.hearing.answer(ID, Some(Version(version)));
            ear.wait(1);
        }
        // Where very many come meanwhile, its own may have been among them.
        for version in 101..=200 {
            ear.hearing.ask(ID, &"a".into());
            (0..200).for_each(|other| ear.hearing.notice("a", Version(1_000 + other)));
            ear.hearing.answer(ID, Some(Version(version)));
            ear.wait(1);
        }
        ear.wait(1_000);
        assert_eq!(ear.told, []);
    }

    #[test]
    fn what_the_store_has_said_itself_is_not_told_again() {
        let mut ear = Ear::default();
        for at in 0..100 {
            ear.write();
            assert_eq!(ear.hearing.look(Timestamp::from_nanos(at + 1), true), None);
        }
        ear.now = 100;
        ear.hearing.miss();
        ear.wait(1_000);
        assert_eq!(ear.told, []);
        let mut mute = Ear::default();
        mute.hearing.expect_nothing();
        for _ in 0..100 {
            mute.write();
            mute.wait(1);
        }
        assert_eq!(mute.told, [], "a store without notices");
    }
}
