//! The waits between attempts.

use std::time::Duration;

use super::cooldowns::range;
use crate::backoff::{Backoff, decorrelated, exponential, fixed, linear};
use crate::settings::table::{ANY_LENGTH, Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value, Waits};

const TIME: Kind = Kind::Span { min: Duration::ZERO, max: ANY_LENGTH };
const GROWING: &[&str] = &["exponential", "linear", "decorrelated"];

pub(in crate::settings) static BACKOFF: Table = Table {
    what: "a backoff",
    doc: "How long to wait before the next attempt.",
    select: Some(Select {
        name: "type",
        variants: &[
            Word { name: "fixed", doc: "always the same; a duration in place of the table says so too" },
            Word { name: "exponential", doc: "longer before each attempt" },
            Word { name: "linear", doc: "longer by a step before each attempt" },
            Word { name: "decorrelated", doc: "by chance, at most three times the one before" },
        ],
        default: Some("exponential"),
    }),
    fields: &[&[
        Field { name: "min", doc: "The first wait.", kind: TIME, of: GROWING, need: Need::Required },
        Field { name: "max", doc: "The longest.", kind: TIME, of: GROWING, need: Need::Required },
        Field {
            name: "factor",
            doc: "By how much each is longer than the one before.",
            kind: Kind::Number { min: 1.0, above: false, max: f64::MAX, percent: false },
            of: &["exponential"],
            need: Need::Default("2"),
        },
        Field {
            name: "step",
            doc: "By how much each is longer than the one before.",
            kind: TIME,
            of: &["linear"],
            need: Need::Required,
        },
        Field { name: "delay", doc: "How long it is.", kind: TIME, of: &["fixed"], need: Need::Required },
        Field {
            name: "jitter",
            doc: "How much of it is left to chance: a word, or a share in both directions.",
            kind: Kind::Jitter,
            of: &["exponential", "linear", "fixed"],
            need: Need::Default("\"full\", for a fixed one \"none\""),
        },
    ]],
    rules: &[],
    // A list ends the retries where it ends.
    shorts: &[TIME, Kind::List(&TIME)],
    from_short,
    make,
};

fn from_short(value: Value) -> Result<Value, Fault> {
    let wait = |value| if let Value::Span(wait) = value { Some(wait) } else { None };
    match value {
        Value::Span(delay) => Ok(Value::Backoff(Waits::Fixed(fixed(delay)))),
        Value::List(waits) => Ok(Value::Backoff(Waits::Listed(waits.into_iter().filter_map(wait).collect()))),
        other => Ok(other),
    }
}

fn make(mut fields: Fields) -> Result<Value, Fault> {
    let waits = match fields.variant {
        Some("fixed") => {
            let curve = fixed(fields.take("delay").unwrap_or_default());
            Waits::Fixed(fields.take("jitter").map_or(curve, |jitter| curve.jitter(jitter)))
        }
        Some("linear") => {
            let curve = linear(range(&mut fields)?, fields.take("step").unwrap_or_default());
            Waits::Linear(fields.take("jitter").map_or(curve, |jitter| curve.jitter(jitter)))
        }
        Some("decorrelated") => Waits::Decorrelated(decorrelated(range(&mut fields)?)),
        _ => {
            let mut curve = exponential(range(&mut fields)?);
            if let Some(factor) = fields.take("factor") {
                curve = curve.factor(factor);
            }
            Waits::Exponential(fields.take("jitter").map_or(curve, |jitter| curve.jitter(jitter)))
        }
    };
    // Decorrelated waits do not begin at zero.
    let names = [("backoff", "min"), ("factor", "factor"), ("backoff.jitter", "jitter"), ("backoff.step", "step")];
    waits.clone().boxed().check().map_err(|error| Fault::of_error(&error, &names))?;
    Ok(Value::Backoff(waits))
}
