//! What waits and cooldowns that grow have in common: from where to where, and by how much.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::settings::table::{ANY_LENGTH, Field, Kind, Need};
use crate::settings::value::{Fault, Fields};

pub(super) const TIME: Kind = Kind::Span { min: Duration::ZERO, max: ANY_LENGTH };

/// The first of them, of the types that grow.
pub(super) const fn min(doc: &'static str, of: &'static [&'static str]) -> Field {
    Field { name: "min", doc, kind: TIME, of, need: Need::Required }
}

pub(super) const fn max(of: &'static [&'static str]) -> Field {
    Field { name: "max", doc: "The longest.", kind: TIME, of, need: Need::Required }
}

pub(super) const FACTOR: Field = Field {
    name: "factor",
    doc: "By how much each is longer than the one before.",
    kind: Kind::Number { min: 1.0, above: false, max: f64::MAX, percent: false },
    of: &["exponential"],
    need: Need::Default("2"),
};

pub(super) const STEP: Field = Field {
    name: "step",
    doc: "By how much each is longer than the one before.",
    kind: TIME,
    of: &["linear"],
    need: Need::Required,
};

/// From `min` to `max`.
pub(super) fn range(fields: &mut Fields) -> Result<RangeInclusive<Duration>, Fault> {
    let (min, max) = (fields.take("min").unwrap_or_default(), fields.take("max").unwrap_or_default());
    if min > max {
        return Err(Fault::of_field("min", format!("is {min:?}, allowed is at most `max`, which is {max:?}")));
    }
    Ok(min..=max)
}
