//! Recovery does not depend on traffic: how many calls it takes to close a circuit once all is well.

use super::event::At;
use super::setup::Setup;

/// The calls of an instance for one key, while its circuit could close.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    /// Those that came while not all probes ran, and not before the instance had told calls to come back.
    count: u64,
    /// Until when calls were told to wait.
    until: At,
}

/// The calls that it takes.
#[derive(Debug)]
pub(super) struct Recovering {
    /// All is well: it is counted.
    pub(super) counts: bool,
    /// By key and instance.
    tries: Vec<Vec<Tries>>,
    /// Probes that were cancelled, or did not matter, by key.
    unfinished: Vec<u64>,
}

impl Recovering {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            counts: false,
            tries: vec![vec![Tries::default(); setup.instances]; setup.keys],
            unfinished: vec![0; setup.keys],
        }
    }

    pub(super) fn is_unfinished(&mut self, key: usize) {
        self.unfinished[key] += 1;
    }

    /// Another round begins, or all calls are let through.
    pub(super) fn begin(&mut self, key: usize, at: usize) {
        self.tries[key][at].count = 0;
        if self.tries[key].iter().all(|tries| tries.count == 0) {
            self.unfinished[key] = 0;
        }
    }

    /// The instance has told a call to come back then.
    pub(super) fn told_to_wait(&mut self, key: usize, at: usize, until: At) {
        self.tries[key][at].until = until;
    }

    pub(super) fn is_early(&self, key: usize, at: usize, now: At) -> bool {
        now < self.tries[key][at].until
    }

    /// A call has come that should have brought the circuit nearer to its closing.
    pub(super) fn tried(&mut self, key: usize, at: usize, needed: u32) {
        self.tries[key][at].count += 1;
        let tries: u64 = self.tries[key].iter().map(|tries| tries.count).sum();
        let most = 3 * u64::from(needed) * self.tries[key].len() as u64 * (1 + self.unfinished[key]);
        assert!(tries <= most, "{tries} calls for dependency {key}, and it is not closed");
    }
}
