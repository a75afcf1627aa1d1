//! The write as a script that the server runs.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{ErrorKind, RedisResult, Script, Value, from_redis_value};

use super::layout::Keys;
use crate::store::contract::{Commit, Committed, Round, StoreTime, Stored, Version};
use crate::store::error::StoreError;
use crate::store::protocol::{DEDUP_WINDOW, LARGEST, MAX_ROUND_BATCHES, OUTBOX_CAPACITY, ROUND_LEASE};

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(&source()));
static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

const TEMPLATE: &str = include_str!("commit.lua");

/// How long the server keeps a generation of marks after the last of them: they are asked for until the next generation
/// ends, and one more is to spare.
const MARKS_TTL: Duration = DEDUP_WINDOW.saturating_mul(3);

/// The longest that a record is kept: a server refuses times that end beyond its calendar.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The largest version that the server's scripts can count with, in the year 2255.
const LATEST: u64 = (1 << 53) - 1;

/// Names of which a shard remembers that they changed. Where more have changed since an instance looked, it loads all
/// that it uses.
pub(super) const MAX_CHANGES: usize = 4_096;

/// How long a shard remembers after the last change.
const CHANGES_TTL: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// What the script answers: code, version, time, record, token, batches, and what went wrong beside it.
pub(super) type Answer = (u8, u64, u64, Bytes, Bytes, Vec<Bytes>, String);

/// The script's text. It depends on nothing but the release, so that a server holds one script for a whole fleet.
fn source() -> String {
    TEMPLATE
        .replace("{round_lease_ms}", &ROUND_LEASE.as_millis().to_string())
        .replace("{max_round_batches}", &MAX_ROUND_BATCHES.to_string())
        .replace("{outbox_capacity}", &OUTBOX_CAPACITY.to_string())
        .replace("{dedup_window_us}", &DEDUP_WINDOW.as_micros().to_string())
        .replace("{marks_ttl_ms}", &MARKS_TTL.as_millis().to_string())
        .replace("{largest}", &LARGEST.to_string())
        .replace("{latest}", &LATEST.to_string())
        .replace("{max_changes}", &MAX_CHANGES.to_string())
        .replace("{changes_ttl_ms}", &CHANGES_TTL.as_millis().to_string())
}

/// Reads records. What is wrong with one of them is its own answer.
pub(super) async fn load(
    mut connection: MultiplexedConnection,
    keys: &[String],
) -> RedisResult<(StoreTime, Vec<Look>)> {
    let mut call = LOAD.prepare_invoke();
    keys.iter().for_each(|key| {
        call.key(key);
    });
    call.arg(LARGEST).arg(LATEST);
    let mut answers = call.invoke_async::<Vec<Value>>(&mut connection).await?.into_iter();
    let now = StoreTime(from_redis_value(answers.next().ok_or_else(senseless)?)?);
    let looks: Vec<_> = answers.map(looked).collect::<RedisResult<_>>()?;
    if looks.len() == keys.len() { Ok((now, looks)) } else { Err(senseless()) }
}

/// The same for a user of the server who may read and run no script, in two steps: first how much there is.
pub(super) async fn load_without_script(
    mut connection: MultiplexedConnection,
    keys: &[String],
) -> RedisResult<(StoreTime, Vec<Look>)> {
    let mut sizes = redis::pipe();
    sizes.cmd("TIME");
    keys.iter().for_each(|key| {
        sizes.cmd("HSTRLEN").arg(key).arg("r").cmd("EXISTS").arg(key);
    });
    let mut answers = connection.req_packed_commands(&sizes, 0, sizes.len()).await?.into_iter();
    let mut next = || answers.next().ok_or_else(senseless);
    let (seconds, micros): (u64, u64) = from_redis_value(next()?.extract_error()?)?;
    let mut looks = Vec::with_capacity(keys.len());
    for key in keys {
        let (size, exists) = (next()?, next()?);
        let look = async {
            let size: usize = from_redis_value(size.extract_error()?)?;
            if size > LARGEST {
                return Ok(Look::TooLarge(size));
            }
            let held = redis::cmd("HMGET").arg(key).arg("v").arg("r").query_async(&mut connection).await?;
            let (version, record): (Option<Bytes>, Option<Bytes>) = held;
            let exists: bool = from_redis_value(exists.extract_error()?)?;
            Ok(match version.as_deref().map(number) {
                None if !exists => Look::Record(Version::NONE, Bytes::new()),
                Some(Some(version)) if version <= LATEST => Look::Record(Version(version), record.unwrap_or_default()),
                None | Some(_) => Look::Foreign,
            })
        };
        looks.push(match look.await {
            Ok(look) => look,
            Err(error) => not_read(&error)?,
        });
    }
    Ok((StoreTime(seconds.saturating_mul(1_000_000).saturating_add(micros)), looks))
}

/// What an error on one key says of that key, unless it says something of all.
fn not_read(error: &redis::RedisError) -> RedisResult<Look> {
    match error.code() {
        Some("WRONGTYPE") => Ok(Look::Foreign),
        Some("NOPERM") => Ok(Look::Refused(error.to_string())),
        _ => Err(error.clone()),
    }
}

/// What is at a key.
pub(super) enum Look {
    Record(Version, Bytes),
    Foreign,
    TooLarge(usize),
    Refused(String),
}

fn looked(answer: Value) -> RedisResult<Look> {
    let (code, version, record, size): (u8, u64, Bytes, usize) = from_redis_value(answer)?;
    Ok(match code {
        0 => Look::Record(Version::NONE, Bytes::new()),
        1 => Look::Record(Version(version), record),
        2 => Look::Foreign,
        3 => Look::TooLarge(size),
        _ => Look::Refused(String::from_utf8_lossy(&record).into_owned()),
    })
}

/// Runs it.
pub(super) async fn commit(
    mut connection: MultiplexedConnection,
    keys: &Keys,
    name: &str,
    commit: &Commit,
) -> RedisResult<Answer> {
    let Commit { expected, record, summary, ttl, notice, batch, may_queue, round, release } = commit;
    let mut call = COMMIT.prepare_invoke();
    call.key(&keys.record).key(&keys.outbox).key(&keys.marks).key(&keys.changes);
    let ttl = (*ttl).clamp(Duration::from_millis(1), LONGEST).as_millis();
    call.arg(name).arg(&keys.channel).arg(expected.0).arg(&record[..]);
    call.arg(summary.state.to_string()).arg(summary.failures);
    call.arg(summary.open_until.map(|until| until.0.to_string()).unwrap_or_default());
    call.arg(summary.generation).arg(u64::try_from(ttl).unwrap_or(u64::MAX));
    match batch {
        Some((id, delta)) => call.arg(id.writer).arg(id.seq).arg(&delta[..]),
        None => call.arg("").arg("").arg(""),
    };
    call.arg(u8::from(*may_queue));
    match round {
        Some(round) => {
            let last = round.batches.last().map(|(id, _)| &id[..]).unwrap_or_default();
            call.arg(&round.token[..]).arg(round.batches.len()).arg(last)
        }
        None => call.arg("").arg(0).arg(""),
    };
    call.arg(u8::from(*release)).arg(u8::from(notice.is_some())).arg(notice.as_deref().unwrap_or_default());
    call.invoke_async(&mut connection).await
}

/// Tells whether the record was written.
pub(super) const fn has_written(answer: &Answer, commit: &Commit) -> bool {
    // The first round is handed out before anything is written.
    answer.0 == 1 || answer.0 == 2 && commit.round.is_some()
}

/// What went wrong beside the write; empty where nothing did.
pub(super) fn trouble(answer: &Answer) -> &str {
    &answer.6
}

/// Puts the answer into words.
pub(super) fn committed(name: &str, answer: Answer) -> Result<Committed, StoreError> {
    let (code, version, now, record, token, batches, _) = answer;
    let (version, now) = (Version(version), StoreTime(now));
    let stored = Stored::new(version, record, now);
    Ok(match code {
        0 => Committed::Conflict(stored),
        1 => Committed::Applied { version, now },
        2 => {
            let batches = batches.iter().map(batch).collect();
            Committed::Combine(stored, Round::new(token, batches))
        }
        3 => Committed::Queued(stored),
        4 => Committed::Duplicate(stored),
        5 => Committed::Fenced(stored),
        7 => return Err(StoreError::too_large(usize::try_from(version.0).unwrap_or(usize::MAX), LARGEST)),
        _ => return Err(StoreError::foreign(name)),
    })
}

/// Splits `writer:seq:delta`. The colons are part of the name, so that `1:2:` is no beginning of `1:23:`. What is nothing of
/// ours is all name, and leaves the outbox with the round.
fn batch(entry: &Bytes) -> (Bytes, Bytes) {
    let colons = entry.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1);
    let end = colons.take(2).nth(1).unwrap_or(entry.len());
    (entry.slice(..end), entry.slice(end..))
}

/// A number in a record's hash; `None` where it is none.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// An answer that makes no sense.
pub(super) fn senseless() -> redis::RedisError {
    (ErrorKind::UnexpectedReturnType, "the server answered something else than was asked").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::protocol::written_numbers;

    #[test]
    fn the_script_takes_its_numbers_from_the_protocol() {
        let script = source();
        let (lease, window, ttl) = (ROUND_LEASE.as_millis(), DEDUP_WINDOW.as_micros(), MARKS_TTL.as_millis());
        for line in [
            format!("local LEASE_MS, MAX_ROUND, CAPACITY = {lease}, {MAX_ROUND_BATCHES}, {OUTBOX_CAPACITY}"),
            format!("local GENERATION_US, MARKS_TTL_MS = {window}, {ttl}"),
            format!("local LARGEST, LATEST = {LARGEST}, {LATEST}"),
            format!("local MAX_CHANGES, CHANGES_TTL_MS = {MAX_CHANGES}, {}", CHANGES_TTL.as_millis()),
        ] {
            assert!(script.lines().any(|known| known == line), "{line}");
        }
        let names = script.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default());
        let is_placeholder =
            |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert_eq!(names.clone().find(is_placeholder), None, "nothing is left to fill in");
        assert!(MARKS_TTL >= 2 * DEDUP_WINDOW, "marks are there for as long as they are asked for");
    }

    #[test]
    fn the_script_writes_out_no_number_of_the_protocol() {
        for number in written_numbers(TEMPLATE) {
            // Positions, answers, and parts of a second.
            let is_own = ["1e3", "1e6"].contains(&number) || number.parse::<u32>().is_ok_and(|number| number < 20);
            assert!(is_own, "{number}");
        }
    }
}
