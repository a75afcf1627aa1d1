//! What the store needs in its database, and how to look whether it is there.

use std::time::Duration;

use super::limits::{LATEST, LOCK_TIMEOUT_MS};
use crate::error::ConfigError;
use crate::store::protocol::{DEDUP_WINDOW, LARGEST, MAX_ROUND_BATCHES, OUTBOX_CAPACITY, ROUND_LEASE};

const TEMPLATE: &str = include_str!("schema.sql");
/// How long the mark of a writer's last batch is kept: much longer than it must be known, so that a step of the server's
/// clock takes away none too early.
const MARK_RETENTION: Duration = Duration::from_secs(10 * DEDUP_WINDOW.as_secs());
/// Rows that one statement prunes, at most, so that none locks much for long.
pub(super) const PRUNE_LIMIT: u64 = 1_000;
/// How long one try to migrate waits for each lock.
const MIGRATION_LOCK_MS: u32 = 300;
/// The longest suffix that is added to a table's name, or prefix and suffix, is that much shorter than PostgreSQL's 63.
const LONGEST_TABLE: usize = 40;

/// What the row `c` without a record says of a breaker that is not closed: state, failures, and the end of the cooldown in
/// microseconds.
pub(super) const ADOPTED: &str = "case when c.record is null and c.state <> 'CLOSED' then \
    c.state || ' ' || c.failure_count || ' ' || case when c.open_until is null then '' else \
    (extract(epoch from greatest(least(c.open_until, '9999-12-31'), '1970-01-01')) * 1000000)::bigint::text end end";

/// The name of a table, and of the schema that it is in: no more than letters, digits and underscores, so that both can
/// stand in statements.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Empty where the server's `search_path` has it.
    schema: String,
    name: String,
}

impl Table {
    pub(super) fn new(schema: &str, name: &str) -> Result<Self, ConfigError> {
        if !schema.is_empty() {
            check_identifier("schema", schema)?;
        }
        check_identifier("table", name)?;
        Ok(Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    /// For people, and the name of its channel.
    pub(super) fn shown(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// It, or what belongs to it and has this at the end of its name, as statements have it.
    pub(super) fn sql(&self, suffix: &str) -> String {
        format!("{}\"{}{suffix}\"", self.qualifier(), self.name)
    }

    fn qualifier(&self) -> String {
        if self.schema.is_empty() { String::new() } else { format!("\"{}\".", self.schema) }
    }
}

pub(super) fn check_identifier(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let starts = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if starts && name.len() <= LONGEST_TABLE && name.bytes().all(is_plain) {
        return Ok(());
    }
    let allowed = "an identifier of lower-case letters, digits and underscores, of at most 40 characters";
    Err(ConfigError::new(field, &name.escape_debug(), allowed))
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

/// The migration as one transaction. `roles` are those that are to use the store.
pub(super) fn migration(table: &Table, widen_from: Option<&str>, roles: &[String]) -> String {
    let (qualifier, name, channel) = (table.qualifier(), &table.name, table.shown());
    let body = TEMPLATE
        .replace("\"{table}", &format!("{qualifier}\"{name}"))
        .replace("\"{index}", &format!("{qualifier}\"idx_{name}"))
        .replace("{name}", name)
        .replace("{channel}", &channel)
        .replace("{lacks_columns}", &lacks_columns(table))
        .replace("{adopted}", ADOPTED)
        .replace("{latest}", &LATEST.to_string())
        .replace("{largest}", &LARGEST.to_string())
        .replace("{lock_timeout_ms}", &LOCK_TIMEOUT_MS.to_string())
        .replace("{max_round_batches}", &MAX_ROUND_BATCHES.to_string())
        .replace("{outbox_capacity}", &OUTBOX_CAPACITY.to_string())
        .replace("{round_lease}", &format!("{} milliseconds", ROUND_LEASE.as_millis()))
        .replace("{mark_retention}", &mark_retention())
        .replace("{prune_limit}", &PRUNE_LIMIT.to_string());
    let schema = schema(table);
    let widening = widen_from.map(|zone| widening(table, zone)).unwrap_or_default();
    let grants: String = roles.iter().map(|role| grants(table, role)).collect();
    // Two that migrate at once would trip over each other's half-made tables. A lock that is waited for holds up all who
    // come later, so it is not waited for long.
    format!(
        "begin;\nset local lock_timeout = '{MIGRATION_LOCK_MS}ms';\nset local client_min_messages = warning;\n\
         select pg_advisory_xact_lock(hashtext('fusebox'), hashtext('{channel}'));\n{schema}{body}{widening}{grants}commit;\n"
    )
}

/// Makes the schema where it is missing.
fn schema(table: &Table) -> String {
    if table.schema.is_empty() {
        return String::new();
    }
    let schema = &table.schema;
    format!(
        "do $fusebox$ begin if to_regnamespace('\"{schema}\"') is null then create schema \"{schema}\"; end if; end $fusebox$;\n"
    )
}

/// Tells whether an older table has not all columns.
fn lacks_columns(table: &Table) -> String {
    let table = table.sql("");
    format!(
        "exists (select from unnest(array['version', 'generation', 'record', 'expires_at', 'lease_until', 'lease_token']) as \
         needed (name) where not exists (select from pg_attribute a where a.attrelid = '{table}'::regclass \
         and a.attname = needed.name and not a.attisdropped))"
    )
}

/// [`MARK_RETENTION`] as an interval of the server.
pub(super) fn mark_retention() -> String {
    format!("{} minutes", MARK_RETENTION.as_secs() / 60)
}

fn widening(table: &Table, zone: &str) -> String {
    let table = table.sql("");
    format!(
        "do $fusebox$\ndeclare\n    name text;\nbegin\n    for name in\n        select a.attname from pg_attribute a\n        \
         where a.attrelid = '{table}'::regclass and a.atttypid = 'timestamp'::regtype\n            \
         and a.attname in ('open_until', 'created_at', 'updated_at')\n    loop\n        \
         execute format('alter table {table} alter column %I type timestamptz using %I at time zone ''{zone}''', name, name);\n    \
         end loop;\nend\n$fusebox$;\n"
    )
}

/// What a table and its companions have at the end of their names.
const TABLES: [&str; 4] = ["", "_outbox", "_writers", "_events"];
pub(super) const FUNCTION: &str = "_commit_v2";
const RIGHTS: [&str; 4] = ["select", "insert", "update", "delete"];

/// What a role needs that uses the store, and no more. `role` is a checked identifier.
fn grants(table: &Table, role: &str) -> String {
    let tables = TABLES.map(|suffix| table.sql(suffix)).join(", ");
    let usage = if table.schema.is_empty() {
        String::new()
    } else {
        format!("grant usage on schema \"{}\" to \"{role}\";\n", table.schema)
    };
    format!(
        "{usage}grant {rights} on {tables} to \"{role}\";\ngrant execute on function {function} to \"{role}\";\n",
        rights = RIGHTS.join(", "),
        function = table.sql(FUNCTION),
    )
}

/// Asks for three booleans: everything is there, this role may use it, and the server takes writes.
pub(super) fn check(table: &Table) -> String {
    let tables = TABLES.map(|suffix| table.sql(suffix));
    let there: Vec<_> = tables.iter().map(|table| format!("to_regclass('{table}') is not null")).collect();
    let allowed: Vec<_> = tables
        .iter()
        .flat_map(|table| RIGHTS.map(|right| format!("has_table_privilege(to_regclass('{table}')::oid, '{right}')")))
        .collect();
    let function = format!("to_regproc('{}')", table.sql(FUNCTION));
    let events = table.sql("_events");
    format!(
        "select {there} and {function} is not null and exists (select from pg_attribute a \
         where a.attrelid = to_regclass('{events}')::oid and a.attname = 'txid' and not a.attisdropped), \
         coalesce({allowed} and has_function_privilege({function}::oid, 'execute'), false), \
         not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'",
        there = there.join(" and "),
        allowed = allowed.join(" and "),
    )
}

/// Asks for what a role lacks to use the store: a row for each, as `grant` has it. `role` is an expression whose value is its
/// name; a table that is missing lacks all.
pub(super) fn lacking(table: &Table, role: &str) -> String {
    let main = table.sql("");
    let tables = TABLES.map(|suffix| table.sql(suffix));
    let of_tables = tables.iter().flat_map(|table| {
        RIGHTS.map(|right| {
            let has = format!("has_table_privilege(r.name, to_regclass('{table}')::oid, '{right}')");
            format!("('{right} on {table}', {has})")
        })
    });
    let function = table.sql(FUNCTION);
    let rows: Vec<_> = [
        "('connect on database ' || quote_ident(current_database()), \
         has_database_privilege(r.name, current_database(), 'connect'))"
            .to_owned(),
        "('usage on schema ' || r.home::text, has_schema_privilege(r.name, r.home::oid, 'usage'))".to_owned(),
    ]
    .into_iter()
    .chain(of_tables)
    .chain([format!(
        "('execute on function {function}', has_function_privilege(r.name, to_regproc('{function}')::oid, 'execute'))"
    )])
    .collect();
    format!(
        "select needed.what from (select ({role})::name as name, (select c.relnamespace::regnamespace from pg_class c \
         where c.oid = to_regclass('{main}')::oid) as home) r cross join lateral (values {rows}) needed (what, has) \
         where needed.what is not null and needed.has is not true",
        rows = rows.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::protocol::written_numbers;

    #[test]
    fn only_plain_names_are_tables() {
        for name in ["hw_circuit_breakers", "_a", "b2"] {
            assert_eq!(Table::new("", name).unwrap().shown(), name);
            assert_eq!(Table::new(name, "t").unwrap().sql("_x"), format!("\"{name}\".\"t_x\""));
        }
        for name in ["", "2b", "Breakers", "a b", "a\"; drop table b; --", "public.a", "ä", &"x".repeat(41)] {
            assert_eq!(Table::new("", name).unwrap_err().field(), "table", "{name}");
            if !name.is_empty() {
                assert_eq!(Table::new(name, "t").unwrap_err().field(), "schema", "{name}");
            }
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let sql = migration(&Table::new("ops", "breakers").unwrap(), Some("UTC"), &["app".to_owned()]);
        assert!(!sql.contains('{') && !sql.contains("hw_"), "{sql}");
    }

    #[test]
    fn the_schema_takes_its_numbers_from_the_protocol() {
        let sql = migration(&Table::new("", "t").unwrap(), None, &[]);
        let lease = ROUND_LEASE.as_millis();
        let retention = MARK_RETENTION.as_secs() / 60;
        for (part, times) in [
            (format!("t_now + interval '{lease} milliseconds'"), 5),
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
        // Answers; sizes of columns and pages; the largest integer; microseconds of a second; a part of a full
        // queue.
        let own = ["0", "1", "2", "3", "4", "5", "01", "50", "255", "5000", "6", "2147483647", "1000000", "9"];
        for number in written_numbers(TEMPLATE) {
            assert!(own.contains(&number), "{number}");
        }
    }
}
