//! What a breaker is made from.

use std::time::Duration;

use super::cooldowns::COOLDOWN;
use super::detectors::DETECTOR;
use super::fleets::FLEET_KIND;
use super::outcomes::OUTCOMES;
use super::overrides::OVERRIDE;
use super::probes::PROBES;
use crate::breaker::{CircuitBreakerConfig, CircuitBreakerConfigBuilder};
use crate::circuit::Override;
use crate::one_line::OneLine;
use crate::settings::table::{ABOVE_ZERO, ANY_LENGTH, Field, Kind, Need, Rule, Table};
use crate::settings::value::{Fault, Fields, Value};

/// By itself, with its name.
pub(in crate::settings) static BREAKER: Table =
    Table { fields: &[NAME, SETTINGS, OF_LAYER], make: make_single, ..table() };

/// In a file, where its name stands in front and the rest may stand elsewhere.
pub(super) static NAMED_BREAKER: Table = table();

/// A template, with what a registry has besides.
pub(super) static REGISTRY: Table = Table {
    what: "a registry",
    doc: "Breakers by key: the fields of their template, and of the registry itself.",
    fields: &[SETTINGS, OF_LAYER, OF_REGISTRY],
    ..table()
};

/// For one key of a registry.
static KEYED_BREAKER: Table = Table { what: "a key", fields: &[SETTINGS], ..table() };

const fn table() -> Table {
    Table {
        what: "a breaker",
        doc: "What a breaker is made from.",
        select: None,
        fields: &[SETTINGS, OF_LAYER],
        rules: &[Rule::NotBoth {
            of: &[],
            fields: ["enabled", "override"],
            why: "`enabled = false` is an override of the kind \"disabled\"",
        }],
        shorts: &[],
        from_short: Ok,
        make: |fields| Ok(Value::Fields(fields)),
    }
}

const NAME: &[Field] = &[Field {
    name: "name",
    doc: "Its identity: in errors, events and metrics, and in the registry.",
    kind: Kind::Text { max: 65_536 },
    of: &[],
    need: Need::Default("\"unnamed\", until `named(..)` says otherwise"),
}];

const SETTINGS: &[Field] = &[
    Field {
        name: "detector",
        doc: "What opens the circuit.",
        kind: Kind::Table(&DETECTOR),
        of: &[],
        need: Need::Default("five failures within 60s"),
    },
    Field {
        name: "cooldown",
        doc: "How long the circuit stays open before a probe is let through.",
        kind: Kind::Table(&COOLDOWN),
        of: &[],
        need: Need::Default("30s"),
    },
    Field {
        name: "probes",
        doc: "The calls that find out whether the dependency is back.",
        kind: Kind::Table(&PROBES),
        of: &[],
        need: Need::Default("one at a time, one success closes"),
    },
    Field {
        name: "abandoned_after",
        doc: "A call that is given up after waiting so long, or longer, is a failure.",
        kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Optional,
    },
    Field {
        name: "retry_after_cap",
        doc: "The longest time that a `Retry-After` of the dependency may keep the circuit open. Zero: it is not asked.",
        kind: Kind::Span { min: Duration::ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Default("5m"),
    },
    Field {
        name: "execution_log",
        doc: "How many of the last outcomes are kept to be looked at.",
        kind: Kind::Whole { min: 0, max: 1 << 20 },
        of: &[],
        need: Need::Default("what the detector's own window holds"),
    },
    Field {
        name: "call_events",
        doc: "Makes events of every call, not of failures and probes only.",
        kind: Kind::Bool,
        of: &[],
        need: Need::Default("false"),
    },
    Field {
        name: "fleet",
        doc: "How the fleet shares it: a table, or the name of one. It takes a store, which the program gives.",
        kind: FLEET_KIND,
        of: &[],
        need: Need::Optional,
    },
    Field {
        name: "enabled",
        doc: "`false`: every call goes through, and none is recorded.",
        kind: Kind::Bool,
        of: &[],
        need: Need::Default("true"),
    },
    Field {
        name: "override",
        doc: "A state that it is held in from the start, by this instance alone.",
        kind: Kind::Table(&OVERRIDE),
        of: &[],
        need: Need::Optional,
    },
];

/// What the layer around it heeds, which is one for all keys.
const OF_LAYER: &[Field] = &[Field {
    name: "outcomes",
    doc: "What counts as a failure and what is ignored, where a layer for HTTP or gRPC would say otherwise.",
    kind: Kind::Table(&OUTCOMES),
    of: &[],
    need: Need::Optional,
}];

const OF_REGISTRY: &[Field] = &[
    Field {
        name: "max",
        doc: "How many breakers it holds at most.",
        kind: Kind::Whole { min: 0, max: u32::MAX as u64 },
        of: &[],
        need: Need::Default("10000"),
    },
    Field {
        name: "idle",
        doc: "After how long without a call a breaker may be forgotten.",
        kind: Kind::Span { min: Duration::ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Default("1h"),
    },
    Field {
        name: "keys",
        doc: "What is otherwise for the breakers of single keys.",
        kind: Kind::Named { what: "breakers", item: &Kind::Table(&KEYED_BREAKER) },
        of: &[],
        need: Need::Optional,
    },
];

/// Sets what the fields say; a fleet must not be a name any more.
pub(in crate::settings) fn apply(mut fields: Fields, to: CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder {
    let mut builder = to;
    if let Some(detector) = fields.take::<Box<dyn crate::circuit::Detector>>("detector") {
        builder = builder.detector(detector);
    }
    if let Some(cooldown) = fields.take::<crate::circuit::Cooldown>("cooldown") {
        builder = builder.cooldown(cooldown);
    }
    if let Some(probes) = fields.take("probes") {
        builder = builder.probes(probes);
    }
    if let Some(limit) = fields.take("abandoned_after") {
        builder = builder.abandoned_after(limit);
    }
    if let Some(cap) = fields.take("retry_after_cap") {
        builder = builder.retry_after_cap(cap);
    }
    if let Some(calls) = fields.take("execution_log") {
        builder = builder.execution_log(calls);
    }
    if let Some(on) = fields.take("call_events") {
        builder = builder.call_events(on);
    }
    if let Some(outcomes) = fields.take("outcomes") {
        builder = builder.outcomes(outcomes);
    }
    #[cfg(feature = "fleet")]
    if let Some(fleet) = fields.take("fleet") {
        builder = builder.fleet(fleet);
    }
    if fields.take("enabled") == Some(false) {
        builder = builder.initial_override(Override::disable("`enabled` is false in the configuration"));
    }
    if let Some(order) = fields.take("override") {
        builder = builder.initial_override(order);
    }
    builder
}

fn make_single(mut fields: Fields) -> Result<Value, Fault> {
    let builder = match fields.take::<String>("name") {
        Some(name) => CircuitBreakerConfig::builder(name),
        None => CircuitBreakerConfig::template(),
    };
    if let Some((_, Value::Name(name))) = fields.given.iter().find(|(field, _)| *field == "fleet") {
        let text = format!("is \"{}\", allowed is a table: only a whole file has named fleets", OneLine(name));
        return Err(Fault::of_field("fleet", text));
    }
    Ok(Value::Breaker(Box::new(apply(fields, builder))))
}
