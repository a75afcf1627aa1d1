//! A cap on retries overall.

use std::time::Duration;

use crate::attempts::Budget;
use crate::settings::table::{Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value};

const DAY: Duration = Duration::from_secs(86_400);

/// A budget of its own, or the name of one that several share.
pub(in crate::settings) static BUDGET: Table = Table { shorts: &[Kind::Name { section: "budgets" }], ..budget() };

pub(super) static NAMED_BUDGET: Table = budget();

const fn budget() -> Table {
    Table {
        what: "a budget",
        doc: "A cap on retries overall.",
        select: Some(Select {
            name: "type",
            variants: &[
                Word { name: "ratio", doc: "so many retries for each request, and a reserve" },
                Word { name: "tokens", doc: "gRPC's retry throttling" },
            ],
            default: None,
        }),
        fields: &[BUDGET_FIELDS],
        rules: &[],
        shorts: &[],
        from_short: Ok,
        make,
    }
}

const BUDGET_FIELDS: &[Field] = &[
    Field {
        name: "ratio",
        doc: "How many retries each request allows: 0.2 is one for five.",
        kind: Kind::Number { min: 0.0, above: false, max: 1_000.0, percent: true },
        of: &["ratio"],
        need: Need::Required,
    },
    Field {
        name: "reserve_per_second",
        doc: "How many retries there are besides.",
        kind: Kind::Whole { min: 0, max: u32::MAX as u64 },
        of: &["ratio"],
        need: Need::Default("0"),
    },
    Field {
        name: "window",
        doc: "How long a request allows them.",
        kind: Kind::Span { min: Duration::from_secs(1), max: DAY },
        of: &["ratio"],
        need: Need::Default("10s"),
    },
    Field {
        name: "max_tokens",
        doc: "With how many it begins. A failed attempt takes one; with half of them or fewer there are no retries.",
        kind: Kind::Whole { min: 1, max: 1_000 },
        of: &["tokens"],
        need: Need::Required,
    },
    Field {
        name: "ratio",
        doc: "How many tokens a success gives back.",
        kind: Kind::Number { min: 0.001, above: false, max: 1_000.0, percent: true },
        of: &["tokens"],
        need: Need::Required,
    },
];

fn make(mut fields: Fields) -> Result<Value, Fault> {
    let ratio = fields.take("ratio").unwrap_or_default();
    if fields.variant == Some("tokens") {
        return Ok(Value::Budget(Budget::tokens(fields.take("max_tokens").unwrap_or_default(), ratio)));
    }
    let mut budget = Budget::ratio(ratio);
    if let Some(retries) = fields.take("reserve_per_second") {
        budget = budget.reserve_per_second(retries);
    }
    if let Some(window) = fields.take("window") {
        budget = budget.window(window);
    }
    Ok(Value::Budget(budget))
}
