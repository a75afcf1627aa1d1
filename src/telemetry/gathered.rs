//! What a collector has found, to be handed on.

use super::collector::Collector;
use super::family::{Family, Value};
use super::sink::Sink;

/// A family with its series.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) family: &'static Family,
    pub(super) series: Vec<Series>,
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// All families in their order.
#[derive(Debug, Default)]
struct Families(Vec<Gathered>);

impl Sink for Families {
    fn family(&mut self, family: &'static Family) {
        self.0.push(Gathered { family, series: Vec::new() });
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        if let Some(newest) = self.0.last_mut() {
            let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            newest.series.push(Series { labels, value });
        }
    }
}

impl Collector {
    pub(super) fn gather(self) -> Vec<Gathered> {
        let mut families = Families::default();
        self.collect(&mut families);
        families.0
    }
}
