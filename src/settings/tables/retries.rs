//! What a retry is made from.

use std::time::Duration;

use super::backoffs::BACKOFF;
use super::budgets::BUDGET;
use crate::attempts::{RetryConfig, RetryConfigBuilder, Timed, WhenRejected};
use crate::error::ConfigError;
use crate::one_line::OneLine;
use crate::settings::table::{ABOVE_ZERO, ANY_LENGTH, Field, Kind, Need, Table, Word};
use crate::settings::value::{Fault, Fields, Value, Waits};

pub(in crate::settings) static RETRY: Table = Table { make: make_timed, ..table() };

/// Without limits of time.
pub(in crate::settings) static UNTIMED_RETRY: Table = Table { make: make_untimed, ..table() };

/// In a file, where its budget may stand elsewhere.
pub(super) static NAMED_RETRY: Table = table();

const fn table() -> Table {
    Table {
        what: "a retry",
        doc: "What failed calls are made again by.",
        select: None,
        fields: &[RETRY_FIELDS],
        rules: &[],
        shorts: &[],
        from_short: Ok,
        make: |fields| Ok(Value::Fields(fields)),
    }
}

const RETRY_FIELDS: &[Field] = &[
    Field {
        name: "max_retries",
        doc: "How many attempts may follow the first.",
        kind: Kind::Whole { min: 0, max: u32::MAX as u64 },
        of: &[],
        need: Need::Default("3"),
    },
    Field {
        name: "backoff",
        doc: "The waits between attempts.",
        kind: Kind::Table(&BACKOFF),
        of: &[],
        need: Need::Default("exponential, 100ms to 10s, full jitter"),
    },
    Field {
        name: "deadline",
        doc: "The time for the whole call: the wait for the service, all attempts, and the waits between them.",
        kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Optional,
    },
    Field {
        name: "attempt_timeout",
        doc: "The time for each attempt.",
        kind: Kind::Span { min: ABOVE_ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Optional,
    },
    Field {
        name: "budget",
        doc: "A cap on retries overall: one of its own, or the name of one that several share.",
        kind: Kind::Table(&BUDGET),
        of: &[],
        need: Need::Optional,
    },
    Field {
        name: "retry_after_cap",
        doc: "The longest wait that the dependency may ask for.",
        kind: Kind::Span { min: Duration::ZERO, max: ANY_LENGTH },
        of: &[],
        need: Need::Default("5m"),
    },
    Field {
        name: "when_rejected",
        doc: "What to do when a circuit breaker further in rejects an attempt.",
        kind: Kind::Word(&[
            Word { name: "return", doc: "return the rejection at once" },
            Word { name: "wait", doc: "wait until the breaker says that it is worth another try" },
            Word { name: "retry", doc: "treat it like any other failure" },
        ]),
        of: &[],
        need: Need::Default("\"return\""),
    },
    Field {
        name: "seed",
        doc: "Makes jitter the same from run to run: for tests and simulations.",
        kind: Kind::Whole { min: 0, max: u64::MAX },
        of: &[],
        need: Need::Optional,
    },
];

/// Makes a configuration of the fields, whose budget is resolved.
pub(in crate::settings) fn retry(mut fields: Fields) -> Result<RetryConfig<Timed>, ConfigError> {
    let (deadline, timeout) = (fields.take("deadline"), fields.take("attempt_timeout"));
    let mut builder = plain(fields).timed();
    if let Some(deadline) = deadline {
        builder = builder.deadline(deadline);
    }
    if let Some(timeout) = timeout {
        builder = builder.attempt_timeout(timeout);
    }
    builder.build()
}

/// All but the limits of time.
fn plain(mut fields: Fields) -> RetryConfigBuilder {
    let mut builder = RetryConfig::builder();
    if let Some(retries) = fields.take("max_retries") {
        builder = builder.max_retries(retries);
    }
    if let Some(waits) = fields.take::<Waits>("backoff") {
        builder = builder.backoff(waits.boxed());
    }
    if let Some(budget) = fields.take("budget") {
        builder = builder.budget(budget);
    }
    if let Some(cap) = fields.take("retry_after_cap") {
        builder = builder.retry_after_cap(cap);
    }
    match fields.take("when_rejected") {
        Some("wait") => builder = builder.when_rejected(WhenRejected::Wait),
        Some("retry") => builder = builder.when_rejected(WhenRejected::Retry),
        _ => {}
    }
    if let Some(seed) = fields.take("seed") {
        builder = builder.seed(seed);
    }
    builder
}

/// By itself there is no section that a budget could be named in.
fn check_budget(fields: &Fields) -> Result<(), Fault> {
    match fields.given.iter().find(|(name, _)| *name == "budget") {
        Some((_, Value::Name(name))) => {
            let text = format!("is \"{}\", allowed is a table: only a whole file has named budgets", OneLine(name));
            Err(Fault::of_field("budget", text))
        }
        _ => Ok(()),
    }
}

fn make_timed(fields: Fields) -> Result<Value, Fault> {
    check_budget(&fields)?;
    retry(fields).map(Value::Retry).map_err(|error| Fault::of_error(&error, &[]))
}

fn make_untimed(fields: Fields) -> Result<Value, Fault> {
    check_budget(&fields)?;
    for limit in ["deadline", "attempt_timeout"] {
        if fields.has(limit) {
            return Err(Fault::of_field(
                limit,
                "is set, allowed is none here: with a limit of time it is a `RetryConfig<Timed>`",
            ));
        }
    }
    let config = plain(fields).build();
    config.map(Value::UntimedRetry).map_err(|error| Fault::of_error(&error, &[]))
}
