//! The reader: goes through what a format gives, by the tables, and refuses what is wrong where it stands.
//!
//! A mistake is told while the format's own reader is still at that place, so that it adds the line.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::given::Given;
use super::path::{MAX_NAME, Path};
use super::references::References;
use super::table::{Field, Kind, Need, Rule, Select, Table, and, check_count, meant, or};
use super::value::{Fault, Fields, Value};

/// Deeper than any configuration, and shallow enough for any stack.
const MAX_DEPTH: usize = 64;
/// As what TOML's own values, and JSON's numbers of any size, come in.
const WRAPPERS: [&str; 2] = ["$__toml_private_datetime", "$serde_json::private::Number"];

/// Reads one of a kind.
///
/// # Errors
///
/// The first mistake, with its path.
pub(super) fn read<'de, D: Deserializer<'de>>(kind: &Kind, from: D) -> Result<Value, D::Error> {
    At { kind, path: Path::Root, references: &References::default() }.deserialize(from)
}

/// A kind of thing is to be read at a place.
#[derive(Clone, Copy)]
struct At<'a> {
    kind: &'a Kind,
    path: Path<'a>,
    references: &'a References,
}

impl<'a> At<'a> {
    /// A kind of thing further in.
    const fn below(&self, kind: &'a Kind, path: Path<'a>) -> Self {
        Self { kind, path, references: self.references }
    }

    /// What is wrong here, as the format's own error.
    fn refuse<E: Error>(&self, fault: Fault) -> E {
        let Fault { field, text } = fault;
        let path = match &field {
            Some(field) => self.path.key(field).to_string(),
            None => self.path.to_string(),
        };
        match (path.as_str(), self.kind) {
            ("", Kind::Table(table)) => E::custom(format_args!("{} {text}", table.what)),
            ("", _) => E::custom(format_args!("the configuration {text}")),
            (path, _) => E::custom(format_args!("`{path}` {text}")),
        }
    }

    fn scalar<E: Error>(self, given: Given<'_>) -> Result<Value, E> {
        let value = self.kind.scalar(given).map_err(|fault| self.refuse(fault))?;
        if let (Value::Name(name), Some(section)) = (&value, self.kind.section()) {
            let found = self.references.look_up(section, name, &self.path);
            found.map_err(|text| self.refuse(Fault::of_table(text)))?;
        }
        Ok(value)
    }

    fn check_depth<E: Error>(&self) -> Result<(), E> {
        if self.path.depth() > MAX_DEPTH {
            return Err(self.refuse(Fault::of_table(format!("is nested deeper than {MAX_DEPTH} levels"))));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.allowed())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Value, E> {
        self.scalar(Given::Bool(on))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.scalar(Given::Whole(number.into()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        self.scalar(Given::Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.scalar(Given::Whole(number.into()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        self.scalar(i128::try_from(number).map_or(Given::Real(f64::INFINITY), Given::Whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.scalar(Given::Real(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.scalar(Given::Text(text))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Value, E> {
        self.scalar(Given::Bytes)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.scalar(Given::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.scalar(Given::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        self.scalar(Given::Variant)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let (item, from_short) = match self.kind {
            Kind::List(item) => (*item, None),
            Kind::Table(table) => match table.shorts.iter().find_map(as_list) {
                Some(item) => (item, Some(table.from_short)),
                None => return self.scalar(Given::List),
            },
            _ => return self.scalar(Given::List),
        };
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(self.below(item, self.path.index(list.len())))? {
            list.push(value);
        }
        let list = self.list(list)?;
        match from_short {
            Some(make) => make(list).map_err(|fault| self.refuse(fault)),
            None => Ok(list),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        match self.kind {
            Kind::Table(table) => self.table(table, entries),
            Kind::Named { item, .. } => self.named(item, entries),
            Kind::List(item) => self.numbered(item, None, entries),
            _ => match entries.next_key_seed(Wrapper)? {
                Some(true) => self.wrapped(entries),
                _ => self.scalar(Given::Table),
            },
        }
    }
}

fn as_list(kind: &Kind) -> Option<&'static Kind> {
    if let Kind::List(item) = kind { Some(item) } else { None }
}

impl At<'_> {
    fn list<E: Error>(&self, items: Vec<Value>) -> Result<Value, E> {
        if items.is_empty() {
            let text = format!("is an empty list, allowed is {}, one at least", self.kind.allowed());
            return Err(self.refuse(Fault::of_table(text)));
        }
        check_count(items.len()).map_err(|fault| self.refuse(fault))?;
        Ok(Value::List(items))
    }

    /// What stands in a wrapper: one value, and nothing beside it.
    fn wrapped<'de, A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let value = entries.next_value_seed(Wrapped(self))?;
        match entries.next_key_seed(Wrapper)? {
            None => Ok(value),
            Some(_) => self.scalar(Given::Table),
        }
    }

    /// A list whose items have their numbers as keys, as the environment gives one.
    fn numbered<'de, A: MapAccess<'de>>(
        self,
        item: &Kind,
        first: Option<String>,
        mut entries: A,
    ) -> Result<Value, A::Error> {
        let (mut items, mut taken) = (Vec::new(), HashSet::new());
        let key_seed = || KeyOf(&self, |_: &str| Ok(()));
        let mut next = match first {
            Some(key) => Some(key),
            None => entries.next_key_seed(key_seed())?,
        };
        while let Some(key) = next {
            let Some(n) = key.parse::<usize>().ok().filter(|n| taken.insert(*n)) else {
                return self.scalar(Given::Table);
            };
            items.push((n, entries.next_value_seed(self.below(item, self.path.index(n)))?));
            next = entries.next_key_seed(key_seed())?;
        }
        items.sort_by_key(|(n, _)| *n);
        if items.last().is_some_and(|(last, _)| *last >= items.len()) {
            return Err(self.refuse(Fault::of_table("is a list with a gap: its items are numbered from 0 on")));
        }
        self.list(items.into_iter().map(|(_, value)| value).collect())
    }

    fn named<'de, A: MapAccess<'de>>(self, item: &Kind, mut entries: A) -> Result<Value, A::Error> {
        let (mut named, mut taken) = (Vec::new(), HashSet::new());
        loop {
            let check = |name: &str| match name.len() {
                0 => Err(Fault::of_field(name, "is an empty name")),
                1..=MAX_NAME if taken.insert(name.to_owned()) => Ok(()),
                1..=MAX_NAME => Err(Fault::of_field(name, "is given twice")),
                length => {
                    let short = &name[..name.floor_char_boundary(32)];
                    Err(Fault::of_field(short, format!("is a name of {length} bytes, allowed are {MAX_NAME}")))
                }
            };
            let Some(name) = entries.next_key_seed(KeyOf(&self, check))? else {
                self.section_is_read(&named)?;
                return Ok(Value::Named(named));
            };
            let value = entries.next_value_seed(self.below(item, self.path.key(&name)))?;
            named.push((name, value));
        }
    }

    /// Of a section of the file, others may have named what stands in it.
    fn section_is_read<E: Error>(&self, named: &[(String, Value)]) -> Result<(), E> {
        let Path::Key(Path::Root, section) = self.path else {
            return Ok(());
        };
        let known = named.iter().map(|(name, _)| name.clone()).collect();
        self.references.read(section, known).map_err(|(path, text)| E::custom(format_args!("`{path}` {text}")))
    }

    fn table<'de, A: MapAccess<'de>>(self, table: &Table, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        let listed = table.shorts.iter().find_map(as_list);
        let is_item = |name: &str| listed.is_some() && name.parse::<usize>().is_ok();
        loop {
            let check = |name: &str| match table.select.as_ref().filter(|select| select.name == name) {
                Some(_) if fields.variant.is_some() => Err(Fault::of_field(name, "is given twice")),
                Some(_) => Ok(()),
                None if fields.is_empty() && (WRAPPERS.contains(&name) || is_item(name)) => Ok(()),
                None => check_field(table, &fields, name),
            };
            let Some(name) = entries.next_key_seed(KeyOf(&self, check))? else {
                break;
            };
            let path = self.path.key(&name);
            if let Some(select) = table.select.as_ref().filter(|select| select.name == name) {
                let kind = Kind::Word(select.variants);
                if let Value::Word(variant) = entries.next_value_seed(self.below(&kind, path))? {
                    fields.variant = Some(variant);
                }
            } else if let Some(field) = table.field(&name, fields.variant) {
                fields.given.push((field.name, entries.next_value_seed(self.below(&field.kind, path))?));
            } else if let Some(item) = listed.filter(|_| is_item(&name)) {
                let list = self.numbered(item, Some(name), entries)?;
                return (table.from_short)(list).map_err(|fault| self.refuse(fault));
            } else {
                // No table but one value.
                return self.wrapped(entries);
            }
        }
        complete(table, fields).and_then(table.make).map_err(|fault| self.refuse(fault))
    }
}

/// Whether a table has such a field, and has not had it yet.
fn check_field(table: &Table, fields: &Fields, name: &str) -> Result<(), Fault> {
    if fields.has(name) {
        return Err(Fault::of_field(name, "is given twice"));
    }
    match table.field(name, fields.variant) {
        Some(Field { kind: kind @ Kind::Off { .. }, .. }) => {
            Err(Fault::of_field(name, format!("is set, allowed is {}", kind.allowed())))
        }
        Some(_) => Ok(()),
        None => Err(Fault::of_field(name, stranger(table, fields.variant, name))),
    }
}

/// What is to be said of a field that is not one.
fn stranger(table: &Table, variant: Option<&str>, name: &str) -> String {
    let names = table.names(variant);
    let has = and(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>());
    let what = match (&table.select, variant) {
        (Some(select), Some(variant)) => format!("{} with `{}` = \"{variant}\"", table.what, select.name),
        _ => table.what.to_owned(),
    };
    let others = table.all_fields().filter(|field| field.name == name).flat_map(|field| field.of.iter());
    let others: Vec<_> = others.map(|variant| format!("\"{variant}\"")).collect();
    let Some(select) = table.select.as_ref().filter(|_| !others.is_empty()) else {
        let meant = meant(name, names).unwrap_or_default();
        return format!("is unknown{meant}{} {what} has {has}", if meant.is_empty() { ":" } else { "" });
    };
    format!("is for `{}` = {}: {what} has {has}", select.name, or(&others))
}

/// Looks whether all is there that must be, and nothing that must not.
fn complete(table: &Table, mut fields: Fields) -> Result<Fields, Fault> {
    if let Some(select) = &table.select {
        fields.variant = Some(variant_of(table, select, &fields)?);
    }
    let variant = fields.variant;
    for (name, value) in &fields.given {
        let Some(field) = table.field(name, variant) else {
            return Err(Fault::of_field(*name, stranger(table, variant, name)));
        };
        field.kind.recheck(value).map_err(|Fault { text, .. }| Fault::of_field(*name, text))?;
    }
    for field in table.all_fields().filter(|field| field.is_of(variant)) {
        if matches!(field.need, Need::Required) && !fields.has(field.name) {
            return Err(Fault::of_table(format!("lacks `{}`: {}", field.name, field.kind.allowed())));
        }
    }
    table.rules.iter().try_for_each(|rule| hold(rule, table, &fields))?;
    Ok(fields)
}

/// What the table is: as it says, as one of its fields implies, or as is usual.
fn variant_of(table: &Table, select: &Select, fields: &Fields) -> Result<&'static str, Fault> {
    let implies = |field: &&'static Field| matches!(field.need, Need::Implies) && fields.has(field.name);
    let implied = || table.all_fields().find(implies)?.of.first().copied();
    fields.variant.or_else(implied).or(select.default).ok_or_else(|| {
        let variants: Vec<_> = select.variants.iter().map(|word| format!("\"{}\"", word.name)).collect();
        Fault::of_table(format!("lacks `{}`: {}", select.name, or(&variants)))
    })
}

fn hold(rule: &Rule, table: &Table, fields: &Fields) -> Result<(), Fault> {
    let concerns = |of: &[&str]| of.is_empty() || fields.variant.is_some_and(|variant| of.contains(&variant));
    match rule {
        Rule::OneOf { of, fields: names } if concerns(of) => {
            let given: Vec<_> = names.iter().filter(|name| fields.has(name)).collect();
            match given.as_slice() {
                [_] => Ok(()),
                [] => {
                    let ways = names.iter().filter_map(|name| table.field(name, fields.variant));
                    let ways: Vec<_> =
                        ways.map(|field| format!("`{}` ({})", field.name, field.kind.allowed())).collect();
                    Err(Fault::of_table(format!("lacks one of {}", or(&ways))))
                }
                [one, other, ..] => {
                    Err(Fault::of_field(**other, format!("excludes `{one}`: only one of them is given")))
                }
            }
        }
        Rule::NotBoth { of, fields: [one, other], why } if concerns(of) && fields.has(one) && fields.has(other) => {
            Err(Fault::of_field(*other, format!("excludes `{one}`: {why}")))
        }
        Rule::OneOf { .. } | Rule::NotBoth { .. } => Ok(()),
    }
}

/// A key, which is refused while the format's reader is still at it.
struct KeyOf<'a, F>(&'a At<'a>, F);

impl<'de, F: FnOnce(&str) -> Result<(), Fault>> DeserializeSeed<'de> for KeyOf<'_, F> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl<F: FnOnce(&str) -> Result<(), Fault>> Visitor<'_> for KeyOf<'_, F> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        (self.1)(name).map_err(|fault| self.0.refuse(fault))?;
        Ok(name.to_owned())
    }

    // Formats with keys of other types have a number for `5`.
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<String, E> {
        self.visit_str(if on { "true" } else { "false" })
    }
}

/// Tells whether a key is the one that a format wraps a value of its own in.
struct Wrapper;

impl<'de> DeserializeSeed<'de> for Wrapper {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Wrapper {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(WRAPPERS.contains(&name))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }
}

/// The value in a wrapper: always text.
struct Wrapped<'a>(At<'a>);

impl<'de> DeserializeSeed<'de> for Wrapped<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Wrapped<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.visit_str(text)
    }
}
