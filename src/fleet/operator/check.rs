//! What a store lets an operator do.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::sleep;

use super::reader::Reader;
use super::row::{FleetBreaker, FleetRecord};
use crate::clock::{timer_now, wall_time};
use crate::fleet::identity::random;
use crate::store::{Changes, Commit, Key, Notice, Notices, StoreError, Summary, Version};
use crate::time::Timestamp;

/// What a store lets an operator do, and how well it answers; from [`Operator::check`](super::Operator::check).
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{fleet::Operator, store::MemoryStore};
///
/// # tokio_test::block_on(async {
/// let check = Operator::new(Arc::new(MemoryStore::new())).check_writes().await?;
/// assert!(check.is_complete() && check.unreadable.is_empty());
/// println!("{} answers within {:?}", check.store, check.latency);
/// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StoreCheck {
    /// Which store it is, never with a secret.
    pub store: String,
    /// How long the quickest of three answers took.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub latency: Duration,
    /// By how much the store's clock and this machine's differ, beyond what the latency explains. Nothing depends on it but
    /// what people read from logs.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub clock_difference: Duration,
    /// By how much the store says that its own times may be off.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub clock_error: Duration,
    /// Records can be read: without, the store is of no use.
    pub reads: Right,
    /// Breakers can be listed.
    pub lists: Right,
    /// The store tells what changed: without, instances load every record each second.
    pub tells_changes: Right,
    /// Records can be written: without, an operator only looks.
    pub writes: Right,
    /// Notices come: without, instances hear of changes by their polls.
    pub notifies: Right,
    /// How many breakers there are.
    pub breakers: usize,
    /// Those whose record this release cannot use.
    pub unreadable: Vec<FleetBreaker>,
}

/// Whether something is allowed.
///
/// ```
/// use fusebox::fleet::Right;
///
/// fn is_in_the_way(right: &Right) -> bool {
///     matches!(right, Right::Missing { .. })
/// }
/// assert!(!is_in_the_way(&Right::Untested) && Right::Granted.as_str() == "granted");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Right {
    /// It works.
    Granted,
    /// It is refused, or does not work.
    #[non_exhaustive]
    Missing {
        /// Why, fit to be shown, never with a secret.
        why: String,
    },
    /// A store of this kind has no such thing.
    Unsupported,
    /// It was not tried.
    Untested,
}

impl Right {
    /// Returns `granted`, `missing`, `unsupported` or `untested`, as a label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Missing { .. } => "missing",
            Self::Unsupported => "unsupported",
            Self::Untested => "untested",
        }
    }

    fn missing(why: &StoreError) -> Self {
        Self::Missing { why: why.explain() }
    }
}

impl StoreCheck {
    /// Tells whether nothing is known to be missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let rights = [&self.reads, &self.lists, &self.tells_changes, &self.writes, &self.notifies];
        rights.iter().all(|right| !matches!(right, Right::Missing { .. }))
    }
}

/// How long a notice may be on its way.
const NOTICE_TIME: Duration = Duration::from_secs(1);

/// Looks, and writes nothing.
pub(super) async fn look(reader: &Reader) -> Result<StoreCheck, StoreError> {
    let mut found = StoreCheck {
        store: reader.store.describe(),
        latency: Duration::MAX,
        clock_difference: Duration::ZERO,
        clock_error: reader.store.clock_error(),
        reads: Right::Granted,
        lists: Right::Untested,
        tells_changes: Right::Untested,
        writes: Right::Untested,
        notifies: Right::Untested,
        breakers: 0,
        unreadable: Vec::new(),
    };
    let probe = probe();
    for _ in 0..3 {
        let asked_at = timer_now();
        let answer = reader.ask(reader.store.load(&[probe.as_str()])).await;
        let took = asked_at.elapsed();
        match answer {
            Ok(answers) if took < found.latency => {
                found.latency = took;
                let store = answers.first().map_or(Timestamp::ZERO, |stored| stored.now.timestamp());
                let here = wall_time();
                let apart = store.since(here).max(here.since(store));
                found.clock_difference = apart.saturating_sub(took);
            }
            Ok(_) => {}
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            Err(error) => {
                found.reads = Right::missing(&error);
                found.latency = took;
                return Ok(found);
            }
        }
    }
    found.tells_changes = match reader.ask(reader.store.changes(None)).await {
        Ok(Changes::Unsupported) => Right::Unsupported,
        Ok(_) => Right::Granted,
        Err(error) => Right::missing(&error),
    };
    match reader.keys().await {
        Ok(keys) => {
            found.lists = Right::Granted;
            let rows = reader.load(&keys).await?;
            found.breakers = rows.len();
            let is_unreadable = |row: &FleetBreaker| matches!(row.record, FleetRecord::Unreadable(_));
            found.unreadable = rows.into_iter().filter(is_unreadable).collect();
        }
        Err(error) => found.lists = Right::missing(&error),
    }
    Ok(found)
}

/// Writes a record that is gone at once, and listens for its notice.
pub(super) async fn write(reader: &Reader, found: &mut StoreCheck) {
    if found.reads != Right::Granted {
        return;
    }
    let mut notices = reader.store.watch();
    let pushes = notices.size_hint() != (0, Some(0));
    if pushes {
        // Once a store listens, it says that something may have been missed.
        hear(&mut notices, |_| true).await;
    }
    let probe = probe();
    let mut commit = Commit::new(Version::NONE, Bytes::new(), Summary::closed(0), Duration::from_millis(1));
    commit.notice = Some(Bytes::new());
    if let Err(error) = reader.ask(reader.store.commit(probe.as_str(), commit)).await {
        found.writes = Right::missing(&error);
        return;
    }
    found.writes = Right::Granted;
    found.notifies = if !pushes {
        Right::Unsupported
    } else if hear(&mut notices, |notice| is_about(notice, &probe)).await {
        Right::Granted
    } else {
        Right::Missing { why: format!("the notice of a write did not come within {NOTICE_TIME:?}") }
    };
}

/// A breaker of a name that no other has.
fn probe() -> Key {
    Key::new(&format!("fusebox-check-{:016x}", random()))
}

fn is_about(notice: &Notice, key: &Key) -> bool {
    matches!(notice, Notice::Changed { key: changed, .. } if changed == key.as_str())
}

/// Tells whether such a notice comes.
async fn hear(notices: &mut Notices, is_it: impl Fn(&Notice) -> bool) -> bool {
    let mut time = pin!(sleep(NOTICE_TIME));
    poll_fn(|cx| {
        loop {
            match notices.as_mut().poll_next(cx) {
                Poll::Ready(Some(notice)) if is_it(&notice) => return Poll::Ready(true),
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending => return time.as_mut().poll(cx).map(|()| false),
            }
        }
    })
    .await
}
