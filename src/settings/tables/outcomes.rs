//! What counts as a failure and what is ignored.

use crate::classify::Outcomes;
use crate::settings::table::{Field, Kind, Need, Table};
use crate::settings::value::{Fault, Fields, Value};

const WORDS: Kind = Kind::List(&Kind::Status);

pub(in crate::settings) static OUTCOMES: Table = Table {
    what: "outcomes",
    doc: "What counts as a failure and what is ignored, where a layer for HTTP or gRPC would say otherwise.",
    select: None,
    fields: &[&[
        Field {
            name: "failures",
            doc: "Statuses of HTTP (`503`, \"5xx\") and gRPC (\"UNAVAILABLE\") and errors (\"timeout\") that count as failures.",
            kind: WORDS,
            of: &[],
            need: Need::Optional,
        },
        Field { name: "ignored", doc: "Those that count neither way.", kind: WORDS, of: &[], need: Need::Optional },
    ]],
    rules: &[],
    shorts: &[],
    from_short: Ok,
    make,
};

fn make(mut fields: Fields) -> Result<Value, Fault> {
    let words = |fields: &mut Fields, name: &str| -> Vec<String> {
        let list: Vec<Value> = fields.take(name).unwrap_or_default();
        list.into_iter().filter_map(|value| if let Value::Text(word) = value { Some(word) } else { None }).collect()
    };
    let (failures, ignored) = (words(&mut fields, "failures"), words(&mut fields, "ignored"));
    if let Some(word) = failures.iter().find(|word| ignored.contains(word)) {
        let text = format!("has \"{word}\", which `failures` has as well, allowed is one of both");
        return Err(Fault::of_field("ignored", text));
    }
    let names = [("outcomes.failures", "failures"), ("outcomes.ignored", "ignored")];
    let outcomes = Outcomes::new().failures(&failures).and_then(|outcomes| outcomes.ignored(&ignored));
    outcomes.map(Value::Outcomes).map_err(|error| Fault::of_error(&error, &names))
}
