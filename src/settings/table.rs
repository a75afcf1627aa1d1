//! The kinds of fields and tables there are: what the tables of this module are written in.

use std::time::Duration;

use super::given::Given;
use super::near::nearest;
use super::path::MAX_NAME;
use super::span;
use super::value::{Fault, Fields, Value};
use crate::backoff::Jitter;
use crate::classify::{CLASSES, CODES, ERRORS, Outcomes};

/// One table of a configuration, as data. Reading, suggestions, the JSON schema and the documentation all come from it.
#[derive(Debug)]
pub(super) struct Table {
    /// With its article: `a detector`.
    pub(super) what: &'static str,
    pub(super) doc: &'static str,
    /// The field that says which of several things it is.
    pub(super) select: Option<Select>,
    /// In groups, so that tables can share some.
    pub(super) fields: &'static [&'static [Field]],
    pub(super) rules: &'static [Rule],
    /// What may stand instead of the table.
    pub(super) shorts: &'static [Kind],
    pub(super) from_short: fn(Value) -> Result<Value, Fault>,
    /// Makes what the table is about of its fields, which are complete and each within its bounds.
    pub(super) make: fn(Fields) -> Result<Value, Fault>,
}

/// The field that says which of several things a table is.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) name: &'static str,
    pub(super) variants: &'static [Word],
    /// What it is where that is not said.
    pub(super) default: Option<&'static str>,
}

/// A word with a meaning.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) kind: Kind,
    /// The variants of the table that have it; empty: all.
    pub(super) of: &'static [&'static str],
    pub(super) need: Need,
}

/// What holds where a field is left out.
#[derive(Debug)]
pub(super) enum Need {
    /// It must be given.
    Required,
    /// Nothing.
    Optional,
    /// So much, in words.
    Default(&'static str),
    /// As `Optional`, and where it is given, the table is what the field belongs to, unless it says otherwise.
    Implies,
}

/// What is to be true of several fields together.
#[derive(Debug)]
pub(super) enum Rule {
    /// In these variants exactly one of the fields is given.
    OneOf { of: &'static [&'static str], fields: &'static [&'static str] },
    /// In these variants the two do not stand together.
    NotBoth { of: &'static [&'static str], fields: [&'static str; 2], why: &'static str },
}

/// What may stand at a place.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    Whole {
        min: u64,
        max: u64,
    },
    /// From `min`, or above it, to `max`.
    Number {
        min: f64,
        above: bool,
        max: f64,
        percent: bool,
    },
    Span {
        min: Duration,
        max: Duration,
    },
    /// Text of so many bytes at most.
    Text {
        max: usize,
    },
    Word(&'static [Word]),
    /// A word, or a share of the delay.
    Jitter,
    /// A status of HTTP or gRPC, or what befalls a connection.
    Status,
    /// The name of something in a section of the file.
    Name {
        section: &'static str,
    },
    Table(&'static Table),
    /// At least one of them.
    List(&'static Self),
    /// Any number of them, by name.
    Named {
        what: &'static str,
        item: &'static Self,
    },
    /// What takes a feature that is off.
    #[cfg_attr(feature = "fleet", expect(dead_code, reason = "all that needs a feature needs this one"))]
    Off {
        feature: &'static str,
    },
}

/// How many items a list may have: more than one in a file that is written by hand, and each breaker that begins with a list has
/// one of its own.
pub(super) const MAX_ITEMS: usize = 256;
pub(super) const ANY_LENGTH: Duration = Duration::MAX;
/// The least that is not nothing.
pub(super) const ABOVE_ZERO: Duration = Duration::from_nanos(1);
pub(super) const JITTERS: &[Word] = &[
    Word { name: "full", doc: "anything from nothing to the whole delay" },
    Word { name: "equal", doc: "anything from half the delay to the whole" },
    Word { name: "none", doc: "exactly the delay" },
];

impl Field {
    pub(super) fn is_of(&self, variant: Option<&str>) -> bool {
        self.of.is_empty() || variant.is_none_or(|variant| self.of.contains(&variant))
    }
}

impl Table {
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().copied().flatten()
    }

    /// The names of the fields that it has, or has where it is of this variant, with the one that says so.
    pub(super) fn names(&self, variant: Option<&str>) -> Vec<&'static str> {
        let mut names: Vec<_> = self.select.iter().map(|select| select.name).collect();
        for field in self.all_fields().filter(|field| field.is_of(variant)) {
            if !names.contains(&field.name) {
                names.push(field.name);
            }
        }
        names
    }

    /// The field of that name, as it is in this variant.
    pub(super) fn field(&self, name: &str, variant: Option<&str>) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name && field.is_of(variant))
    }

    /// What may stand there instead, in words.
    fn allowed(&self) -> String {
        let table = match &self.select {
            Some(select) if select.default.is_none() => {
                format!("a table with `{}` = {}", select.name, or(&quoted(select.variants)))
            }
            _ => format!(
                "a table of {}",
                and(&self.names(None).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>())
            ),
        };
        let shorts = self.shorts.iter().map(Kind::allowed);
        or(&shorts.chain([table]).collect::<Vec<_>>())
    }
}

impl Kind {
    /// What may stand there, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Whole { min, max: u64::MAX } => format!("a whole number of at least {min}"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, above, max, percent } => {
                let low = if *above { format!("above {min}") } else { format!("of at least {min}") };
                let high = if *max < f64::MAX { format!(" and at most {max}") } else { String::new() };
                let share = if *percent { ", or a share such as \"50%\"" } else { "" };
                format!("a number {low}{high}{share}")
            }
            Self::Span { min, max } => {
                let bounds = match (*min, *max) {
                    (Duration::ZERO, ANY_LENGTH) => String::new(),
                    (ABOVE_ZERO, ANY_LENGTH) => ", above zero".to_owned(),
                    (min, max) => format!(", from {min:?} to {max:?}"),
                };
                format!("a duration with its unit, such as \"30s\", \"5m\" or \"250ms\"{bounds}")
            }
            Self::Text { max } => format!("text of 1 to {max} bytes"),
            Self::Word(words) => or(&quoted(words)),
            Self::Jitter => format!("{} or a number from 0 to 1", quoted(JITTERS).join(", ")),
            Self::Status => {
                "a status from 400 to 599, \"4xx\", \"5xx\", one of gRPC such as \"UNAVAILABLE\", or an error such as \
                \"timeout\" or \"connection_reset\""
                    .to_owned()
            }
            Self::Name { section } => format!("the name of one of `{section}`"),
            Self::Table(table) => table.allowed(),
            Self::List(item) => match item {
                Self::Table(table) => format!("a list, each of its items {}", table.what),
                item => format!("a list, each of its items {}", item.allowed()),
            },
            Self::Named { what, .. } => format!("a table of {what} by name"),
            Self::Off { feature } => format!("nothing without the feature `{feature}` of fusebox"),
        }
    }

    /// Reads what is neither a list nor a table.
    ///
    /// # Errors
    ///
    /// What is allowed, and what may have been meant.
    pub(super) fn scalar(&self, given: Given<'_>) -> Result<Value, Fault> {
        match self.understood(given) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Fault::of_table(format!("is {given}, allowed is {}{}", self.allowed(), self.hint(given)))),
            Err(fault) => Err(fault),
        }
    }

    fn understood(&self, given: Given<'_>) -> Result<Option<Value>, Fault> {
        let value = match (self, given) {
            (Self::Bool, given) => bool_of(given).map(Value::Bool),
            (Self::Whole { min, max }, given) => {
                whole_of(given).filter(|number| (min..=max).contains(&number)).map(Value::Whole)
            }
            (Self::Number { percent, .. }, given) => {
                number_of(given, *percent).filter(|number| self.holds(*number)).map(Value::Number)
            }
            (Self::Span { min, max }, Given::Text(text)) => {
                span::parse(text).filter(|span| (min..=max).contains(&span)).map(Value::Span)
            }
            (Self::Text { max }, Given::Text(text)) => {
                (1..=*max).contains(&text.len()).then(|| Value::Text(text.to_owned()))
            }
            (Self::Word(words), Given::Text(text)) => word_of(words, text).map(Value::Word),
            (Self::Name { .. }, Given::Text(text)) => {
                (1..=MAX_NAME).contains(&text.len()).then(|| Value::Name(text.to_owned()))
            }
            (Self::Status, Given::Text(text)) => status_of(text.trim()),
            (Self::Status, Given::Whole(number)) => status_of(&number.to_string()),
            (Self::Jitter, given) => jitter_of(given).map(Value::Jitter),
            // The environment has text only.
            (Self::List(item), Given::Text(text)) if item.is_scalar() => {
                check_count(text.split(',').count())?;
                let items = text.split(',').map(|part| item.scalar(Given::Text(part.trim())));
                return items.collect::<Result<Vec<_>, _>>().map(|items| Some(Value::List(items)));
            }
            (Self::Table(table), given) => {
                return match table.shorts.iter().find_map(|short| short.scalar(given).ok()) {
                    Some(short) => (table.from_short)(short).map(Some),
                    None => Ok(None),
                };
            }
            _ => None,
        };
        Ok(value)
    }

    /// Of what section a name may stand there.
    pub(super) fn section(&self) -> Option<&'static str> {
        match self {
            Self::Name { section } => Some(section),
            Self::Table(table) => table.shorts.iter().find_map(Self::section),
            _ => None,
        }
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Self::Table(_) | Self::List(_) | Self::Named { .. })
    }

    /// Whether a number is within the bounds.
    fn holds(&self, number: f64) -> bool {
        let Self::Number { min, above, max, .. } = self else {
            return true;
        };
        (*min..=*max).contains(&number) && !(*above && number <= *min)
    }

    /// Says what is wrong with a value that another field of the same name has taken.
    pub(super) fn recheck(&self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Number(number) if !self.holds(*number) => {
                Err(Fault::of_table(format!("is {number}, allowed is {}", self.allowed())))
            }
            _ => Ok(()),
        }
    }

    /// What may have been meant, or is missing.
    fn hint(&self, given: Given<'_>) -> String {
        let Given::Text(text) = given else {
            let is_number = matches!(given, Given::Whole(_) | Given::Real(_));
            return if is_number && self.takes_span() { no_unit(&given.to_string()) } else { String::new() };
        };
        let words = match self {
            Self::Status => return meant(text, statuses()).unwrap_or_default(),
            Self::Word(words) => words,
            Self::Jitter => JITTERS,
            _ if self.takes_span() && span::lacks_unit(text) => return no_unit(text.trim()),
            _ => return String::new(),
        };
        meant(text, words.iter().map(|word| word.name)).unwrap_or_default()
    }

    fn takes_span(&self) -> bool {
        match self {
            Self::Span { .. } => true,
            Self::Table(table) => table.shorts.iter().any(Self::takes_span),
            _ => false,
        }
    }
}

/// Whether a list is not too long.
pub(super) fn check_count(items: usize) -> Result<(), Fault> {
    if items > MAX_ITEMS {
        return Err(Fault::of_table(format!("is a list of {items} items, allowed are {MAX_ITEMS}")));
    }
    Ok(())
}

fn no_unit(number: &str) -> String {
    format!(": the unit is missing (\"{number}s\"? \"{number}ms\"?)")
}

/// `; did you mean `x`?`
pub(super) fn meant<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|name| format!("; did you mean `{name}`?"))
}

fn quoted(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| format!("\"{}\"", word.name)).collect()
}

pub(super) fn or(items: &[String]) -> String {
    joined(items, "or")
}

pub(super) fn and(items: &[String]) -> String {
    joined(items, "and")
}

fn joined(items: &[String], word: &str) -> String {
    match items {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {word} {last}", most.join(", ")),
    }
}

fn bool_of(given: Given<'_>) -> Option<bool> {
    match given {
        Given::Bool(on) => Some(on),
        Given::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole_of(given: Given<'_>) -> Option<u64> {
    match given {
        Given::Whole(number) => u64::try_from(number).ok(),
        // What has no fraction is whole, however the format writes it.
        Given::Real(number) => number.to_string().parse().ok(),
        Given::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number_of(given: Given<'_>, percent: bool) -> Option<f64> {
    let (text, divisor) = match given {
        Given::Real(number) => return Some(number),
        Given::Whole(number) => return number.to_string().parse().ok(),
        Given::Text(text) => match text.trim().strip_suffix('%') {
            Some(share) if percent => (share.trim_end(), 100.0),
            Some(_) => return None,
            None => (text.trim(), 1.0),
        },
        _ => return None,
    };
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number / divisor)
}

/// A status, if it is one.
fn status_of(word: &str) -> Option<Value> {
    Outcomes::new().failures([word]).ok().map(|_| Value::Text(word.to_owned()))
}

/// Those that have names.
pub(super) fn statuses() -> impl Iterator<Item = &'static str> {
    CLASSES.into_iter().chain(CODES).chain(ERRORS)
}

fn word_of(words: &'static [Word], text: &str) -> Option<&'static str> {
    words.iter().map(|word| word.name).find(|name| *name == text.trim())
}

fn jitter_of(given: Given<'_>) -> Option<Jitter> {
    match given {
        Given::Text(text) if word_of(JITTERS, text).is_some() => match word_of(JITTERS, text)? {
            "full" => Some(Jitter::Full),
            "equal" => Some(Jitter::Equal),
            _ => Some(Jitter::None),
        },
        given => number_of(given, true).filter(|share| (0.0..=1.0).contains(share)).map(Jitter::Proportional),
    }
}
