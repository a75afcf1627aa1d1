//! The bridge to OpenTelemetry.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, AsyncInstrumentBuilder, Meter};

use super::collector::Collector;
use super::family::{Family, Kind, Unit, Value};
use super::gathered::{Gathered, Series};
use crate::sync::unpoisoned;

/// Instruments that observe the breakers of the process. Made by [`Collector::observe`].
///
/// When it is dropped they observe nothing any more.
#[must_use = "when it is dropped, nothing is observed any more"]
pub struct Observed {
    _found: Arc<Mutex<Found>>,
}

/// What was found for the present collection: each instrument asks for itself, and all of them are to tell of one moment.
struct Found {
    collector: Collector,
    families: Vec<Gathered>,
    /// Those that were asked for.
    told: BTreeSet<String>,
}

impl Collector {
    /// Has OpenTelemetry observe the breakers of the process: an observable counter or gauge for each family, named
    /// `fusebox.breaker.calls` and so on, for as long as what is returned lives. Only the API is needed; readers and exporters
    /// are the application's.
    ///
    /// A breaker's series go on to be reported by some SDKs when the breaker is gone.
    ///
    /// ```
    /// use fusebox::telemetry::Collector;
    ///
    /// let meter = opentelemetry::global::meter("my-service");
    /// let observed = Collector::process().observe(&meter);
    /// // serve, and in the end:
    /// drop(observed);
    /// ```
    pub fn observe(self, meter: &Meter) -> Observed {
        let families = self.gather();
        let all: Vec<_> = families.iter().map(|gathered| gathered.family).collect();
        let found = Arc::new(Mutex::new(Found { collector: self, families: Vec::new(), told: BTreeSet::new() }));
        for family in all {
            observe_family(meter, family, &Arc::downgrade(&found));
        }
        Observed { _found: found }
    }
}

impl Found {
    /// The series of a family. Where it was asked for already, a new collection has begun.
    fn of(&mut self, family: &'static Family) -> &[Series] {
        if self.families.is_empty() || !self.told.insert(family.dotted_name()) {
            self.families = self.collector.gather();
            self.told = BTreeSet::from([family.dotted_name()]);
        }
        self.families.iter().find(|gathered| gathered.family == family).map_or(&[], |gathered| &gathered.series)
    }
}

fn observe_family(meter: &Meter, family: &'static Family, found: &Weak<Mutex<Found>>) {
    let found = || Weak::clone(found);
    // What is counted is whole.
    let is_whole = matches!(family.unit(), Unit::One(_));
    // An instrument is nothing but a name for what stays with the meter: the callback.
    match (family.kind(), is_whole) {
        (Kind::Counter, true) => {
            let new = meter.u64_observable_counter(family.dotted_name());
            described(new, family).with_callback(callback(family, found(), Value::as_count)).build();
        }
        (Kind::Counter, false) => {
            let new = meter.f64_observable_counter(family.dotted_name());
            described(new, family).with_callback(callback(family, found(), Value::as_f64)).build();
        }
        (Kind::Gauge, true) => {
            let new = meter.u64_observable_gauge(family.dotted_name());
            described(new, family).with_callback(callback(family, found(), Value::as_count)).build();
        }
        (Kind::Gauge, false) => {
            let new = meter.f64_observable_gauge(family.dotted_name());
            described(new, family).with_callback(callback(family, found(), Value::as_f64)).build();
        }
    }
}

fn described<'a, I, M>(
    builder: AsyncInstrumentBuilder<'a, I, M>,
    family: &'static Family,
) -> AsyncInstrumentBuilder<'a, I, M> {
    let unit = match family.unit() {
        Unit::One(thing) => format!("{{{thing}}}"),
        Unit::Seconds => "s".to_owned(),
    };
    builder.with_description(family.help()).with_unit(unit)
}

/// Tells an instrument of a family what was found, as its kind of numbers.
fn callback<M>(
    family: &'static Family,
    found: Weak<Mutex<Found>>,
    number: fn(Value) -> M,
) -> impl Fn(&dyn AsyncInstrument<M>) + Send + Sync + 'static
where
    M: 'static,
{
    move |instrument| {
        let Some(found) = found.upgrade() else {
            return;
        };
        for Series { labels, value } in unpoisoned(found.lock()).of(family) {
            let attributes: Vec<_> = labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
            instrument.observe(number(*value), &attributes);
        }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}
