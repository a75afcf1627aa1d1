//! What decides a trip.

use std::time::Duration;

use crate::circuit::detector::{self as detect, Combined, Detector};
use crate::settings::table::{ABOVE_ZERO, ANY_LENGTH, Field, Kind, Need, Rule, Select, Table, Word};
use crate::settings::value::{Fault, Fields, Value};

const MAX_WINDOW: u64 = 1 << 20;
const RATE: Kind = Kind::Number { min: 0.0, above: true, max: 1.0, percent: true };
const CALLS: Kind = Kind::Whole { min: 1, max: MAX_WINDOW };
const TIME: Kind = Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH };
/// A detector is made of detectors: by its address, as its value is not known yet.
static PART: Kind = Kind::Table(&DETECTOR);

const WINDOWED: &[&str] = &["failures", "failure_rate", "slow_call_rate"];
const OLDER_TIME: &[&str] = &["time_based", "combined"];
const OLDER_COUNT: &[&str] = &["sliding_window", "combined"];

pub(in crate::settings) static DETECTOR: Table = Table {
    what: "a detector",
    doc: "What opens the circuit.",
    select: Some(Select {
        name: "type",
        variants: &[
            Word { name: "failures", doc: "so many failures of the last calls, or within a time" },
            Word { name: "failure_rate", doc: "such a share of failures" },
            Word { name: "slow_call_rate", doc: "such a share of slow calls" },
            Word { name: "consecutive_failures", doc: "so many failures in a row" },
            Word { name: "any", doc: "when any of several detectors says so" },
            Word { name: "all", doc: "when all of several detectors say so" },
            Word { name: "time_based", doc: "`failures` within a time, as c-breaker has it" },
            Word { name: "sliding_window", doc: "`failure_rate` of the last calls, as c-breaker has it" },
            Word { name: "combined", doc: "both of these, as c-breaker has it" },
        ],
        default: None,
    }),
    fields: &[&FIELDS],
    rules: &[
        Rule::OneOf { of: WINDOWED, fields: &["of_last", "within"] },
        Rule::OneOf { of: &["any"], fields: &["of", "any"] },
        Rule::OneOf { of: &["all"], fields: &["of", "all"] },
        Rule::NotBoth {
            of: &["failures"],
            fields: ["within", "min_calls"],
            why: "failures within a time are counted without the successes",
        },
    ],
    shorts: &[],
    from_short: Ok,
    make,
};

static FIELDS: [Field; 14] = [
    Field {
        name: "count",
        doc: "How many failures open the circuit.",
        kind: Kind::Whole { min: 1, max: u32::MAX as u64 },
        of: &["failures", "consecutive_failures"],
        need: Need::Required,
    },
    Field {
        name: "rate",
        doc: "The share of bad calls that opens the circuit.",
        kind: RATE,
        of: &["failure_rate", "slow_call_rate"],
        need: Need::Required,
    },
    Field {
        name: "slower_than",
        doc: "From how long on a call is slow.",
        kind: TIME,
        of: &["slow_call_rate"],
        need: Need::Required,
    },
    Field {
        name: "of_last",
        doc: "Judges so many of the last calls.",
        kind: CALLS,
        of: WINDOWED,
        need: Need::Optional,
    },
    Field {
        name: "within",
        doc: "Judges the calls of so long a time.",
        kind: TIME,
        of: WINDOWED,
        need: Need::Optional,
    },
    Field {
        name: "min_calls",
        doc: "With fewer calls than that in the window the circuit stays closed.",
        kind: Kind::Whole { min: 1, max: u32::MAX as u64 },
        of: &["failures", "failure_rate", "slow_call_rate", "sliding_window", "combined"],
        need: Need::Default("5 for a rate, or the window where that is shorter; 1 for failures"),
    },
    Field {
        name: "of",
        doc: "The detectors that decide together.",
        kind: Kind::List(&PART),
        of: &["any", "all"],
        need: Need::Optional,
    },
    Field {
        name: "any",
        doc: "Short for `type = \"any\"` and `of`.",
        kind: Kind::List(&PART),
        of: &["any"],
        need: Need::Implies,
    },
    Field {
        name: "all",
        doc: "Short for `type = \"all\"` and `of`.",
        kind: Kind::List(&PART),
        of: &["all"],
        need: Need::Implies,
    },
    Field {
        name: "failure_threshold",
        doc: "How many failures open the circuit.",
        kind: Kind::Whole { min: 1, max: 65_536 },
        of: OLDER_TIME,
        need: Need::Default("5"),
    },
    Field {
        name: "time_window_seconds",
        doc: "Within how many seconds.",
        kind: Kind::Number { min: 0.0, above: true, max: 1e9, percent: false },
        of: OLDER_TIME,
        need: Need::Default("60"),
    },
    Field {
        name: "window_size",
        doc: "Judges so many of the last calls.",
        kind: CALLS,
        of: OLDER_COUNT,
        need: Need::Default("10"),
    },
    Field {
        name: "failure_rate_threshold",
        doc: "The share of failures that opens the circuit.",
        kind: RATE,
        of: OLDER_COUNT,
        need: Need::Default("0.5"),
    },
    Field {
        name: "require_both",
        doc: "Whether both must say so.",
        kind: Kind::Bool,
        of: &["combined"],
        need: Need::Default("false"),
    },
];

/// The names that the detectors give to what is wrong, and the fields.
const NAMES: &[(&str, &str)] = &[
    ("failures", "count"),
    ("consecutive_failures", "count"),
    ("failure_rate", "rate"),
    ("slow_call_rate", "rate"),
    ("slower_than", "slower_than"),
    ("of_last", "of_last"),
    ("within", "within"),
    ("min_calls", "min_calls"),
];
const OLDER_NAMES: &[(&str, &str)] = &[
    ("failures", "failure_threshold"),
    ("failure_rate", "failure_rate_threshold"),
    ("of_last", "window_size"),
    ("within", "time_window_seconds"),
    ("min_calls", "min_calls"),
];

fn make(fields: Fields) -> Result<Value, Fault> {
    let names = match fields.variant {
        Some("time_based" | "sliding_window" | "combined") => OLDER_NAMES,
        _ => NAMES,
    };
    let detector = detector(fields)?;
    detector.check().map_err(|error| Fault::of_error(&error, names))?;
    Ok(Value::Detector(detector))
}

fn detector(mut fields: Fields) -> Result<Box<dyn Detector>, Fault> {
    let count = |fields: &mut Fields| fields.take::<u32>("count").unwrap_or_default();
    let rate = |fields: &mut Fields| fields.take::<f64>("rate").unwrap_or_default();
    Ok(match fields.variant.unwrap_or_default() {
        "failures" => {
            let failures = detect::failures(count(&mut fields));
            match fields.take("of_last") {
                Some(calls) => of_last(failures.of_last(calls), &mut fields),
                None => Box::new(failures.within(fields.take("within").unwrap_or_default())),
            }
        }
        "failure_rate" => {
            let rate = detect::failure_rate(rate(&mut fields));
            match fields.take("of_last") {
                Some(calls) => of_last(rate.of_last(calls), &mut fields),
                None => within(rate.within(fields.take("within").unwrap_or_default()), &mut fields),
            }
        }
        "slow_call_rate" => {
            let limit = fields.take("slower_than").unwrap_or_default();
            let rate = detect::slow_call_rate(rate(&mut fields)).slower_than(limit);
            match fields.take("of_last") {
                Some(calls) => of_last(rate.of_last(calls), &mut fields),
                None => within(rate.within(fields.take("within").unwrap_or_default()), &mut fields),
            }
        }
        "consecutive_failures" => Box::new(detect::consecutive_failures(count(&mut fields))),
        "any" => Box::new(Combined::any(parts(&mut fields, "any"))),
        "all" => Box::new(Combined::all(parts(&mut fields, "all"))),
        "time_based" => Box::new(older_time(&mut fields)),
        "sliding_window" => older_count(&mut fields),
        "combined" => {
            let is_both = fields.take("require_both").unwrap_or(false);
            let (time, count) = (older_time(&mut fields), older_count(&mut fields));
            Box::new(if is_both { time.and(count) } else { time.or(count) })
        }
        other => return Err(Fault::of_table(format!("is of an unknown kind: {other}"))),
    })
}

fn parts(fields: &mut Fields, short: &str) -> Vec<Box<dyn Detector>> {
    let list: Vec<Value> = fields.take("of").or_else(|| fields.take(short)).unwrap_or_default();
    let part = |value| if let Value::Detector(detector) = value { Some(detector) } else { None };
    list.into_iter().filter_map(part).collect()
}

fn of_last(detector: detect::OfLast, fields: &mut Fields) -> Box<dyn Detector> {
    Box::new(match fields.take("min_calls") {
        Some(calls) => detector.min_calls(calls),
        None => detector,
    })
}

fn within(detector: detect::Within, fields: &mut Fields) -> Box<dyn Detector> {
    Box::new(match fields.take("min_calls") {
        Some(calls) => detector.min_calls(calls),
        None => detector,
    })
}

fn older_time(fields: &mut Fields) -> detect::FailureTimes {
    let seconds = fields.take("time_window_seconds").unwrap_or(60.0);
    // The table bounds it.
    let window = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    detect::failures(fields.take("failure_threshold").unwrap_or(5)).within(window)
}

fn older_count(fields: &mut Fields) -> Box<dyn Detector> {
    let rate = fields.take("failure_rate_threshold").unwrap_or(0.5);
    of_last(detect::failure_rate(rate).of_last(fields.take("window_size").unwrap_or(10)), fields)
}
