//! The JSON schema of a file, out of the tables that it is read by.

use std::time::Duration;

use super::path::MAX_NAME;
use super::span::UNITS;
use super::table::{ANY_LENGTH, Field, JITTERS, Kind, MAX_ITEMS, Need, Rule, Table, Word, statuses};
use super::tables::FILE;
use crate::json::Json;

/// Returns the JSON schema (draft 2020-12) of a file of [`Settings`](super::Settings). It is published in
/// `docs/settings.schema.json`: editors complete and check by it.
///
/// It knows files, not environments: there numbers and booleans are text. What takes more than one field to tell, such
/// as that `min` is not above `max`, only reading tells.
///
/// ```
/// let schema: serde_json::Value = serde_json::from_str(&fusebox::settings::schema())?;
/// assert_eq!(schema["properties"]["breakers"]["type"], "object");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn schema() -> String {
    let mut defs = Defs(Vec::new());
    let file = defs.table(&FILE);
    let Json::Object(mut members) = file else {
        return String::new();
    };
    let head = [
        ("$schema", Json::text("https://json-schema.org/draft/2020-12/schema")),
        ("title", Json::text("Settings of fusebox: circuit breakers and retries")),
    ];
    members.splice(0..0, head.map(|(name, value)| (name.to_owned(), value)));
    defs.0.sort_by(|(one, _), (other, _)| one.cmp(other));
    members.push(("$defs".to_owned(), Json::Object(defs.0)));
    format!("{}\n", Json::Object(members))
}

/// The tables by name; one that is being written has an empty schema.
struct Defs(Vec<(String, Json)>);

impl Defs {
    fn reference(&mut self, table: &'static Table) -> Json {
        let name = table.what.trim_start_matches("an ").trim_start_matches("a ").replace(' ', "_");
        if !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name.clone(), Json::Bool(true)));
            let schema = self.table(table);
            if let Some((_, place)) = self.0.iter_mut().find(|(known, _)| *known == name) {
                *place = schema;
            }
        }
        Json::object([("$ref", Json::text(format!("#/$defs/{name}")))])
    }

    fn table(&mut self, table: &'static Table) -> Json {
        let Some(select) = &table.select else {
            return self.object(table, None);
        };
        let variants = select.variants.iter().map(|variant| self.object(table, Some(variant))).collect();
        Json::object([("description", Json::text(table.doc)), ("oneOf", Json::List(variants))])
    }

    fn object(&mut self, table: &'static Table, variant: Option<&Word>) -> Json {
        let name = variant.map(|variant| variant.name);
        let fields: Vec<_> = table.all_fields().filter(|field| field.is_of(name)).collect();
        let mut properties = Vec::new();
        let mut required: Vec<&str> = Vec::new();
        let mut conditions = Vec::new();
        if let (Some(select), Some(variant)) = (&table.select, variant) {
            let says = Json::object([("const", Json::text(variant.name)), ("description", Json::text(variant.doc))]);
            properties.push((select.name.to_owned(), says));
            let implied = fields.iter().find(|field| matches!(field.need, Need::Implies));
            match implied {
                Some(field) => conditions.push(either([select.name, field.name])),
                None if select.default != Some(variant.name) => required.push(select.name),
                None => {}
            }
        }
        for field in &fields {
            properties.push((field.name.to_owned(), self.field(field)));
            if matches!(field.need, Need::Required) {
                required.push(field.name);
            }
        }
        conditions.extend(table.rules.iter().filter_map(|rule| condition(rule, name)));
        let mut members = vec![
            ("description", Json::text(variant.map_or(table.doc, |variant| variant.doc))),
            ("type", Json::text("object")),
            ("properties", Json::Object(properties)),
        ];
        if !required.is_empty() {
            members.push(("required", Json::texts(required)));
        }
        if !conditions.is_empty() {
            members.push(("allOf", Json::List(conditions)));
        }
        members.push(("additionalProperties", Json::Bool(false)));
        Json::object(members)
    }

    fn field(&mut self, field: &'static Field) -> Json {
        let doc = match field.need {
            Need::Default(default) => format!("{} Default: {default}.", field.doc),
            Need::Required | Need::Optional | Need::Implies => field.doc.to_owned(),
        };
        let words = if let Kind::Word(words) = &field.kind { explained(words) } else { String::new() };
        let Json::Object(mut members) = self.kind(&field.kind) else {
            return Json::Bool(false);
        };
        members.insert(0, ("description".to_owned(), Json::text(doc + &words)));
        Json::Object(members)
    }

    fn kind(&mut self, kind: &'static Kind) -> Json {
        match kind {
            Kind::Bool => typed("boolean"),
            Kind::Whole { min, max } => {
                let max = (*max < u64::MAX).then_some(("maximum", Json::Whole(*max)));
                let bounds = [("type", Json::text("integer")), ("minimum", Json::Whole(*min))];
                Json::object(bounds.into_iter().chain(max))
            }
            Kind::Number { min, above, max, percent } => {
                let low = if *above { "exclusiveMinimum" } else { "minimum" };
                let max_bound = (*max < f64::MAX).then_some(("maximum", Json::Number(*max)));
                let bounds = [("type", Json::text("number")), (low, Json::Number(*min))];
                let number = Json::object(bounds.into_iter().chain(max_bound));
                if *percent { any([number, share(*above, *max)]) } else { number }
            }
            Kind::Span { min, max } => span(*min, *max),
            Kind::Text { max } => {
                Json::object([("type", Json::text("string"))].into_iter().chain(up_to(*max, LENGTHS)))
            }
            Kind::Word(words) => Json::object([("enum", Json::texts(words.iter().map(|word| word.name)))]),
            Kind::Jitter => {
                let number = [("minimum", Json::Whole(0)), ("maximum", Json::Whole(1))];
                let number = Json::object([("type", Json::text("number"))].into_iter().chain(number));
                let words = Json::object([("enum", Json::texts(JITTERS.iter().map(|word| word.name)))]);
                any([words, number, share(false, 1.0)])
            }
            Kind::Status => {
                let bounds = [("minimum", Json::Whole(400)), ("maximum", Json::Whole(599))];
                let number = Json::object([("type", Json::text("integer"))].into_iter().chain(bounds));
                let digits = [("type", Json::text("string")), ("pattern", Json::text("^[45][0-9][0-9]$"))];
                any([number, Json::object(digits), Json::object([("enum", Json::texts(statuses()))])])
            }
            Kind::Name { section } => {
                let doc = Json::text(format!("The name of one of `{section}`."));
                let members = [("description", doc), ("type", Json::text("string"))];
                Json::object(members.into_iter().chain(up_to(MAX_NAME, LENGTHS)))
            }
            Kind::Table(table) => {
                let shorts: Vec<_> = table.shorts.iter().map(|short| self.kind(short)).collect();
                let reference = self.reference(table);
                if shorts.is_empty() { reference } else { any(shorts.into_iter().chain([reference])) }
            }
            Kind::List(item) => {
                let members = [("type", Json::text("array")), ("items", self.kind(item))];
                Json::object(members.into_iter().chain(up_to(MAX_ITEMS, ITEMS)))
            }
            Kind::Named { item, .. } => Json::object([
                ("type", Json::text("object")),
                ("propertyNames", Json::object(up_to(MAX_NAME, LENGTHS))),
                ("additionalProperties", self.kind(item)),
            ]),
            Kind::Off { .. } => Json::Bool(false),
        }
    }
}

fn typed(name: &str) -> Json {
    Json::object([("type", Json::text(name))])
}

const LENGTHS: [&str; 2] = ["minLength", "maxLength"];
const ITEMS: [&str; 2] = ["minItems", "maxItems"];

/// From one to so many, by the words that the schema has for these bounds.
fn up_to(max: usize, words: [&'static str; 2]) -> [(&'static str, Json); 2] {
    let [least, most] = words;
    [(least, Json::Whole(1)), (most, Json::Whole(u64::try_from(max).unwrap_or(u64::MAX)))]
}

fn any(schemas: impl IntoIterator<Item = Json>) -> Json {
    Json::object([("anyOf", Json::List(schemas.into_iter().collect()))])
}

fn required(names: impl IntoIterator<Item = &'static str>) -> Json {
    Json::object([("required", Json::texts(names))])
}

fn either(names: impl IntoIterator<Item = &'static str>) -> Json {
    any(names.into_iter().map(|name| required([name])))
}

fn condition(rule: &Rule, variant: Option<&str>) -> Option<Json> {
    let concerns = |of: &[&str]| of.is_empty() || variant.is_some_and(|variant| of.contains(&variant));
    match rule {
        Rule::OneOf { of, fields } if concerns(of) => {
            let ways = fields.iter().map(|name| required([*name])).collect();
            Some(Json::object([("oneOf", Json::List(ways))]))
        }
        Rule::NotBoth { of, fields, .. } if concerns(of) => {
            Some(Json::object([("not", required(fields.iter().copied()))]))
        }
        Rule::OneOf { .. } | Rule::NotBoth { .. } => None,
    }
}

fn explained(words: &[Word]) -> String {
    words.iter().map(|word| format!(" \"{}\": {}.", word.name, word.doc)).collect()
}

/// A share as text.
fn share(above: bool, max: f64) -> Json {
    let number = match (above, max <= 1.0) {
        (true, true) => r"([1-9][0-9]?(\.[0-9]+)?|0?\.[0-9]*[1-9][0-9]*|100(\.0+)?)",
        (false, true) => r"([0-9]{1,2}(\.[0-9]+)?|100(\.0+)?)",
        (_, false) => r"[0-9]{1,5}(\.[0-9]+)?",
    };
    Json::object([("type", Json::text("string")), ("pattern", Json::text(format!("^{number} ?%$")))])
}

fn span(min: Duration, max: Duration) -> Json {
    let units: Vec<_> = UNITS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    let number = r"[0-9]+(\.[0-9]+)?";
    let with_units = format!(r"({number} ?({}) ?)+", units.join("|"));
    let iso_time = format!("T({number}H)?({number}M)?({number}S)?");
    let iso = format!("P({number}W)?({number}D)?({iso_time})?");
    let clock = r"([0-9]+\.)?[0-2]?[0-9]:[0-5]?[0-9]:[0-5]?[0-9](\.[0-9]+)?";
    let form = format!("^({with_units}|{iso}|{clock})$");
    let mut members = vec![("type", Json::text("string")), ("pattern", Json::text(form))];
    if min > Duration::ZERO {
        // Somewhere is a digit other than zero.
        members.push(("allOf", Json::List(vec![Json::object([("pattern", Json::text("[1-9]"))])])));
    }
    if max < ANY_LENGTH {
        members.push(("$comment", Json::text(format!("From {min:?} to {max:?}."))));
    }
    Json::object(members)
}
