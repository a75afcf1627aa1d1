//! The breakers that the application has made, by their cells.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use super::cell::CellCounts;
use super::cell_view::{About, Place};
use super::counts::Counts;
use crate::counts::{Departed, Sum, View};
use crate::sync::unpoisoned;

/// A breaker that the application has made, or what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: Arc<str>,
    pub(super) place: &'static dyn Place,
    pub(super) about: Arc<About>,
    pub(super) is_gone: bool,
}

#[derive(Debug)]
struct ByName {
    /// By the number of the cell.
    listed: HashMap<u32, Listed>,
    /// Those whose cells others have now.
    departed: Departed<Counts>,
}

static BY_NAME: LazyLock<Mutex<ByName>> =
    LazyLock::new(|| Mutex::new(ByName { listed: HashMap::new(), departed: Departed::new() }));

/// A breaker moves into a cell.
pub(super) fn enlist(name: &Arc<str>, place: &'static dyn Place, about: About) {
    let listed = Listed { name: Arc::clone(name), place, about: Arc::new(about), is_gone: false };
    unpoisoned(BY_NAME.lock()).listed.insert(place.counts().number(), listed);
}

/// A breaker is gone. Calls may be on their way still, and are counted.
pub(super) fn part(counts: &CellCounts) {
    if let Some(listed) = unpoisoned(BY_NAME.lock()).listed.get_mut(&counts.number()) {
        listed.is_gone = true;
    }
}

/// The cell of a breaker that is gone begins anew.
pub(super) fn retire(name: &Arc<str>, counts: &CellCounts) {
    let mut by_name = unpoisoned(BY_NAME.lock());
    by_name.listed.remove(&counts.number());
    by_name.departed.add(name, &counts.begin_anew());
}

/// The breakers there are, those of one name together, with all that was counted under that name.
pub(super) fn all() -> Vec<(Vec<Listed>, Counts)> {
    let by_name = unpoisoned(BY_NAME.lock());
    // Taken under the lock: what the cells of others have counted is in one of the two.
    let view = View::new();
    let mut all: BTreeMap<&str, (Vec<Listed>, Counts)> = BTreeMap::new();
    for listed in by_name.listed.values().filter(|listed| !listed.is_gone) {
        let departed = || by_name.departed.of(&listed.name);
        all.entry(&listed.name).or_insert_with(|| (Vec::new(), departed())).0.push(listed.clone());
    }
    for listed in by_name.listed.values() {
        if let Some((_, counts)) = all.get_mut(&*listed.name) {
            counts.add(&listed.place.counts().counts_by(&view));
        }
    }
    // In the order of their cells, which stays as it is.
    all.values_mut().for_each(|(listed, _)| listed.sort_by_key(|listed| listed.place.counts().number()));
    all.into_values().collect()
}
