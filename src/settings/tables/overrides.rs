//! An operator's hold on a breaker, from the start.

use crate::circuit::Override;
use crate::settings::table::{ABOVE_ZERO, ANY_LENGTH, Field, Kind, Need, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value};

pub(in crate::settings) static OVERRIDE: Table = Table {
    what: "an override",
    doc: "A state that the breaker is held in from the start, by this instance alone.",
    select: Some(Select {
        name: "kind",
        variants: &[
            Word { name: "forced_open", doc: "every call is rejected" },
            Word { name: "disabled", doc: "every call goes through, and none is recorded" },
            Word { name: "dry_run", doc: "every call goes through; when it would have opened is told" },
        ],
        default: None,
    }),
    fields: &[&[
        Field { name: "reason", doc: "Why.", kind: Kind::Text { max: 1_024 }, of: &[], need: Need::Required },
        Field { name: "by", doc: "Who says so.", kind: Kind::Text { max: 256 }, of: &[], need: Need::Optional },
        Field {
            name: "expires_after",
            doc: "After how long it ends by itself. Left out: not before an operator resumes.",
            kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
            of: &[],
            need: Need::Optional,
        },
    ]],
    rules: &[],
    shorts: &[],
    from_short: Ok,
    make,
};

fn make(mut fields: Fields) -> Result<Value, Fault> {
    let reason: String = fields.take("reason").unwrap_or_default();
    let mut order = match fields.variant {
        Some("forced_open") => Override::force_open(reason),
        Some("disabled") => Override::disable(reason),
        _ => Override::dry_run(reason),
    };
    if let Some(who) = fields.take::<String>("by") {
        order = order.by(who);
    }
    if let Some(period) = fields.take("expires_after") {
        order = order.expires_after(period);
    }
    Ok(Value::Override(order))
}
