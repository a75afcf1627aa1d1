//! What must hold after every step.
#![expect(clippy::panic, reason = "whoever breaks a promise is to be told")]

use std::collections::{BTreeMap, HashMap};

use super::seat::Seen;
use super::setup::Setup;
use super::wire::Network;
use super::world::{At, S, World, name};
use crate::backoff::mix;
use crate::circuit::{Fact, Generation, Origin, Record, State, TransitionReason};
use crate::fleet::member::News;
use crate::store::Version;

/// Records fit everywhere.
const MOST_BYTES: usize = 64 * 1024;
const OWN: u32 = 1 << 31;

/// What is known of the run so far.
pub(super) struct Checks {
    /// The newest record of each key, since the store was last wiped.
    records: HashMap<String, (Version, Record)>,
    /// Who said that it decided a generation of a key, since the store was last wiped.
    decided: HashMap<(usize, u64), (usize, u32)>,
    wipes: u32,
    wiped_at: At,
    /// The newest generation each instance was in, by key.
    fleet: Vec<Vec<Option<Generation>>>,
    own: Vec<Vec<Generation>>,
    lives: Vec<u32>,
    probes: BTreeMap<u64, Probe>,
    /// Local trips, by key: who, from when, until when.
    tripped: Vec<Vec<(usize, At, At)>>,
    pub(super) transitions: u64,
    pub(super) decisions: u64,
    pub(super) most_bytes: usize,
    pub(super) most_probes: u32,
    /// What happened when, as two numbers: the transitions of all instances, and the records that the store had.
    pub(super) digest: Digest,
}

/// Two runs with the same digest went the same way: what tells a change of shape from a change of behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) transitions: u64,
    pub(super) records: u64,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    instance: usize,
    key: usize,
    /// The fleet's generation; `None`: the instance was on its own.
    fleet: Option<Generation>,
    /// The instance's own.
    own: Generation,
    wipes: u32,
    until: At,
}

impl Checks {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            records: HashMap::new(),
            decided: HashMap::new(),
            wipes: 0,
            wiped_at: 0,
            fleet: vec![vec![None; setup.keys]; setup.instances],
            own: vec![vec![Generation::new(0); setup.keys]; setup.instances],
            lives: vec![0; setup.instances],
            probes: BTreeMap::new(),
            tripped: vec![Vec::new(); setup.keys],
            transitions: 0,
            decisions: 0,
            most_bytes: 0,
            most_probes: 0,
            digest: Digest::default(),
        }
    }

    pub(super) fn started(&mut self, at: usize) {
        self.lives[at] += 1;
        self.fleet[at].fill(None);
        self.own[at].fill(Generation::new(0));
    }

    pub(super) fn crashed(&mut self, at: usize) {
        // Its calls are gone; whether the dependency still works on them nobody knows, but the lease does.
        self.probes.retain(|_, probe| probe.instance != at || probe.fleet.is_some());
    }

    pub(super) fn wiped(&mut self, now: At) {
        self.wiped_at = now;
        self.records.clear();
        self.wipes += 1;
        self.decided.clear();
    }

    pub(super) fn probe_ended(&mut self, call: u64) {
        self.probes.remove(&call);
    }

    /// Instances with probes on their way.
    pub(super) fn probers(&self) -> impl Iterator<Item = usize> {
        self.probes.values().map(|probe| probe.instance)
    }

    pub(super) fn record(&self, key: &str) -> Option<&Record> {
        self.records.get(key).map(|(_, record)| record)
    }
}

fn digest(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, byte| mix(hash ^ u64::from(*byte)))
}

impl World {
    /// A call goes out as a probe.
    pub(super) fn probing(&mut self, at: usize, key: usize, call: u64, lease: u32) {
        let seat = self.instances[at].seats[key].clone();
        let (now, wipes) = (self.now, self.checks.wipes);
        let (is_led, own) = (seat.is_led(), seat.generation());
        let fleet = seat.status().generation.filter(|_| is_led);
        let deadline = seat.deadline_of(lease).filter(|_| is_led);
        if is_led {
            assert!(lease & OWN == 0, "{at}/{key} probes with a lease of its own while the fleet decides");
            assert!(deadline.is_some(), "{at}/{key} probes with a lease {lease} that it was never given");
        }
        assert!(is_led || lease & OWN != 0, "{at}/{key} probes on its own with a lease {lease} of the fleet's");
        let until = match deadline {
            Some(deadline) => now + self.until_store_time(deadline),
            None => now + crate::time::nanos(self.setup.deadline),
        };
        // Whoever was told so a moment ago may be so much late.
        assert!(
            until > now
                || !is_led
                || deadline.is_some_and(|deadline| {
                    Network::store_time(now).since(deadline) <= std::time::Duration::from_millis(1_100)
                }),
            "{at}/{key} uses lease {lease} long after it ran out"
        );
        self.checks.probes.insert(call, Probe { instance: at, key, fleet, own, wipes, until });
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
        let seats = instance.seats.clone();
        for (key, seat) in seats.iter().enumerate() {
            for seen in seat.take_seen() {
                self.check_seen(at, key, &seen);
            }
            let fleet = seat.status().generation;
            let known = self.checks.fleet[at][key];
            assert!(fleet >= known, "{at}/{key} goes back from generation {known:?} to {fleet:?}");
            self.checks.fleet[at][key] = fleet;
            let own = seat.generation();
            assert!(own >= self.checks.own[at][key], "{at}/{key}: its own generation goes back");
            self.checks.own[at][key] = own;
            assert!(seat.books().largest <= MOST_BYTES, "a batch of {} bytes", seat.books().largest);
        }
    }

    fn check_seen(&mut self, at: usize, key: usize, seen: &Seen) {
        self.note(|| format!("{at}/{key} {seen:?}"));
        match seen {
            Seen::Fact(Fact::Transition(transition)) => {
                self.checks.transitions += 1;
                let what = format!("{} {at}/{key} {transition:?}", self.now);
                self.checks.digest.transitions = digest(self.checks.digest.transitions, what.as_bytes());
                if let Some(fleet) = transition.fleet
                    && transition.origin == Origin::Decided
                {
                    self.checks.decisions += 1;
                    let me = (at, self.checks.lives[at]);
                    let other = self.checks.decided.insert((key, fleet.get()), me);
                    // Whoever had not heard of a generation when it was lost may decide it again.
                    let was_lost = self.checks.wipes > 0 && self.now < self.checks.wiped_at + 65 * S;
                    assert!(other.is_none() || was_lost, "{at}/{key} decided {fleet}, as did {other:?}");
                }
                if transition.fleet.is_none() && transition.to == State::Open {
                    let until = self.instances[at].seats[key].left().map_or(At::MAX, |left| self.now + left);
                    self.checks.tripped[key].push((at, self.now, until));
                }
            }
            Seen::Fact(Fact::DetectorPanicked) => panic!("{at}/{key}: the detector panicked"),
            Seen::News(news) => assert!(*news != News::RecordUnreadable, "{at}/{key} cannot read the record"),
            Seen::Fact(Fact::WouldOpen(_) | Fact::ConfigDrift) => {}
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
        assert!(stored.record.len() <= MOST_BYTES, "a record of {} bytes", stored.record.len());
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
        if let Some((version, before)) = before {
            assert!(*version < stored.version, "versions grow");
            self.check_change(key, before, &record);
        }
        self.note(|| {
            let failures = record.failures();
            format!("{key} is {:?} g{} by {:x}, {failures} failures", record.state, record.generation, record.decider)
        });
        self.checks.records.insert(key.to_owned(), (stored.version, record));
    }

    fn check_change(&self, key: &str, before: &Record, after: &Record) {
        let (old, new) = (before.generation, after.generation);
        assert!(old <= new, "{key} goes back from generation {old} to {new}");
        if old == new {
            let same = |record: &Record| (record.state, record.decider, record.began(), record.is_held());
            assert_eq!(same(before), same(after), "{key} changes within generation {old}");
            return;
        }
        let is_over = before.until().is_some_and(|until| until <= Network::store_time(self.now));
        let reason = after.why();
        let commanded = matches!(
            reason,
            Some(
                TransitionReason::Reset
                    | TransitionReason::Resumed
                    | TransitionReason::Overridden
                    | TransitionReason::OverrideExpired
            )
        );
        // Where the store lost data, whoever wrote first may have known less than another one; but what is newer than its
        // closed state stays.
        let was_lost = self.checks.wipes > 0;
        let is_news = was_lost && (after.began() >= before.began() || after.state == State::HalfOpen);
        if before.state == State::Open && !is_over && after.state != State::Open {
            assert!(commanded || is_news, "{key} is open and not over, and becomes {:?}: {reason:?}", after.state);
        }
        // What was there before a wipe, and is written again, was judged then.
        let is_new = after.began() > Network::store_time(self.checks.wiped_at);
        if let Some(TransitionReason::Voted(votes)) = reason
            && is_new
            && after.state == State::Open
        {
            self.check_votes(key, votes);
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

    /// With nothing on its way, everybody is where the record is.
    pub(super) fn check_agreement(&self) {
        for key in 0..self.setup.keys {
            let Some(record) = self.checks.record(&name(key)) else {
                continue;
            };
            for (at, instance) in self.instances.iter().enumerate().filter(|(_, instance)| instance.alive) {
                let status = instance.seats[key].status();
                assert_eq!(status.generation, Some(record.generation), "{at}/{key} does not know the newest");
                assert!(status.away.is_none(), "{at}/{key}: {status:?}");
                if self.setup.votes.is_none() || record.state != State::Closed {
                    assert_eq!(instance.seats[key].state(), record.state, "{at}/{key} differs from the record");
                }
            }
        }
    }

    /// The failures of the record are those of the batches that the store took, and nobody was told otherwise.
    pub(super) fn check_books(&self) {
        let taken: u64 = self.taken_in.iter().filter_map(|id| self.batches.get(id)).sum();
        let held: u64 = (0..self.setup.keys)
            .filter_map(|key| self.checks.record(&name(key)))
            .map(|r| u64::from(r.failures()))
            .sum();
        assert_eq!(held, taken, "failures in the record, failures the store took");
        let books = self.instances.iter().flat_map(|instance| &instance.seats).map(|seat| seat.books());
        let told: u64 = books.map(|books| books.accepted).sum();
        assert!(told <= taken, "{told} failures were said to be taken, {taken} were");
        if self.setup.troubles.crashes > 0 {
            return;
        }
        for (at, instance) in self.instances.iter().enumerate() {
            for (seat, failed) in instance.seats.iter().zip(&instance.failed) {
                let (books, status) = (seat.books(), seat.status());
                let known = books.accepted + books.unsure + status.waiting;
                assert_eq!(known, *failed, "{at}: {books:?}, {status:?}");
            }
        }
    }
}
