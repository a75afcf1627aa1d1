//! Statements, as text for the simple protocol or with parameters.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe};

use super::limits::{LATEST, LOCK_TIMEOUT_MS};
use super::schema::{self, ADOPTED, FUNCTION, Table};
use crate::circuit::State;
use crate::store::contract::{Commit, Round};
use crate::store::protocol::LARGEST;
use crate::text::hex;

/// A hundred years in microseconds: longer intervals are as good as that.
const LONGEST: u64 = 3_155_760_000_000_000;

/// A statement that is ready to be sent.
pub(super) struct Statement {
    sql: String,
    arguments: Option<PgArguments>,
}

impl Statement {
    /// As it is, by the simple protocol: one message there, one transaction, no state in the session, which is what
    /// poolers between us and the server can carry.
    pub(super) const fn plain(sql: String) -> Self {
        Self { sql, arguments: None }
    }

    /// Asks for one row where the server has a database of that name.
    pub(super) fn has_database(name: &str) -> Self {
        let mut sql = "select 1 from pg_database where datname = ".to_owned();
        text_literal(name, &mut sql);
        Self::plain(sql)
    }

    /// Asks for one row where the server has a role of that name.
    pub(super) fn has_role(name: &str) -> Self {
        let mut sql = "select 1 from pg_roles where rolname = ".to_owned();
        text_literal(name, &mut sql);
        Self::plain(sql)
    }

    /// Asks for what a role lacks to use a table and its companions.
    pub(super) fn lacking(table: &Table, role: &str) -> Self {
        let mut name = String::new();
        text_literal(role, &mut name);
        Self::plain(schema::lacking(table, &name))
    }

    /// What a session says once that serves one store alone: statements are to end as [`within`](Self::within) has it.
    pub(super) fn session_limits(limit: Duration) -> Self {
        Self::plain(limits("set session characteristics as", "set", limit))
    }

    /// The same statement that ends on the server when nothing waits for it any more, and sooner where a lock is not free. A
    /// session may be a pooler's, so that is said with each statement, and in the same message; a prepared one cannot
    /// say it.
    pub(super) fn within(mut self, limit: Duration) -> Self {
        if self.arguments.is_none() {
            self.sql.insert_str(0, &limits("set", "set local", limit));
        }
        self
    }

    /// Sends it and waits for all rows.
    pub(super) async fn run(&self, connection: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let sql = AssertSqlSafe(self.sql.as_str());
        match &self.arguments {
            None => sqlx::raw_sql(sql).fetch_all(connection).await,
            Some(arguments) => sqlx::query_with(sql, arguments.clone()).fetch_all(connection).await,
        }
    }
}

/// In which isolation, and for how long, what comes next may run and wait for locks.
fn limits(isolation: &str, set: &str, limit: Duration) -> String {
    let limit = limit.as_millis().max(1);
    format!(
        "{isolation} transaction isolation level read committed; {set} lock_timeout = {LOCK_TIMEOUT_MS}; \
         {set} statement_timeout = {limit}; "
    )
}

/// A value in a statement. As text it is digits and hexadecimal digits: nothing that came from outside is ever quoted.
enum Value {
    Text(String),
    MaybeText(Option<String>),
    Bytes(Option<Bytes>),
    Number(Option<i64>),
    Numbers(Option<Vec<i64>>),
    Texts(Vec<String>),
    Flag(bool),
}

impl Value {
    fn literal(&self, out: &mut String) {
        // Writing to a string cannot fail.
        match self {
            Self::Text(text) | Self::MaybeText(Some(text)) => text_literal(text, out),
            Self::MaybeText(None) => out.push_str("null::text"),
            Self::Bytes(Some(bytes)) => bytes_literal(bytes, out),
            Self::Bytes(None) => out.push_str("null::bytea"),
            Self::Number(Some(number)) => write!(out, "({number})::bigint").unwrap_or_default(),
            Self::Number(None) => out.push_str("null::bigint"),
            Self::Numbers(Some(numbers)) => {
                list(numbers, "bigint", out, |number, out| write!(out, "{number}").unwrap_or_default());
            }
            Self::Numbers(None) => out.push_str("null::bigint[]"),
            Self::Texts(texts) => list(texts, "text", out, |text, out| text_literal(text, out)),
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
        }
    }

    fn argument(self, arguments: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        match self {
            Self::Text(text) => arguments.add(text),
            Self::MaybeText(text) => arguments.add(text),
            Self::Bytes(bytes) => arguments.add(bytes.map(|bytes| bytes.to_vec())),
            Self::Number(number) => arguments.add(number),
            Self::Numbers(numbers) => arguments.add(numbers),
            Self::Texts(texts) => arguments.add(texts),
            Self::Flag(flag) => arguments.add(flag),
        }
    }
}

fn list<T>(items: &[T], kind: &str, out: &mut String, each: impl Fn(&T, &mut String)) {
    out.push_str("array[");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push_str("]::");
    out.push_str(kind);
    out.push_str("[]");
}

fn text_literal(text: &str, out: &mut String) {
    out.push_str("convert_from(");
    bytes_literal(text.as_bytes(), out);
    out.push_str(", 'UTF8')");
}

/// Not `'\x..'`, which means something else where `standard_conforming_strings` is off.
fn bytes_literal(bytes: &[u8], out: &mut String) {
    out.push_str("decode('");
    hex(bytes, out);
    out.push_str("', 'hex')");
}

/// An interval in microseconds that the server can add to any time.
pub(super) fn micros(interval: Duration) -> u64 {
    u64::try_from(interval.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

/// Numbers of the contract have a bit more than PostgreSQL's; nothing real is that large.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn statement(prepared: bool, before: &str, values: Vec<Value>, after: &str) -> Result<Statement, sqlx::Error> {
    let mut sql = before.to_owned();
    let mut arguments = prepared.then(PgArguments::default);
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            sql.push_str(", ");
        }
        if let Some(arguments) = &mut arguments {
            write!(sql, "${}", at + 1).unwrap_or_default();
            value.argument(arguments).map_err(sqlx::Error::Encode)?;
        } else {
            value.literal(&mut sql);
        }
    }
    sql.push_str(after);
    Ok(Statement { sql, arguments })
}

/// Reads records, in order.
pub(super) fn load(table: &Table, prepared: bool, keys: Vec<String>) -> Result<Statement, sqlx::Error> {
    let table = table.sql("");
    let after = format!(
        ") with ordinality as k (key, at) left join {table} c on c.resource_key = k.key cross join lateral \
         (select coalesce(c.record is not null and c.expires_at > clock_timestamp(), false) as here) live order by k.at"
    );
    // One time for all rows: breakers of which the store knows nothing then know the same, and have it in common.
    let before = format!(
        "select case when live.here then c.version else 0 end, \
         (extract(epoch from (select clock_timestamp())) * 1000000)::bigint, \
         case when live.here and octet_length(c.record) <= {LARGEST} then encode(c.record, 'hex') end, {ADOPTED}, \
         case when live.here then octet_length(c.record)::bigint end from unnest("
    );
    statement(prepared, &before, vec![Value::Texts(keys)], &after)
}

/// Rows of the log that one look reads, at most.
pub(super) const MAX_CHANGES: usize = 4_096;

/// Asks for what transactions wrote in the log that were not over at the time of a snapshot: which server process this
/// is, the snapshot of now, and for each key a row, or one row without a key.
pub(super) fn changes(
    table: &Table,
    prepared: bool,
    prefix: &str,
    since: Option<(String, i64)>,
) -> Result<Statement, sqlx::Error> {
    let events = table.sql("_events");
    let from_now = "with here as materialized (select extract(epoch from pg_postmaster_start_time())::text as started, \
                    txid_current_snapshot()::text as taken) select here.started, here.taken, ";
    let Some((snapshot, oldest)) = since else {
        return statement(prepared, &format!("{from_now}null::text from here"), Vec::new(), "");
    };
    let length = prefix.len();
    let whose = if prefix.is_empty() {
        "position(':' in e.resource_key) = 0".to_owned()
    } else {
        format!("left(e.resource_key, {length}) = asked.prefix")
    };
    let before = format!("{from_now}changed.name from here cross join (select ");
    let after = format!(
        " ) as asked (oldest, known, prefix) left join lateral (select distinct substr(e.resource_key, {length} + 1) as name \
         from {events} e where e.txid >= asked.oldest and not txid_visible_in_snapshot(e.txid, asked.known::txid_snapshot) \
         and {whose} limit {MAX_CHANGES} + 1) changed on true"
    );
    let values = vec![Value::Number(Some(oldest)), Value::Text(snapshot), Value::Text(prefix.to_owned())];
    statement(prepared, &before, values, &after)
}

/// Lists the keys that begin with the prefix, without it. Where there is none, those with a colon are another namespace's.
pub(super) fn keys(table: &Table, prepared: bool, prefix: &str) -> Result<Statement, sqlx::Error> {
    let table = table.sql("");
    let length = prefix.len();
    let after = " and record is not null and expires_at > clock_timestamp()";
    if prefix.is_empty() {
        let before = format!("select resource_key from {table} where position(':' in resource_key) = 0");
        return statement(prepared, &before, Vec::new(), after);
    }
    let before =
        format!("select substr(resource_key, {length} + 1) from {table} where left(resource_key, {length}) = ");
    statement(prepared, &before, vec![Value::Text(prefix.to_owned())], after)
}

/// Writes a record; `told` is the notice as [`super::listener`] will read it.
pub(super) fn commit(
    table: &Table,
    prepared: bool,
    key: String,
    commit: Commit,
    told: Option<String>,
) -> Result<Statement, sqlx::Error> {
    let Commit { expected, record, summary, ttl, notice, batch, may_queue, round, release } = commit;
    let state = match summary.state {
        State::Closed => "CLOSED",
        State::Open => "OPEN",
        State::HalfOpen => "HALF_OPEN",
    };
    let (id, delta) = batch.unzip();
    let (token, taken) = round.as_ref().map(whose).unzip();
    let values = vec![
        Value::Text(key),
        Value::Number(Some(number(expected.0))),
        Value::Bytes(Some(record)),
        Value::Number(Some(number(micros(ttl)))),
        Value::Text(state.to_owned()),
        Value::Number(Some(i64::from(summary.failures))),
        Value::Number(summary.open_until.map(|until| number(until.0.min(LATEST)))),
        Value::Number(Some(number(summary.generation))),
        Value::Number(id.map(|id| id.writer.cast_signed())),
        Value::Number(id.map(|id| number(id.seq))),
        Value::Bytes(delta),
        Value::Flag(may_queue),
        Value::Number(token),
        Value::Numbers(taken),
        Value::Flag(release),
        Value::MaybeText(told),
        Value::Bytes(notice),
    ];
    let before =
        format!("select answer, newest, now_us, bytes, token, batches, adopted, trouble from {}(", table.sql(FUNCTION));
    statement(prepared, &before, values, ")")
}

/// A round's token and batches as numbers; a token that is none of ours becomes -1, which no row has.
fn whose(round: &Round) -> (i64, Vec<i64>) {
    let number = |bytes: &Bytes| bytes[..].try_into().ok().map(i64::from_le_bytes);
    // Zero is a row's token while no writer combines.
    let token = number(&round.token).filter(|token| *token > 0).unwrap_or(-1);
    (token, round.batches.iter().filter_map(|(id, _)| number(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_digits() {
        let keys = vec!["a'; drop table b; --\\".to_owned(), "ä".to_owned()];
        let statement = load(&Table::new("", "t").unwrap(), false, keys).unwrap();
        assert!(!statement.sql.contains("drop") && !statement.sql.contains('\\'), "{}", statement.sql);
    }
}
