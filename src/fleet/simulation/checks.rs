//! What is known of a run, to be checked after every step.

use std::collections::{BTreeMap, HashMap};

use super::event::{At, name};
use super::history::History;
use super::recovering::Recovering;
use super::setup::Setup;
use crate::circuit::{Fact, Generation};
use crate::replica::Record;
use crate::store::Version;
use crate::time::Timestamp;

/// What is known of the run so far.
pub(super) struct Checks {
    /// The newest record of each key, since the store was last wiped.
    pub(super) records: HashMap<String, (Version, Record)>,
    /// Who said that it decided a generation of a key, since the store was last wiped.
    pub(super) decided: HashMap<(usize, u64), (usize, u32)>,
    pub(super) wipes: u32,
    pub(super) wiped_at: At,
    /// The newest generation each instance was in, by key.
    pub(super) fleet: Vec<Vec<Option<Generation>>>,
    pub(super) own: Vec<Vec<Generation>>,
    pub(super) lives: Vec<u32>,
    pub(super) probes: BTreeMap<u64, Probe>,
    /// Local trips, by key: who, from when, until when.
    pub(super) tripped: Vec<Vec<(usize, At, At)>>,
    pub(super) commits: u64,
    pub(super) transitions: u64,
    /// How often instances were told that their window is short.
    pub(super) short_windows: u64,
    pub(super) decisions: u64,
    pub(super) most_bytes: usize,
    pub(super) most_probes: u32,
    /// What happened when, as two numbers: the transitions of all instances, and the records that the store had.
    pub(super) digest: Digest,
    /// The calls of each key, for what a verdict can rest on.
    pub(super) histories: Vec<History>,
    /// When an instance last gave up calls that it could not tell, by key, and how many each instance has given up.
    pub(super) forgot_at: Vec<Option<At>>,
    pub(super) forgotten: Vec<Vec<u64>>,
    pub(super) recovering: Recovering,
    /// Calls that asked.
    pub(super) calls: u64,
    /// Verdicts that were found true, and those for which it cannot be said.
    pub(super) verdicts: (u64, u64),
    /// What happened to breakers, where a test wants to know all of it.
    pub(super) facts: Option<Vec<Fact>>,
}

/// Two runs with the same digest went the same way: what tells a change of shape from a change of behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) transitions: u64,
    pub(super) records: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) instance: usize,
    pub(super) key: usize,
    /// The fleet's generation; `None`: the instance was on its own.
    pub(super) fleet: Option<Generation>,
    /// The instance's own.
    pub(super) own: Generation,
    pub(super) wipes: u32,
    pub(super) until: At,
    pub(super) lease: u32,
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
            commits: 0,
            transitions: 0,
            short_windows: 0,
            decisions: 0,
            most_bytes: 0,
            most_probes: 0,
            digest: Digest::default(),
            histories: vec![History::default(); setup.keys],
            forgot_at: vec![None; setup.keys],
            forgotten: vec![vec![0; setup.keys]; setup.instances],
            recovering: Recovering::new(setup),
            calls: 0,
            verdicts: (0, 0),
            facts: None,
        }
    }

    pub(super) fn started(&mut self, at: usize) {
        self.lives[at] += 1;
        self.fleet[at].fill(None);
        self.own[at].fill(Generation::new(0));
        self.forgotten[at].fill(0);
    }

    pub(super) fn crashed(&mut self, at: usize) {
        // Its calls are gone; whether the dependency still works on them is not known, but a lease goes on that the
        // record knows to be used.
        let records = &self.records;
        let is_known = |probe: &Probe| {
            let record = records.get(&name(probe.key)).map(|(_, record)| record);
            let until = record.and_then(|record| record.lease_until(probe.lease));
            probe.fleet.is_some() && until.is_some_and(|until| until < Timestamp::MAX)
        };
        self.probes.retain(|_, probe| probe.instance != at || is_known(probe));
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
