//! How long a circuit stays open.

use std::time::Duration;

use crate::breaker::CircuitBreakerConfig;
use crate::circuit::Cooldown;
use crate::settings::table::{ANY_LENGTH, Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value};

const TIME: Kind = Kind::Span { min: Duration::ZERO, max: ANY_LENGTH };

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
        Field { name: "min", doc: "The first cooldown.", kind: TIME, of: GROWING, need: Need::Required },
        Field { name: "max", doc: "The longest.", kind: TIME, of: GROWING, need: Need::Required },
        Field {
            name: "factor",
            doc: "By how much each is longer than the one before.",
            kind: Kind::Number { min: 1.0, above: false, max: f64::MAX, percent: false },
            of: &["exponential"],
            need: Need::Default("2"),
        },
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
        Field {
            name: "step",
            doc: "By how much each is longer than the one before.",
            kind: TIME,
            of: &["linear"],
            need: Need::Required,
        },
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
    let range = range(&mut fields)?;
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

/// From `min` to `max`.
pub(super) fn range(fields: &mut Fields) -> Result<std::ops::RangeInclusive<Duration>, Fault> {
    let (min, max) = (fields.take("min").unwrap_or_default(), fields.take("max").unwrap_or_default());
    if min > max {
        return Err(Fault::of_field("min", format!("is {min:?}, allowed is at most `max`, which is {max:?}")));
    }
    Ok(min..=max)
}
