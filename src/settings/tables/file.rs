//! One whole file of named templates.

use super::breakers::{NAMED_BREAKER, REGISTRY};
use super::budgets::NAMED_BUDGET;
use super::fleets::FLEETS_KIND;
use super::retries::NAMED_RETRY;
use crate::settings::table::{Field, Kind, Need, Table};
use crate::settings::value::Value;

pub(in crate::settings) static FILE: Table = Table {
    what: "a file of settings",
    doc: "Circuit breakers, registries of them, retries, and what they share, by name.",
    select: None,
    fields: &[&[
        Field {
            name: "defaults",
            doc: "What every breaker, and every registry's breakers, begin with.",
            kind: Kind::Table(&NAMED_BREAKER),
            of: &[],
            need: Need::Optional,
        },
        Field {
            name: "breakers",
            doc: "Breakers by name.",
            kind: Kind::Named { what: "breakers", item: &Kind::Table(&NAMED_BREAKER) },
            of: &[],
            need: Need::Optional,
        },
        Field {
            name: "registries",
            doc: "Registries by name: breakers by key, made when a key is first asked for.",
            kind: Kind::Named { what: "registries", item: &Kind::Table(&REGISTRY) },
            of: &[],
            need: Need::Optional,
        },
        Field {
            name: "retries",
            doc: "Retries by name.",
            kind: Kind::Named { what: "retries", item: &Kind::Table(&NAMED_RETRY) },
            of: &[],
            need: Need::Optional,
        },
        Field {
            name: "budgets",
            doc: "Budgets by name, each for all retries that name it together.",
            kind: Kind::Named { what: "budgets", item: &Kind::Table(&NAMED_BUDGET) },
            of: &[],
            need: Need::Optional,
        },
        Field {
            name: "fleets",
            doc: "Fleets by name: how instances share a breaker.",
            kind: FLEETS_KIND,
            of: &[],
            need: Need::Optional,
        },
    ]],
    rules: &[],
    shorts: &[],
    from_short: Ok,
    make: |fields| Ok(Value::Fields(fields)),
};
