//! How long a circuit stays open.

use super::growth::{self, TIME};
use crate::breaker::CircuitBreakerConfig;
use crate::circuit::Cooldown;
use crate::settings::table::{Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value};

const GROWING: &[&str] = &["exponential", "linear"];

pub(in crate::settings) static COOLDOWN: Table = Table {
    what: "a cooldown",
    doc: "How long the circuit stays open before a probe is let through.",
    select: Some(Select {
        name: "type",
        variants: &[
            Word { name: "fixed", doc: "always the same, exactly" },
            Word { name: "exponential", doc: "longer each time that the probes fail" },
            Word { name: "linear", doc: "longer by a step each time that the probes fail" },
        ],
        default: Some("exponential"),
    }),
    fields: &[&[
        growth::min("The first cooldown.", GROWING),
        growth::max(GROWING),
        growth::FACTOR,
        Field {
            name: "jitter",
            doc: "The share of it that is left to chance.",
            kind: Kind::Number { min: 0.0, above: false, max: 1.0, percent: true },
            of: GROWING,
            need: Need::Default("0.1"),
        },
        Field {
            name: "healthy_after",
            doc: "After how long of calls that succeed, while closed, it begins anew.",
            kind: TIME,
            of: GROWING,
            need: Need::Default("as long as the last cooldown"),
        },
        growth::STEP,
        Field { name: "duration", doc: "How long it is.", kind: TIME, of: &["fixed"], need: Need::Required },
    ]],
    rules: &[],
    shorts: &[TIME],
    from_short,
    make,
};

fn from_short(value: Value) -> Result<Value, Fault> {
    match value {
        Value::Span(duration) => Ok(Value::Cooldown(duration.into())),
        other => Ok(other),
    }
}

fn make(mut fields: Fields) -> Result<Value, Fault> {
    if fields.variant == Some("fixed") {
        return Ok(Value::Cooldown(Cooldown::fixed(fields.take("duration").unwrap_or_default())));
    }
    let range = growth::range(&mut fields)?;
    let mut cooldown = match fields.variant {
        Some("linear") => Cooldown::linear(range, fields.take("step").unwrap_or_default()),
        _ => Cooldown::exponential(range),
    };
    if let Some(factor) = fields.take("factor") {
        cooldown = cooldown.factor(factor);
    }
    if let Some(jitter) = fields.take("jitter") {
        cooldown = cooldown.jitter(jitter);
    }
    if let Some(period) = fields.take("healthy_after") {
        cooldown = cooldown.healthy_after(period);
    }
    let checked = CircuitBreakerConfig::template().cooldown(cooldown.clone()).build();
    let names = [("factor", "factor"), ("cooldown.jitter", "jitter"), ("cooldown.step", "step")];
    checked.map_err(|error| Fault::of_error(&error, &names)).map(|_| Value::Cooldown(cooldown))
}
