//! What the notices of a store make an instance do: load, or tell early. Who can send one decides nothing by it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::store::Version;
use crate::time::Timestamp;

/// What this instance knows of notices: whether its own come back, and what the newest ask for. Times are by the engine's
/// clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Push {
    /// The versions of records with a notice of this instance's of which it has not heard, the oldest first, and when
    /// it wrote them.
    sent: VecDeque<(Version, Timestamp)>,
    /// What the newest notices were about: one may come before the answer to the commit that caused it.
    heard: VecDeque<Version>,
    /// A record that is to be loaded: this version, or a later one.
    to_load: Option<Version>,
    /// When notices have last made this instance load.
    loaded: VecDeque<Timestamp>,
    /// All are asked what they have seen, a notice says.
    pub(super) asked: Option<Asked>,
    /// There is trouble, a notice says, that the record of which this instance knows does not have.
    pub(super) tells_of_trouble: bool,
}

/// A suspicion of which a notice tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) number: u64,
    /// By the store's clock.
    pub(super) cut: Timestamp,
    pub(super) answer_at: Timestamp,
}

/// A notice that takes longer than this does not come.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// However many notices come, they make an instance load no more than so many times..
const LOADS: usize = 4;
/// .. in this time.
const LOADS_WITHIN: Duration = Duration::from_millis(400);
/// Notices of its own, and of all, that an instance remembers.
const REMEMBERED: usize = 16;

impl Push {
    /// This instance has caused a notice, of which it may have heard before it heard so.
    pub(super) fn note_sent(&mut self, version: Version, now: Timestamp) {
        if self.heard.contains(&version) {
            self.sent.clear();
            return;
        }
        self.sent.push_back((version, now));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
    }

    /// A notice has come. Its version tells whether it is one of this instance's: no other instance knows it before.
    pub(super) fn note_heard(&mut self, version: Version) {
        if let Some(own) = self.sent.iter().position(|(sent, _)| *sent == version) {
            self.sent.drain(..=own);
        }
        self.heard.push_back(version);
        if self.heard.len() > REMEMBERED {
            self.heard.pop_front();
        }
    }

    /// Tells whether notices come: none of its own has been on its way for longer than one takes.
    pub(super) fn is_likely(&self, now: Timestamp) -> bool {
        self.sent.front().is_none_or(|(_, at)| now.since(*at) < ON_ITS_WAY)
    }

    /// Tells whether this instance has heard all the notices that it has caused.
    pub(super) fn is_heard(&self) -> bool {
        self.sent.is_empty()
    }

    /// A notice tells of a record of this version, or of what only a record can tell.
    pub(super) fn ask_to_load(&mut self, version: Version) {
        self.to_load = self.to_load.max(Some(version));
    }

    /// When a load is due that notices ask for.
    pub(super) fn load_at(&self) -> Option<Timestamp> {
        let oldest = self.loaded.front().filter(|_| self.loaded.len() == LOADS);
        self.to_load.map(|_| oldest.map_or(Timestamp::ZERO, |at| *at + LOADS_WITHIN))
    }

    /// The store is asked for the record, at `now`.
    pub(super) fn note_load(&mut self, now: Timestamp) {
        if self.to_load.take().is_some() {
            self.loaded.push_back(now);
            if self.loaded.len() > LOADS {
                self.loaded.pop_front();
            }
        }
    }

    /// The record is known as of this version.
    pub(super) fn note_known(&mut self, version: Version) {
        self.to_load = self.to_load.filter(|asked| *asked > version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn only_its_own_notices_show_that_they_come() {
        let mut push = Push::default();
        push.note_sent(Version(5), at(0));
        assert!(push.is_likely(at(99)) && !push.is_heard());
        for version in [4, 6, 7, u64::MAX] {
            push.note_heard(Version(version));
            assert!(!push.is_heard(), "{version} is of another");
        }
        assert!(!push.is_likely(at(100)));
        push.note_sent(Version(9), at(50));
        push.note_heard(Version(9));
        assert!(push.is_heard() && push.is_likely(at(10_000)), "a later one of its own shows it as well");
    }

    #[test]
    fn a_notice_may_come_before_the_answer_to_the_commit_that_caused_it() {
        let mut push = Push::default();
        push.note_heard(Version(5));
        push.note_sent(Version(5), at(0));
        assert!(push.is_heard());
        (10..40).for_each(|version| push.note_heard(Version(version)));
        push.note_sent(Version(10), at(0));
        assert!(!push.is_heard(), "what is long ago is forgotten, and it is not taken for heard");
    }

    #[test]
    fn however_many_come_they_make_it_load_four_times_in_400_ms() {
        let (mut push, mut loads) = (Push::default(), 0);
        for ms in 0..1_000 {
            push.ask_to_load(Version(ms));
            if push.load_at().is_some_and(|due| due <= at(ms)) {
                push.note_load(at(ms));
                loads += 1;
            }
        }
        assert_eq!(loads, 12);
        push.ask_to_load(Version(5));
        push.note_known(Version(4));
        assert!(push.load_at().is_some());
        push.note_known(Version(2_000));
        assert!(push.load_at().is_none(), "what is known need not be loaded");
    }
}
