//! The waits between attempts.

use super::growth::{self, TIME};
use crate::backoff::{Backoff, decorrelated, exponential, fixed, linear};
use crate::settings::table::{Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value, Waits};

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
        growth::min("The first wait.", GROWING),
        growth::max(GROWING),
        growth::FACTOR,
        growth::STEP,
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
            let curve = linear(growth::range(&mut fields)?, fields.take("step").unwrap_or_default());
            Waits::Linear(fields.take("jitter").map_or(curve, |jitter| curve.jitter(jitter)))
        }
        Some("decorrelated") => Waits::Decorrelated(decorrelated(growth::range(&mut fields)?)),
        _ => {
            let mut curve = exponential(growth::range(&mut fields)?);
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
