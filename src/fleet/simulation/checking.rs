//! What must hold after every step.
#![expect(clippy::panic, reason = "a broken promise must be told")]

use std::time::Duration;

use super::checks::Probe;
use super::event::{At, S, name};
use super::history::{Said, Truth};
use super::member::Seen;
use super::network::Network;
use super::world::World;
use crate::backoff::mix;
use crate::circuit::{Advice, Fact, FleetFact, Generation, Origin, State, TransitionReason};
use crate::replica::{FleetStatus, Record};
use crate::time::{Timestamp, nanos};

/// Records fit everywhere.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Leases that an instance gave itself.
const OWN: u32 = 1 << 31;

fn digest(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, byte| mix(hash ^ u64::from(*byte)))
}

impl World {
    /// A call goes out as a probe.
    pub(super) fn probing(&mut self, at: usize, key: usize, call: u64, lease: u32) {
        let member = self.instances[at].members[key].clone();
        let (now, wipes) = (self.now, self.checks.wipes);
        let (is_led, own) = (member.is_led(), member.generation());
        let fleet = member.status().generation.filter(|_| is_led);
        let deadline = member.deadline_of(lease).filter(|_| is_led);
        if is_led {
            assert!(lease & OWN == 0, "{at}/{key} probes with a lease of its own while the fleet decides");
            assert!(deadline.is_some(), "{at}/{key} probes with a lease {lease} that it was never given");
        }
        assert!(is_led || lease & OWN != 0, "{at}/{key} probes on its own with a lease {lease} of the fleet's");
        let until = match deadline.filter(|deadline| *deadline < Timestamp::MAX) {
            Some(deadline) => now + self.until_store_time(deadline),
            // Its time begins with this call.
            None => now + nanos(self.setup.deadline),
        };
        // An instance that was told so a moment ago may be so much late.
        assert!(
            until > now
                || !is_led
                || deadline
                    .is_some_and(|deadline| { self.store_time().since(deadline) <= Duration::from_millis(1_100) }),
            "{at}/{key} uses lease {lease} long after it ran out"
        );
        self.checks.probes.insert(call, Probe { instance: at, key, fleet, own, wipes, until, lease });
        self.checks.probes.retain(|_, probe| probe.until > now);
        let limit = self.setup.concurrent;
        let alike = |probe: &&Probe| match fleet {
            Some(_) => probe.fleet == fleet && probe.wipes == wipes,
            None => probe.fleet.is_none() && probe.instance == at && probe.own == own,
        };
        let live: Vec<_> = self.checks.probes.values().filter(|probe| probe.key == key).filter(alike).collect();
        let count = u32::try_from(live.len()).unwrap_or(u32::MAX);
        let excused = fleet.is_some() && wipes > 0;
        assert!(count <= limit || excused, "{count} probes on their way at once: {live:?}");
        self.checks.most_probes = self.checks.most_probes.max(count);
    }

    /// Looks at an instance to which something happened.
    pub(super) fn check(&mut self, at: usize) {
        let instance = &self.instances[at];
        let members = instance.members.clone();
        for (key, member) in members.iter().enumerate() {
            for seen in member.take_seen() {
                self.check_seen(at, key, &seen);
            }
            let FleetStatus { generation: fleet, forgotten, .. } = member.status();
            let known = self.checks.fleet[at][key];
            assert!(fleet >= known, "{at}/{key} goes back from generation {known:?} to {fleet:?}");
            self.checks.fleet[at][key] = fleet;
            let own = member.generation();
            assert!(own >= self.checks.own[at][key], "{at}/{key}: its own generation goes back");
            self.checks.own[at][key] = own;
            if forgotten > self.checks.forgotten[at][key] {
                self.checks.forgot_at[key] = Some(self.now);
            }
            self.checks.forgotten[at][key] = forgotten;
            // A clock that a test moves may leap while an answer is on its way.
            if let (Some((store, error)), None) = (member.store_clock(), self.stopped) {
                let off = store.since(self.store_time()).max(self.store_time().since(store));
                assert!(off <= error, "{at}/{key} is off by {off:?} and says {error:?}");
            }
        }
    }

    fn check_seen(&mut self, at: usize, key: usize, seen: &Seen) {
        self.note(|| format!("{at}/{key} {seen:?}"));
        if let (Some(facts), Seen::Fact(fact)) = (&mut self.checks.facts, seen) {
            facts.push(*fact);
        }
        match seen {
            Seen::Fact(Fact::Fleet(FleetFact::Advised(Advice::ShortWindow { .. }))) => self.checks.short_windows += 1,
            Seen::Fact(Fact::Transition(transition)) => {
                self.checks.transitions += 1;
                if transition.to != State::HalfOpen {
                    self.checks.recovering.begin(key, at);
                }
                let what = format!("{} {at}/{key} {transition:?}", self.now);
                self.checks.digest.transitions = digest(self.checks.digest.transitions, what.as_bytes());
                if let Some(fleet) = transition.fleet
                    && transition.origin == Origin::Decided
                {
                    self.checks.decisions += 1;
                    let me = (at, self.checks.lives[at]);
                    let other = self.checks.decided.insert((key, fleet.get()), me);
                    // An instance that had not heard of a generation when it was lost may decide it again.
                    let was_lost = self.checks.wipes > 0 && self.now < self.checks.wiped_at + 65 * S;
                    assert!(other.is_none() || was_lost, "{at}/{key} decided {fleet}, as did {other:?}");
                }
                if transition.fleet.is_none() && transition.to == State::Open {
                    let until = self.instances[at].members[key].left().map_or(At::MAX, |left| self.now + left);
                    self.checks.tripped[key].push((at, self.now, until));
                }
            }
            Seen::Fact(Fact::DetectorPanicked) => panic!("{at}/{key}: the detector panicked"),
            Seen::Fact(Fact::Fleet(news)) => {
                assert!(*news != FleetFact::RecordUnreadable, "{at}/{key} cannot read the record");
                // An instance that stood still, was slow or had nothing to say has missed nothing.
                let is_deaf = self.instances[at].missed >= 3;
                assert!(*news != FleetFact::StoreImpaired || is_deaf, "{at}/{key} hears, and says that it does not");
            }
            Seen::Fact(Fact::WouldOpen(_)) => {}
            Seen::StaleClose(open, closed) => {
                panic!("{at}/{key}: open of generation {open}, not over, is closed by an older closed, {closed}")
            }
        }
    }

    /// Looks at what the store has after a write.
    pub(super) fn check_store(&mut self, key: &str) {
        let stored = self.network.peek(key);
        if stored.record.is_empty() {
            return;
        }
        assert!(stored.record.len() <= MAX_BYTES, "a record of {} bytes", stored.record.len());
        self.checks.most_bytes = self.checks.most_bytes.max(stored.record.len());
        self.checks.digest.records = digest(self.checks.digest.records, &stored.record);
        let before = self.checks.records.get(key);
        if before.is_some_and(|(version, _)| *version == stored.version) {
            return;
        }
        let record = match Record::load(&stored.record) {
            Ok(record) => record,
            Err(error) => panic!("the record of {key} cannot be read: {error}"),
        };
        let known = before.map(|(_, before)| (before.generation(), before.state()));
        if let Some((version, before)) = before {
            assert!(*version < stored.version, "versions grow");
            self.check_change(key, before, &record);
        }
        if known.is_none_or(|(generation, _)| generation < record.generation()) {
            let was_closed = known.is_none_or(|(_, state)| state == State::Closed);
            self.check_verdict(key, was_closed, &record);
        }
        self.note(|| {
            let failures = record.failures();
            let asks = record.suspicions();
            let asks: String = asks.map(|asked| format!(", asks {asked:?}")).collect();
            format!(
                "{key} is {:?} g{} by {:x}, {failures} failures{asks}",
                record.state(),
                record.generation(),
                record.decider
            )
        });
        self.checks.records.insert(key.to_owned(), (stored.version, record));
    }

    fn check_change(&self, key: &str, before: &Record, after: &Record) {
        let (old, new) = (before.generation(), after.generation());
        assert!(old <= new, "{key} goes back from generation {old} to {new}");
        if old == new {
            let same = |record: &Record| (record.state(), record.decider, record.machine.since, record.is_held());
            assert_eq!(same(before), same(after), "{key} changes within generation {old}");
            return;
        }
        let is_over = before.until().is_some_and(|until| until <= self.store_time());
        let reason = after.machine.history().reason;
        let commanded = matches!(
            reason,
            Some(
                TransitionReason::Reset
                    | TransitionReason::Resumed
                    | TransitionReason::Overridden
                    | TransitionReason::OverrideExpired
            )
        );
        // Where the store lost data, the first writer may have known less than another one; but what is newer than its
        // closed state stays.
        let was_lost = self.checks.wipes > 0;
        let is_news = was_lost && (after.machine.since >= before.machine.since || after.state() == State::HalfOpen);
        if before.state() == State::Open && !is_over && after.state() != State::Open {
            assert!(commanded || is_news, "{key} is open and not over, and becomes {:?}: {reason:?}", after.state());
        }
        // What was there before a wipe, and is written again, was judged then.
        let is_new = after.machine.since > Network::store_time(self.checks.wiped_at);
        if let Some(TransitionReason::Voted(votes)) = reason
            && is_new
            && after.state() == State::Open
        {
            self.check_votes(key, votes);
        }
    }

    /// The circuit has opened, or closed: an opening is justified by the calls of the instances that it says were heard.
    fn check_verdict(&mut self, key: &str, was_closed: bool, record: &Record) {
        let place = (0..self.setup.keys).find(|at| name(*at) == key).unwrap_or(0);
        let reason = record.machine.history().reason;
        if let (State::Open, true, Some(TransitionReason::Detected(_)), Some(at), None) =
            (record.state(), was_closed, reason, record.verdict_at(), self.setup.detector)
        {
            // Calls that were told and lost are in no evidence.
            let is_past = |then: At| then + 60 * S < self.now;
            let is_whole = (self.checks.wipes == 0 || is_past(self.checks.wiped_at))
                && self.checks.forgot_at[place].is_none_or(is_past);
            let moment = nanos(at.since(Network::store_time(0)));
            let before = self.checks.records.get(key).map_or(Duration::ZERO, |(_, before)| before.clock_error());
            let clock_error = before.max(record.clock_error());
            let said = Said { moment, heard: record.verdict_heard(), clock_error };
            let truth = self.checks.histories[place].truth(self.setup.rule, said);
            assert!(truth != Truth::NotMet || !is_whole, "{key} opens for what did not happen: {said:?}, {record:?}");
            let (found_true, unknown) = &mut self.checks.verdicts;
            *(if truth == Truth::Met { found_true } else { unknown }) += 1;
        }
        // The first record that there is tells of calls from before it.
        if record.state() == State::Closed && record.generation() != Generation::new(1) {
            self.checks.histories[place].begin();
        }
    }

    fn check_votes(&self, key: &str, votes: u32) {
        let quorum = self.setup.votes.unwrap_or(0);
        assert!(votes >= quorum, "{votes} votes opened {key}, it takes {quorum}");
        let place = (0..self.setup.keys).find(|at| name(*at) == key).unwrap_or(0);
        // A vote may be on its way for a while.
        let live = |(_, _, until): &&(usize, At, At)| until.saturating_add(5 * S) >= self.now;
        let mut voters: Vec<_> = self.checks.tripped[place].iter().filter(live).map(|(who, _, _)| *who).collect();
        voters.sort_unstable();
        voters.dedup();
        assert!(voters.len() >= quorum as usize, "{key} is open by votes, but only {voters:?} have tripped");
    }

    /// With nothing on its way, every instance is where the record is.
    pub(super) fn check_agreement(&self) {
        for key in 0..self.setup.keys {
            let Some(record) = self.checks.record(&name(key)) else {
                continue;
            };
            for (at, instance) in self.instances.iter().enumerate().filter(|(_, instance)| instance.alive) {
                let status = instance.members[key].status();
                assert_eq!(status.generation, Some(record.generation()), "{at}/{key} does not know the newest");
                assert!(status.away.is_none(), "{at}/{key}: {status:?}");
                if self.setup.votes.is_none() || record.state() != State::Closed {
                    assert_eq!(instance.members[key].state(), record.state(), "{at}/{key} differs from the record");
                }
            }
        }
    }

    /// The failures of the record are those of the batches that the store took, and no instance was told otherwise.
    pub(super) fn check_books(&self) {
        let taken: u64 = self.taken_in.iter().filter_map(|id| self.batches.get(id)).sum();
        let held: u64 = (0..self.setup.keys)
            .filter_map(|key| self.checks.record(&name(key)))
            .map(|r| u64::from(r.failures()))
            .sum();
        assert_eq!(held, taken, "failures in the record, failures the store took");
        let books = self.instances.iter().flat_map(|instance| &instance.members).map(|member| member.books());
        let told: u64 = books.map(|books| books.accepted).sum();
        assert!(told <= taken, "{told} failures were said to be taken, {taken} were");
        if self.setup.troubles.crashes > 0 {
            return;
        }
        for (at, instance) in self.instances.iter().enumerate() {
            for (member, failed) in instance.members.iter().zip(&instance.failed) {
                let (books, status) = (member.books(), member.status());
                let known = books.accepted + books.unsure + status.waiting;
                assert_eq!(known, *failed, "{at}: {books:?}, {status:?}");
            }
        }
    }
}
