//! What the store needs in its database, and how to look whether it is there.

use std::time::Duration;

use crate::error::ConfigError;
use crate::store::protocol::{DEDUP_WINDOW, MAX_ROUND_BATCHES, OUTBOX_CAPACITY, ROUND_LEASE};

const TEMPLATE: &str = include_str!("schema.sql");
/// How long the mark of a writer's last batch is kept: much longer than it must be known, so that a step of the server's
/// clock takes away none too early.
const MARK_RETENTION: Duration = Duration::from_secs(10 * DEDUP_WINDOW.as_secs());
/// Rows that one statement prunes, at most, so that none locks much for long.
pub(super) const PRUNE_LIMIT: u64 = 1_000;
/// The longest suffix that is added to a table's name, or prefix and suffix, is that much shorter than PostgreSQL's 63.
const LONGEST_TABLE: usize = 40;

/// What the row `c` without a record says of a breaker that is not closed: state, failures, and the end of the cooldown in
/// microseconds.
pub(super) const ADOPTED: &str = "case when c.record is null and c.state <> 'CLOSED' then \
    c.state || ' ' || c.failure_count || ' ' || case when c.open_until is null then '' else \
    (extract(epoch from greatest(least(c.open_until, '9999-12-31'), '1970-01-01')) * 1000000)::bigint::text end end";

/// A table's name: no more than letters, digits and underscores, so that it can stand in statements.
#[derive(Clone, Debug)]
pub(super) struct Table(String);

impl Table {
    pub(super) fn new(name: &str) -> Result<Self, ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let starts = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if starts && name.len() <= LONGEST_TABLE && name.bytes().all(is_plain) {
            Ok(Self(name.to_owned()))
        } else {
            let allowed = "an identifier of lower-case letters, digits and underscores, of at most 40 characters";
            Err(ConfigError::new("table", &name.escape_debug(), allowed))
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a time zone, that can stand in a statement.
pub(super) fn check_zone(zone: &str) -> Result<(), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte);
    if (1..=64).contains(&zone.len()) && zone.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(ConfigError::new("widen_timestamps", &zone.escape_debug(), "the name of a time zone, such as UTC"))
    }
}

/// The migration as one transaction.
pub(super) fn migration(table: &Table, widen_from: Option<&str>) -> String {
    let table = table.as_str();
    let schema = TEMPLATE
        .replace("{table}", table)
        .replace("{adopted}", ADOPTED)
        .replace("{max_round_batches}", &MAX_ROUND_BATCHES.to_string())
        .replace("{outbox_capacity}", &OUTBOX_CAPACITY.to_string())
        .replace("{round_lease}", &format!("{} milliseconds", ROUND_LEASE.as_millis()))
        .replace("{mark_retention}", &mark_retention())
        .replace("{prune_limit}", &PRUNE_LIMIT.to_string());
    let widening = widen_from.map(|zone| widening(table, zone)).unwrap_or_default();
    // Two that migrate at once would trip over each other's half-made tables.
    format!(
        "begin;\nset local lock_timeout = '10s';\nset local client_min_messages = warning;\n\
         select pg_advisory_xact_lock(hashtext('fusebox'), hashtext('{table}'));\n{schema}{widening}commit;\n"
    )
}

/// [`MARK_RETENTION`] as an interval of the server.
pub(super) fn mark_retention() -> String {
    format!("{} minutes", MARK_RETENTION.as_secs() / 60)
}

fn widening(table: &str, zone: &str) -> String {
    format!(
        "do $fusebox$\ndeclare\n    name text;\nbegin\n    for name in\n        select a.attname from pg_attribute a\n        \
         where a.attrelid = '\"{table}\"'::regclass and a.atttypid = 'timestamp'::regtype\n            \
         and a.attname in ('open_until', 'created_at', 'updated_at')\n    loop\n        \
         execute format('alter table \"{table}\" alter column %I type timestamptz using %I at time zone ''{zone}''', name, name);\n    \
         end loop;\nend\n$fusebox$;\n"
    )
}

/// Asks for three booleans: everything is there, this role may use it, and the server takes writes.
pub(super) fn check(table: &Table) -> String {
    let table = table.as_str();
    let tables =
        [String::new(), "_outbox".into(), "_writers".into(), "_events".into()].map(|of| format!("{table}{of}"));
    let there: Vec<_> = tables.iter().map(|table| format!("to_regclass('\"{table}\"') is not null")).collect();
    let rights = ["select", "insert", "update", "delete"];
    let allowed: Vec<_> = tables
        .iter()
        .flat_map(|table| {
            rights.map(|right| format!("has_table_privilege(to_regclass('\"{table}\"')::oid, '{right}')"))
        })
        .collect();
    let function = format!("to_regproc('\"{table}_commit_v2\"')");
    format!(
        "select {there} and {function} is not null, \
         coalesce({allowed} and has_function_privilege({function}::oid, 'execute'), false), \
         not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'",
        there = there.join(" and "),
        allowed = allowed.join(" and "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::protocol::written_numbers;

    #[test]
    fn only_plain_names_are_tables() {
        for name in ["hw_circuit_breakers", "_a", "b2"] {
            assert_eq!(Table::new(name).unwrap().as_str(), name);
        }
        for name in ["", "2b", "Breakers", "a b", "a\"; drop table b; --", "public.a", "ä", &"x".repeat(41)] {
            assert_eq!(Table::new(name).unwrap_err().field(), "table", "{name}");
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let sql = migration(&Table::new("breakers").unwrap(), Some("UTC"));
        assert!(!sql.contains('{') && !sql.contains("hw_"), "{sql}");
    }

    #[test]
    fn the_schema_takes_its_numbers_from_the_protocol() {
        let sql = migration(&Table::new("t").unwrap(), None);
        let lease = ROUND_LEASE.as_millis();
        let retention = MARK_RETENTION.as_secs() / 60;
        for (part, times) in [
            (format!("t_now + interval '{lease} milliseconds'"), 2),
            (format!("order by o.id limit {MAX_ROUND_BATCHES}\n"), 2),
            (format!("offset {OUTBOX_CAPACITY} - 1)"), 1),
            (format!("interval '{retention} minutes' limit {PRUNE_LIMIT} for update"), 1),
        ] {
            assert_eq!(sql.matches(&part).count(), times, "{part}");
        }
        assert_eq!(Duration::from_secs(60 * retention), MARK_RETENTION, "whole minutes");
        assert!(MARK_RETENTION >= DEDUP_WINDOW);
    }

    #[test]
    fn the_schema_writes_out_no_number_of_the_protocol() {
        // Answers; sizes of columns and pages; a limit of waiting for locks; the largest integer; microseconds of a second.
        let own = ["0", "1", "2", "3", "4", "5", "01", "50", "255", "250", "5000", "2147483647", "1000000"];
        for number in written_numbers(TEMPLATE) {
            assert!(own.contains(&number), "{number}");
        }
    }
}
