//! The write as a script that the server runs.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, Script};

use super::layout::Keys;
use crate::store::contract::{Commit, Committed, Round, StoreError, StoreTime, Stored, Version};
use crate::store::protocol::{DEDUP_WINDOW, MAX_ROUND_BATCHES, OUTBOX_CAPACITY, ROUND_LEASE};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(&source()));

const TEMPLATE: &str = include_str!("commit.lua");

/// How long the server keeps a generation of marks after the last of them: they are asked for until the next generation
/// ends, and one more is to spare.
const MARKS_TTL: Duration = DEDUP_WINDOW.saturating_mul(3);

/// The longest that a record is kept: a server refuses times that end beyond its calendar.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What the script answers: code, version, time, record, token, batches.
pub(super) type Answer = (u8, u64, u64, Bytes, Bytes, Vec<Bytes>);

/// The script's text. It depends on nothing but the release, so that a server holds one script for a whole fleet.
fn source() -> String {
    TEMPLATE
        .replace("{round_lease_ms}", &ROUND_LEASE.as_millis().to_string())
        .replace("{max_round_batches}", &MAX_ROUND_BATCHES.to_string())
        .replace("{outbox_capacity}", &OUTBOX_CAPACITY.to_string())
        .replace("{dedup_window_us}", &DEDUP_WINDOW.as_micros().to_string())
        .replace("{marks_ttl_ms}", &MARKS_TTL.as_millis().to_string())
}

/// Runs it.
pub(super) async fn commit(
    mut connection: MultiplexedConnection,
    keys: &Keys,
    name: &str,
    commit: &Commit,
) -> RedisResult<Answer> {
    let Commit { expected, record, summary, ttl, notice, batch, may_queue, round, release } = commit;
    let mut call = SCRIPT.prepare_invoke();
    call.key(&keys.record).key(&keys.outbox).key(&keys.marks);
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

/// Puts the answer into words.
pub(super) fn committed(name: &str, answer: Answer) -> Result<Committed, StoreError> {
    let (code, version, now, record, token, batches) = answer;
    let (version, now) = (Version(version), StoreTime(now));
    let stored = Stored::new(version, record, now);
    Ok(match code {
        0 => Committed::Conflict(stored),
        1 => Committed::Applied { version, now },
        2 => {
            let batches = batches.iter().filter_map(batch).collect();
            Committed::Combine(stored, Round::new(token, batches))
        }
        3 => Committed::Queued(stored),
        4 => Committed::Duplicate(stored),
        5 => Committed::Fenced(stored),
        _ => return Err(StoreError::foreign(name)),
    })
}

/// Splits `writer:seq:delta`. The colons are part of the name, so that `1:2:` is no beginning of `1:23:`.
fn batch(entry: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut colons = entry.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1);
    let end = colons.nth(1)?;
    Some((entry.slice(..end), entry.slice(end..)))
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
