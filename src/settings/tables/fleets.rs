//! How a fleet shares a breaker.

#[cfg(feature = "fleet")]
use std::time::Duration;

use crate::settings::table::Kind;
#[cfg(feature = "fleet")]
use crate::settings::table::{Field, Need, Rule, Select, Table, Word};
#[cfg(feature = "fleet")]
use crate::settings::value::{Fault, Fields, Value};

/// What stands for a fleet.
#[cfg(not(feature = "fleet"))]
pub(super) const FLEET_KIND: Kind = Kind::Off { feature: "fleet" };
#[cfg(feature = "fleet")]
pub(super) const FLEET_KIND: Kind = Kind::Table(&FLEET);

/// The section of named ones.
#[cfg(not(feature = "fleet"))]
pub(super) const FLEETS_KIND: Kind = Kind::Off { feature: "fleet" };
#[cfg(feature = "fleet")]
pub(super) const FLEETS_KIND: Kind = Kind::Named { what: "fleets", item: &Kind::Table(&NAMED_FLEET) };

#[cfg(feature = "fleet")]
pub(in crate::settings) static FLEET: Table = Table { shorts: &[Kind::Name { section: "fleets" }], ..fleet() };

#[cfg(feature = "fleet")]
static NAMED_FLEET: Table = fleet();

#[cfg(feature = "fleet")]
const fn fleet() -> Table {
    Table {
        what: "a fleet",
        doc: "How the instances of a fleet share a breaker.",
        select: Some(Select {
            name: "mode",
            variants: &[
                Word { name: "pooled", doc: "all calls of all instances are judged together" },
                Word { name: "votes", doc: "each instance judges its own; so many of them open the circuit for all" },
            ],
            default: Some("pooled"),
        }),
        fields: &[FLEET_FIELDS],
        rules: &[Rule::OneOf { of: &["votes"], fields: &["votes"] }],
        shorts: &[],
        from_short: Ok,
        make,
    }
}

#[cfg(feature = "fleet")]
const FLEET_FIELDS: &[Field] = &[
    Field {
        name: "votes",
        doc: "How many instances it takes to open the circuit for all.",
        kind: Kind::Whole { min: 1, max: 256 },
        of: &["votes"],
        need: Need::Implies,
    },
    Field {
        name: "when_down",
        doc: "What to do while the store is away.",
        kind: Kind::Word(&[
            Word { name: "local", doc: "go on by oneself" },
            Word { name: "admit", doc: "let every call through" },
            Word { name: "reject", doc: "reject every call" },
        ]),
        of: &[],
        need: Need::Default("\"local\""),
    },
    Field {
        name: "instance_id",
        doc: "By which name this instance votes.",
        kind: Kind::Text { max: 255 },
        of: &["votes"],
        need: Need::Default("the pod's or host's name with a random number"),
    },
    Field {
        name: "flush_interval",
        doc: "How often successes are written for a detector without a shape.",
        kind: Kind::Span { min: Duration::from_millis(100), max: Duration::from_secs(60) },
        of: &["pooled"],
        need: Need::Default("1s"),
    },
];

#[cfg(feature = "fleet")]
fn make(mut fields: Fields) -> Result<Value, Fault> {
    use crate::fleet::{Fleet, WhenDown};
    let mut fleet = match fields.variant {
        Some("votes") => Fleet::votes(fields.take("votes").unwrap_or_default()),
        _ => Fleet::pooled(),
    };
    match fields.take("when_down") {
        Some("admit") => fleet = fleet.when_down(WhenDown::Admit),
        Some("reject") => fleet = fleet.when_down(WhenDown::Reject),
        _ => {}
    }
    if let Some(id) = fields.take::<String>("instance_id") {
        fleet = fleet.instance_id(id);
    }
    if let Some(interval) = fields.take("flush_interval") {
        fleet = fleet.flush_interval(interval);
    }
    let names =
        [("fleet.votes", "votes"), ("fleet.instance_id", "instance_id"), ("fleet.flush_interval", "flush_interval")];
    fleet.check().map_err(|error| Fault::of_error(&error, &names)).map(|()| Value::Fleet(fleet))
}
