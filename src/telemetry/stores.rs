//! Families about stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::fleet::{Operation, OperationCounts, stores};

const OPERATION: Unit = Unit::One("operation");

static OPERATIONS: Family =
    Family::counter("store", "operations", OPERATION, "What was asked of a store, by what came of it");
static DURATION: Family =
    Family::counter("store", "operation_duration", Unit::Seconds, "How long operations have taken, all together");
static UP: Family =
    Family::telling_zero("store", "up", Unit::One("store"), "1 for a store that answers, 0 while it is away");
static OUTAGES: Family =
    Family::counter("store", "outages", Unit::One("outage"), "How often a store was found to be away");

pub(super) fn tell_stores(sink: &mut impl Sink) {
    // Of one name there may be several: they are one, and up if all of them are.
    let mut by_name: BTreeMap<Arc<str>, bool> = BTreeMap::new();
    for one in stores() {
        *by_name.entry(one.store).or_insert(true) &= one.away.is_none();
    }
    let all: Vec<_> = by_name.iter().map(|(store, is_up)| (&**store, *is_up, OperationCounts::of(store))).collect();
    sink.family(&OPERATIONS);
    for (store, _, counts) in &all {
        // Those that any store has are there before the first one, so that it is seen to be one more.
        let usual = Operation::ALL
            .iter()
            .flat_map(|operation| operation.usual_results().iter().map(|result| (*operation, *result)));
        let mut told: BTreeMap<_, u64> = usual.map(|key| (key, 0)).collect();
        told.extend(&counts.operations);
        for ((operation, result), count) in told {
            let labels = [("store", *store), ("operation", operation.as_str()), ("result", result)];
            sink.sample(&labels, Value::Count(count));
        }
    }
    sink.family(&DURATION);
    for (store, _, counts) in &all {
        for operation in Operation::ALL {
            let took = counts.durations.get(&operation).copied().unwrap_or_default();
            let labels = [("store", *store), ("operation", operation.as_str())];
            sink.sample(&labels, Value::Amount(took.as_secs_f64()));
        }
    }
    sink.family(&UP);
    for (store, is_up, _) in &all {
        sink.sample(&[("store", store)], Value::Count(u64::from(*is_up)));
    }
    sink.family(&OUTAGES);
    for (store, _, counts) in &all {
        sink.sample(&[("store", store)], Value::Count(counts.outages));
    }
}
