//! What the breakers of a registry have counted, those that it has forgotten among them.

use std::collections::BTreeMap;
#[cfg(feature = "fleet")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use super::cell::CellCounts;
use super::counts::Counts;
use crate::counts::{Departed, Sum, View, lock_with_all};
use crate::sync::unpoisoned;

/// What the breakers of a registry have counted. It lives as long as a cell that one of them was in last.
#[derive(Debug)]
pub(super) struct RegistryCounts {
    /// From 1 on: what its breakers are known by.
    number: u32,
    name: Mutex<Arc<str>>,
    kept: Mutex<Kept>,
    forgotten: AtomicU64,
    /// Some of its breakers share, or have shared, their state.
    #[cfg(feature = "fleet")]
    is_shared: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of breakers whose cells others have now.
    retired: Counts,
    /// Of breakers that the registry holds no more: gone, or in other hands.
    away: BTreeMap<u32, &'static CellCounts>,
    /// The most that was told. Between the registry and `away` a breaker is in neither for a moment.
    told: Counts,
}

/// Those of all registries.
#[derive(Debug)]
struct All {
    registries: Vec<Weak<RegistryCounts>>,
    /// Of registries that are gone, by their names.
    departed: Departed<Counts>,
}

static ALL: Mutex<All> = Mutex::new(All { registries: Vec::new(), departed: Departed::new() });

impl RegistryCounts {
    pub(super) fn open() -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let counts = Arc::new(Self {
            number: NEXT.fetch_add(1, Relaxed),
            name: Mutex::new(Arc::from("")),
            kept: Mutex::default(),
            forgotten: AtomicU64::new(0),
            #[cfg(feature = "fleet")]
            is_shared: AtomicBool::new(false),
        });
        unpoisoned(ALL.lock()).registries.push(Arc::downgrade(&counts));
        counts
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn rename(&self, name: &Arc<str>) {
        *unpoisoned(self.name.lock()) = Arc::clone(name);
    }

    /// The registry does not hold the breaker any more, whose counts go on counting for it.
    pub(super) fn keep(&self, counts: &'static CellCounts) {
        // One that was made by hand belongs to its name.
        if counts.home() == self.number {
            unpoisoned(self.kept.lock()).away.insert(counts.number(), counts);
        }
    }

    /// The cell of a breaker that is gone begins anew.
    pub(super) fn retire(&self, counts: &CellCounts) {
        let mut kept = unpoisoned(self.kept.lock());
        kept.away.remove(&counts.number());
        kept.retired.add(&counts.begin_anew());
    }

    /// The registry has forgotten a breaker.
    pub(super) fn forget(&self, counts: &'static CellCounts) {
        self.keep(counts);
        self.forgotten.fetch_add(1, Relaxed);
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// One of its breakers shares its state.
    #[cfg(feature = "fleet")]
    pub(super) fn note_shared(&self) {
        self.is_shared.store(true, Relaxed);
    }

    #[cfg(feature = "fleet")]
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Relaxed)
    }

    /// What all its breakers have counted: those that are away, and those that the registry holds. It is asked for the
    /// latter last: a breaker may leave it meanwhile, and must not be counted twice.
    pub(super) fn sum(&self, view: &View, held: impl FnOnce() -> Counts) -> Counts {
        let mut sum = {
            let kept = unpoisoned(self.kept.lock());
            let mut sum = kept.retired.clone();
            kept.away.values().for_each(|counts| sum.add(&counts.counts_by(view)));
            sum
        };
        sum.add(&held());
        let mut kept = unpoisoned(self.kept.lock());
        kept.told.raise(&sum);
        kept.told.clone()
    }

    /// What registries of that name have counted that are gone, and whose breakers may live on.
    pub(super) fn counts_of_gone(name: &str, living: &[u32], view: &View) -> Counts {
        let (gone, mut sum) = {
            let (all, registries) = lock_with_all(&ALL, |all| &all.registries);
            (registries, all.departed.of(name))
        };
        for counts in gone.iter().filter(|counts| !living.contains(&counts.number)) {
            if **unpoisoned(counts.name.lock()) == *name {
                sum.add(&counts.sum(view, Counts::default));
            }
        }
        sum
    }
}

impl Drop for RegistryCounts {
    fn drop(&mut self) {
        let (name, kept) = (unpoisoned(self.name.lock()).clone(), unpoisoned(self.kept.lock()));
        let mut all = unpoisoned(ALL.lock());
        all.registries.retain(|counts| !std::ptr::eq(counts.as_ptr(), self));
        all.departed.add(&name, &kept.retired);
    }
}
