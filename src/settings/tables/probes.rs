//! The calls that find out whether the dependency is back.

use crate::breaker::CircuitBreakerConfig;
use crate::circuit::Probes;
use crate::settings::table::{ABOVE_ZERO, ANY_LENGTH, Field, Kind, Need, Table};
use crate::settings::value::{Fault, Fields, Value};

const CALLS: Kind = Kind::Whole { min: 1, max: 65_536 };

pub(in crate::settings) static PROBES: Table = Table {
    what: "probes",
    doc: "The calls that find out whether the dependency is back.",
    select: None,
    fields: &[&[
        Field {
            name: "needed",
            doc: "How many must succeed for the circuit to close.",
            kind: CALLS,
            of: &[],
            need: Need::Default("1"),
        },
        Field {
            name: "of",
            doc: "Of how many. Where it is left out, the first failure opens the circuit again.",
            kind: CALLS,
            of: &[],
            need: Need::Default("`needed`"),
        },
        Field {
            name: "concurrent",
            doc: "How many are on their way at once.",
            kind: CALLS,
            of: &[],
            need: Need::Default("1"),
        },
        Field {
            name: "deadline",
            doc: "How long each may take before another takes its place.",
            kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
            of: &[],
            need: Need::Default("30s"),
        },
        Field {
            name: "decide_within",
            doc: "How long half-open may last before the circuit opens again.",
            kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
            of: &[],
            need: Need::Default("no limit"),
        },
    ]],
    rules: &[],
    shorts: &[],
    from_short: Ok,
    make,
};

fn make(mut fields: Fields) -> Result<Value, Fault> {
    let needed = fields.take("needed").unwrap_or(1);
    let mut probes = Probes::ratio(needed, fields.take("of").unwrap_or(needed));
    if let Some(concurrent) = fields.take("concurrent") {
        probes = probes.concurrent(concurrent);
    }
    if let Some(deadline) = fields.take("deadline") {
        probes = probes.deadline(deadline);
    }
    if let Some(time) = fields.take("decide_within") {
        probes = probes.decide_within(time);
    }
    let checked = CircuitBreakerConfig::template().probes(probes).build();
    let names = [
        ("probes", "needed"),
        ("probes.concurrent", "concurrent"),
        ("probes.deadline", "deadline"),
        ("probes.decide_within", "decide_within"),
    ];
    checked.map_err(|error| Fault::of_error(&error, &names)).map(|_| Value::Probes(probes))
}
