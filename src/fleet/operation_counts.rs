//! What has been asked of the stores of this process, and what they answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::member::MemberId;
use crate::counts::{Departed, Sum};
use crate::store::{Changes, Committed, StoreError, Stored};
use crate::sync::unpoisoned;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Load,
    Changes,
    Commit,
}

impl Operation {
    pub(crate) const ALL: [Self; 3] = [Self::Load, Self::Changes, Self::Commit];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Changes => "changes",
            Self::Commit => "commit",
        }
    }

    /// What comes of it wherever a fleet is well, and when its store is away.
    pub(crate) const fn usual_results(self) -> &'static [&'static str] {
        match self {
            Self::Load | Self::Changes => &["ok", "unavailable"],
            Self::Commit => &["applied", "conflict", "unavailable"],
        }
    }
}

/// What has been asked of stores of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OperationCounts {
    /// By what came of it.
    pub(crate) operations: BTreeMap<(Operation, &'static str), u64>,
    /// How long it took, all together.
    pub(crate) durations: BTreeMap<Operation, Duration>,
    /// How often a store was found to be away.
    pub(crate) outages: u64,
}

impl Sum for OperationCounts {
    fn add(&mut self, other: &Self) {
        for (key, count) in &other.operations {
            *self.operations.entry(*key).or_default() += count;
        }
        for (operation, duration) in &other.durations {
            *self.durations.entry(*operation).or_default() += *duration;
        }
        self.outages += other.outages;
    }
}

/// Counts what an engine asks of its store, from the engine's tasks: no call counts here.
#[derive(Debug)]
pub(super) struct OperationCounter(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    /// Not known before the engine's thread has asked the store for it.
    store: OnceLock<Arc<str>>,
    counts: Mutex<OperationCounts>,
}

/// Those of all engines. What is counted is in one of the two at any time, or sums would fall for a moment.
#[derive(Debug)]
struct All {
    living: Vec<Arc<Counter>>,
    /// Of engines that are gone, by the names of their stores.
    departed: Departed<OperationCounts>,
}

static ALL: Mutex<All> = Mutex::new(All { living: Vec::new(), departed: Departed::new() });

impl OperationCounter {
    pub(super) fn new() -> Self {
        let counter = Arc::<Counter>::default();
        unpoisoned(ALL.lock()).living.push(Arc::clone(&counter));
        Self(counter)
    }

    pub(super) fn name(&self, store: &Arc<str>) {
        self.0.store.get_or_init(|| Arc::clone(store));
    }

    pub(super) fn answered(&self, operation: Operation, result: &'static str, took: Duration) {
        let mut counts = unpoisoned(self.0.counts.lock());
        *counts.operations.entry((operation, result)).or_default() += 1;
        *counts.durations.entry(operation).or_default() += took;
    }

    pub(super) fn went_away(&self) {
        unpoisoned(self.0.counts.lock()).outages += 1;
    }
}

impl OperationCounts {
    /// What was asked of stores of that name, also by engines that are gone.
    pub(crate) fn of(store: &str) -> Self {
        let all = unpoisoned(ALL.lock());
        let mut sum = all.departed.of(store);
        for counter in all.living.iter().filter(|counter| counter.store.get().is_some_and(|name| **name == *store)) {
            let counts = unpoisoned(counter.counts.lock());
            sum.add(&counts);
        }
        sum
    }
}

impl Drop for OperationCounter {
    fn drop(&mut self) {
        let mut all = unpoisoned(ALL.lock());
        all.living.retain(|counter| !Arc::ptr_eq(counter, &self.0));
        if let Some(store) = self.0.store.get() {
            let counts = unpoisoned(self.0.counts.lock());
            all.departed.add(store, &counts);
        }
    }
}

/// What came of a load. One key in trouble is told, though the others came.
pub(super) fn of_load(answers: &[(MemberId, Result<Stored, StoreError>)]) -> &'static str {
    answers.iter().find_map(|(_, answer)| answer.as_ref().err()).map_or("ok", StoreError::as_str)
}

pub(super) fn of_changes(answer: &Result<Changes, StoreError>) -> &'static str {
    answer.as_ref().err().map_or("ok", StoreError::as_str)
}

pub(super) fn of_commit(answer: &Result<Committed, StoreError>) -> &'static str {
    match answer {
        Ok(Committed::Applied { .. }) => "applied",
        Ok(Committed::Conflict(_)) => "conflict",
        Ok(Committed::Duplicate(_)) => "duplicate",
        Ok(Committed::Queued(_)) => "queued",
        Ok(Committed::Combine(..)) => "combine",
        Ok(Committed::Fenced(_)) => "fenced",
        Err(error) => error.as_str(),
    }
}
