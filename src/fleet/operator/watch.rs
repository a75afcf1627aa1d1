//! Transitions of a fleet as they happen, by its store alone.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::sleep;

use super::filter::FleetFilter;
use super::reader::Reader;
use super::row::{FleetBreaker, FleetRecord, RecordTroubleKind};
use crate::circuit::{Generation, State};
use crate::store::{Changes, Key, Notices, StoreError, never_notices};

/// A transition of a fleet, as a [`FleetWatch`] tells of it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetTransition {
    /// The state before; `None`: it is not known, as the breaker is new in the store or its record could not be read.
    pub from: Option<State>,
    /// How many transitions lay between that were too quick to be seen.
    pub missed: u64,
    /// The breaker as it is now.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub breaker: FleetBreaker,
}

/// The transitions of a fleet from now on; from [`Operator::watch`](super::Operator::watch).
///
/// It hears of them by the store's notices where it has some, and asks each second what changed, so it tells of every
/// breaker within about a second; where a store cannot say what changed, it lists all of them each second. Of an outage of
/// the store it tells once, as an error, and goes on when the store is back. It never ends. A breaker that is
/// forgotten, and one that has just come and is closed, is no transition.
///
/// Needs a Tokio runtime with time enabled while it is polled.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{FleetFilter, Operator};
/// use fusebox::{State, store::MemoryStore};
/// use futures::StreamExt;
///
/// # tokio_test::block_on(async {
/// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
/// operator.reset("payments").await?;
/// let mut transitions = operator.watch(FleetFilter::all());
/// let told = transitions.next();
/// let done = async {
///     tokio::time::sleep(std::time::Duration::from_millis(100)).await; // it knows what there was
///     operator.trip("payments").await
/// };
/// let (told, done) = tokio::join!(told, done);
/// done?;
/// let told = told.unwrap()?;
/// assert_eq!((told.from, told.breaker.state()), (Some(State::Closed), Some(State::Open)));
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[must_use = "a stream does nothing until it is polled"]
pub struct FleetWatch {
    turn: Turn,
    ready: VecDeque<FleetTransition>,
}

type Turn = Pin<Box<dyn Future<Output = (Watcher, Result<Vec<FleetTransition>, StoreError>)> + Send>>;

/// How often the store is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// What comes within this time of a notice is looked at together.
const COMPANY: Duration = Duration::from_millis(25);

impl FleetWatch {
    pub(super) fn new(reader: Reader, filter: FleetFilter) -> Self {
        let notices = reader.store.watch();
        let watcher =
            Watcher { reader, filter, notices, cursor: None, known: HashMap::new(), has_looked: false, is_away: false };
        Self { turn: Box::pin(watcher.turn()), ready: VecDeque::new() }
    }
}

impl Stream for FleetWatch {
    type Item = Result<FleetTransition, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(transition) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(transition)));
            }
            let Poll::Ready((watcher, found)) = self.turn.as_mut().poll(cx) else {
                return Poll::Pending;
            };
            self.turn = Box::pin(watcher.turn());
            match found {
                Ok(found) => self.ready.extend(found),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for FleetWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetWatch").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

/// What tells a breaker from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Read(Generation, State),
    Unreadable(RecordTroubleKind),
}

impl Mark {
    const fn of(record: &FleetRecord) -> Self {
        match record {
            FleetRecord::Read(seen) => Self::Read(seen.generation, seen.state),
            FleetRecord::Unreadable(trouble) => Self::Unreadable(trouble.kind),
        }
    }
}

struct Watcher {
    reader: Reader,
    filter: FleetFilter,
    notices: Notices,
    cursor: Option<Bytes>,
    known: HashMap<String, Mark>,
    has_looked: bool,
    is_away: bool,
}

impl Watcher {
    /// Waits for news, or the time to look, and looks.
    async fn turn(mut self) -> (Self, Result<Vec<FleetTransition>, StoreError>) {
        if self.has_looked || self.is_away {
            self.wait().await;
        }
        let found = match self.look().await {
            Ok(found) => {
                (self.has_looked, self.is_away) = (true, false);
                Ok(found)
            }
            Err(_) if std::mem::replace(&mut self.is_away, true) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        (self, found)
    }

    async fn wait(&mut self) {
        let mut interval = pin!(sleep(INTERVAL));
        let is_told = poll_fn(|cx| match self.notices.as_mut().poll_next(cx) {
            Poll::Ready(Some(_)) => Poll::Ready(true),
            Poll::Ready(None) => {
                self.notices = never_notices();
                interval.as_mut().poll(cx).map(|()| false)
            }
            Poll::Pending => interval.as_mut().poll(cx).map(|()| false),
        });
        if is_told.await {
            // More notices come together, and each is about what is looked at then.
            sleep(COMPANY).await;
            poll_fn(|cx| {
                while let Poll::Ready(Some(_)) = self.notices.as_mut().poll_next(cx) {}
                Poll::Ready(())
            })
            .await;
        }
    }

    async fn look(&mut self) -> Result<Vec<FleetTransition>, StoreError> {
        let changes = self.reader.ask(self.reader.store.changes(self.cursor.as_ref())).await?;
        let (keys, cursor) = match changes {
            Changes::Since { keys, cursor } if self.has_looked => {
                (keys.iter().filter_map(|key| Key::parse(key)).collect(), Some(cursor))
            }
            Changes::Since { cursor, .. } | Changes::Restart { cursor } => (self.reader.keys().await?, Some(cursor)),
            Changes::Unsupported => (self.reader.keys().await?, None),
        };
        let rows = self.reader.load(&keys).await?;
        // Only now: what could not be loaded is asked for again.
        self.cursor = cursor;
        let there: std::collections::HashSet<_> = rows.iter().map(|row| row.key.as_str()).collect();
        for key in keys.iter().filter(|key| !there.contains(key.as_str())) {
            self.known.remove(key.as_str());
        }
        Ok(rows.into_iter().filter_map(|row| self.note(row)).collect())
    }

    /// Notes what a breaker is now; a transition where it was something else.
    fn note(&mut self, breaker: FleetBreaker) -> Option<FleetTransition> {
        let mark = Mark::of(&breaker.record);
        let before = self.known.insert(breaker.key.clone(), mark);
        let is_old = before == Some(mark) || before.is_none() && matches!(mark, Mark::Read(_, State::Closed));
        if !self.has_looked || is_old || !self.filter.takes(&breaker) {
            return None;
        }
        let (from, missed) = match (before, mark) {
            (Some(Mark::Read(old, state)), Mark::Read(new, _)) => {
                let between = if new.is_after(old) { new.get().wrapping_sub(old.get()) - 1 } else { 0 };
                (Some(state), between)
            }
            (Some(Mark::Read(_, state)), Mark::Unreadable(_)) => (Some(state), 0),
            (Some(Mark::Unreadable(_)) | None, _) => (None, 0),
        };
        Some(FleetTransition { from, missed, breaker })
    }
}

/// One line: what it was, and what it is.
impl fmt::Display for FleetTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breaker.fmt(f)?;
        if let Some(from) = self.from {
            write!(f, ", was {from}")?;
        }
        match self.missed {
            0 => Ok(()),
            1 => f.write_str(", 1 transition between"),
            missed => write!(f, ", {missed} transitions between"),
        }
    }
}
