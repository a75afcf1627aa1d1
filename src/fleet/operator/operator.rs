//! The operator itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::change::FleetChange;
use super::check::{self, StoreCheck};
use super::error::OperatorError;
use super::filter::FleetFilter;
use super::reader::Reader;
use super::row::{FleetBreaker, FleetRecord, FleetSnapshot, RecordTrouble, RecordTroubleKind};
use super::watch::FleetWatch;
use crate::circuit::{Override, StandingOverride};
use crate::clock::timer_now;
use crate::fleet::identity::random;
use crate::replica::{Operated, Order, Refusal, Unreadable};
use crate::store::{Commit, Committed, Key, Store, StoreError, Stored, Version};

/// Looks at the breakers of a fleet, and commands them, over the fleet's store alone.
///
/// It needs none of the application's code, no breaker, and no thread: each method asks the store and returns when it has
/// answered. What it commands is in the record when it returns, and instances follow as they do one another: where the
/// store pushes within some milliseconds, else with their next poll. The namespace is the store's, as for a breaker.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{FleetFilter, Operator};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, State, store::MemoryStore};
///
/// # tokio_test::block_on(async {
/// let store = Arc::new(MemoryStore::new()); // the one that the instances have: Redis, Postgres, or your own
/// # let config = CircuitBreakerConfig::builder("payments").store(store.clone()).build()?;
/// # let breaker = CircuitBreaker::new(config);
/// # breaker.acquire()?.failure();
/// # breaker.flush().await;
/// let operator = Operator::new(store);
/// for row in operator.list(&FleetFilter::all()).await? {
///     println!("{row}"); // payments: closed, 1 failure
/// }
/// let order = Override::force_open("incident 7").by("ana").expires_after(std::time::Duration::from_secs(3600));
/// let change = operator.set_override("payments", order).await?;
/// assert_eq!(change.after.and_then(|row| row.state()), Some(State::Open));
/// operator.resume("payments").await?;
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
///
/// A breaker of which the store has no record is an error, so that a name that is misspelt does not look like one that
/// is well; [`create_missing`](Self::create_missing) makes it. A record of a newer release, and what another program has
/// written, is shown as what it is and never changed.
///
/// Needs a Tokio runtime with time enabled. Clones ask the same store.
#[derive(Clone, Debug)]
pub struct Operator {
    reader: Reader,
    creates: bool,
}

/// How long a command waits after a lost race, at most: a round of combining lasts longer, and may be followed by another.
const MAX_WAIT: Duration = Duration::from_millis(80);

impl Operator {
    /// An operator of the breakers in that store.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { reader: Reader::new(store), creates: false }
    }

    /// Makes a breaker of which the store has no record, where one is commanded. Default: that is an error.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::{fleet::Operator, store::MemoryStore};
    ///
    /// # tokio_test::block_on(async {
    /// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
    /// assert!(operator.trip("payments").await?.before.is_none());
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn create_missing(mut self) -> Self {
        self.creates = true;
        self
    }

    /// Sets how long a method may take, lost races and all. Default: 5 s. A list takes that long for each 1,000 breakers
    /// at most.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.reader.patience = timeout;
        self
    }

    /// Says which store it is, and never a secret: see [`Store::describe`].
    #[must_use]
    pub fn describe(&self) -> String {
        self.reader.store.describe()
    }

    /// Returns the names of the breakers in the store, sorted. Of those that are too long to be kept, their keys.
    ///
    /// # Errors
    ///
    /// What the store says; [`StoreError::Refused`] where it cannot list.
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        let keys = self.reader.keys().await?;
        let mut names: Vec<_> = keys.iter().map(name_of).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the breakers in the store that fit, by name. Those whose record cannot be read are among them.
    ///
    /// # Errors
    ///
    /// What the store says where it does not answer; [`StoreError::Refused`] where it cannot list.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::fleet::{FleetFilter, Operator};
    /// use fusebox::{State, store::MemoryStore};
    ///
    /// # tokio_test::block_on(async {
    /// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
    /// operator.trip("payments").await?;
    /// operator.reset("search").await?;
    /// let open = operator.list(&FleetFilter::all().state(State::Open)).await?;
    /// assert_eq!((open.len(), open[0].name.as_str()), (1, "payments"));
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    pub async fn list(&self, filter: &FleetFilter) -> Result<Vec<FleetBreaker>, StoreError> {
        let mut keys = self.reader.keys().await?;
        keys.retain(|key| filter.takes_name(&name_of(key)));
        let mut rows = self.reader.load(&keys).await?;
        rows.retain(|row| filter.takes(row));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// Returns the breaker of that name; `None` where the store has none.
    ///
    /// # Errors
    ///
    /// What the store says where it does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<FleetBreaker>, StoreError> {
        Ok(self.reader.load(&[Key::new(name)]).await?.pop())
    }

    /// Opens the circuit for all, for as long as the fleet's own rule says; it recovers by itself.
    ///
    /// What that rule is only the breakers know. The first instance that hears of it writes the cooldown into the record,
    /// within some 50 ms, and all follow that; it counts from this command. Until then the circuit is open in the record,
    /// and [`retry_after`](FleetSnapshot::retry_after) is not known. Where no instance runs, the first that starts says
    /// it.
    ///
    /// # Errors
    ///
    /// [`OperatorError::Overridden`] while an override stands; the others as for every command.
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle, it may have happened or not.
    pub async fn trip(&self, name: &str) -> Result<FleetChange, OperatorError> {
        self.order(name, &Order::Trip(None)).await
    }

    /// Does the same for that long.
    ///
    /// # Errors
    ///
    /// As [`trip`](Self::trip).
    ///
    /// # Cancel safety
    ///
    /// As [`trip`](Self::trip).
    pub async fn trip_for(&self, name: &str, cooldown: Duration) -> Result<FleetChange, OperatorError> {
        self.order(name, &Order::Trip(Some(cooldown))).await
    }

    /// Closes the circuit for all, and forgets the failures and how often it has opened.
    ///
    /// # Errors
    ///
    /// As [`trip`](Self::trip).
    ///
    /// # Cancel safety
    ///
    /// As [`trip`](Self::trip).
    pub async fn reset(&self, name: &str) -> Result<FleetChange, OperatorError> {
        self.order(name, &Order::Reset).await
    }

    /// Takes hold of the breaker, in the whole fleet: forced open, disabled, or in a dry run. It takes the place of one that
    /// stands.
    ///
    /// # Errors
    ///
    /// As for every command.
    ///
    /// # Cancel safety
    ///
    /// As [`trip`](Self::trip).
    pub async fn set_override(&self, name: &str, order: Override) -> Result<FleetChange, OperatorError> {
        self.order(name, &Order::Override(order)).await
    }

    /// Ends the override, and leaves the circuit closed with an empty window. Without one it does nothing.
    ///
    /// # Errors
    ///
    /// As for every command.
    ///
    /// # Cancel safety
    ///
    /// As [`trip`](Self::trip).
    pub async fn resume(&self, name: &str) -> Result<FleetChange, OperatorError> {
        self.order(name, &Order::Resume).await
    }

    /// Takes the record out of the store: that of a breaker that no program uses any more. One that is used is back with
    /// its next failure.
    ///
    /// # Errors
    ///
    /// [`OperatorError::Held`] while the circuit is open or half-open, or an override stands: instances would take that for
    /// a loss of data, and write it again.
    ///
    /// # Cancel safety
    ///
    /// As [`trip`](Self::trip).
    pub async fn forget(&self, name: &str) -> Result<FleetChange, OperatorError> {
        let change = |operated: &Operated, _: u64| Ok(Some((operated.forget()?, None)));
        self.change(name, false, change).await
    }

    /// Tells of the transitions of breakers that fit, from now on: see [`FleetWatch`].
    pub fn watch(&self, filter: FleetFilter) -> FleetWatch {
        FleetWatch::new(self.reader.clone(), filter)
    }

    /// Finds out what the store lets this operator do, and how well it answers. Nothing is written.
    ///
    /// # Errors
    ///
    /// What the store says where it does not answer.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::fleet::{Operator, Right};
    /// use fusebox::store::MemoryStore;
    ///
    /// # tokio_test::block_on(async {
    /// let check = Operator::new(Arc::new(MemoryStore::new())).check().await?;
    /// assert_eq!((&check.reads, &check.lists, &check.writes), (&Right::Granted, &Right::Granted, &Right::Untested));
    /// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
    /// ```
    pub async fn check(&self) -> Result<StoreCheck, StoreError> {
        check::look(&self.reader).await
    }

    /// Does the same, and writes a record of its own that is gone at once: whether it may, and whether it hears of it.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn check_writes(&self) -> Result<StoreCheck, StoreError> {
        let mut found = check::look(&self.reader).await?;
        check::write(&self.reader, &mut found).await;
        Ok(found)
    }

    async fn order(&self, name: &str, order: &Order) -> Result<FleetChange, OperatorError> {
        let change =
            |operated: &Operated, writer| Ok(operated.obey(order, writer)?.map(|(commit, left)| (commit, Some(left))));
        self.change(name, self.creates, change).await
    }

    /// Changes a record by compare-and-swap, as breakers do, until no other writer is faster.
    async fn change(
        &self,
        name: &str,
        creates: bool,
        change: impl Fn(&Operated, u64) -> Result<Option<(Commit, Option<Operated>)>, Refusal>,
    ) -> Result<FleetChange, OperatorError> {
        let key = Key::new(name);
        let (until, writer) = (timer_now() + self.reader.patience, random());
        let mut stored = self.newest(name, &key).await?;
        let (mut round, mut tries, mut may_be_done) = (None, 0_u32, false);
        let mut before = None;
        loop {
            let found = Operated::read(&stored);
            let seen = FleetBreaker::read(&key, &stored);
            let operated = match found {
                Ok(Some(operated)) => operated,
                Ok(None) if may_be_done && !creates => {
                    return Ok(FleetChange { before, after: None, changed: true });
                }
                Ok(None) if creates => Operated::read_or_new(&stored).map_err(|why| unreadable(name, &why))?,
                Ok(None) => return Err(OperatorError::Unknown { name: name.to_owned() }),
                Err(Unreadable::Corrupt(_)) => Operated::in_place_of_damaged(&stored),
                Err(newer) => return Err(unreadable(name, &newer)),
            };
            if may_be_done && operated.was_written_by(writer) {
                return Ok(FleetChange { before, after: seen, changed: true });
            }
            before.clone_from(&seen);
            let Some((mut commit, left)) = change(&operated, writer).map_err(|why| refused(name, why))? else {
                return Ok(FleetChange::none(seen));
            };
            // What waits is of the generation that ends here, so it goes with it.
            commit.round = round.take();
            commit.release = commit.round.is_some();
            let has_round = commit.release;
            let after = |version: Version, now| {
                let row = |left: Operated| row(&key, &left.written(version, now));
                FleetChange { before: seen.clone(), after: left.clone().map(row), changed: true }
            };
            match self.reader.ask(self.reader.store.commit(key.as_str(), commit)).await {
                Ok(Committed::Applied { version, now }) => return Ok(after(version, now)),
                Ok(Committed::Combine(newest, _)) if has_round => return Ok(after(newest.version, newest.now)),
                Ok(Committed::Combine(newest, next)) => {
                    (stored, round) = (newest, Some(next));
                    continue;
                }
                Ok(
                    Committed::Conflict(newest)
                    | Committed::Duplicate(newest)
                    | Committed::Queued(newest)
                    | Committed::Fenced(newest),
                ) => stored = newest,
                Err(StoreError::Busy(_)) if timer_now() < until => {}
                // Whether it was done shows in the record.
                Err(StoreError::Unavailable { maybe: true, .. }) if !may_be_done => {
                    may_be_done = true;
                    stored = self.newest(name, &key).await?;
                    continue;
                }
                Err(error) => return Err(untouched(name, error)),
            }
            if timer_now() >= until {
                return Err(OperatorError::Contended { name: name.to_owned() });
            }
            tries += 1;
            sleep(wait(tries)).await;
        }
    }

    /// What the store has of one breaker.
    async fn newest(&self, name: &str, key: &Key) -> Result<Stored, OperatorError> {
        let asked = [key.as_str()];
        let mut answers = self.reader.ask(async { Ok(self.reader.store.load_each(&asked).await) }).await?;
        let nothing = || Err(StoreError::refused("the store was asked for a record and gave none"));
        answers.pop().unwrap_or_else(nothing).map_err(|error| untouched(name, error))
    }
}

/// What is wrong may be that the record is not ours to change.
fn untouched(name: &str, error: StoreError) -> OperatorError {
    match error {
        StoreError::Foreign { .. } | StoreError::TooLarge { .. } => {
            let trouble = RecordTrouble { kind: RecordTroubleKind::Foreign, why: error.explain() };
            OperatorError::Unreadable { name: name.to_owned(), trouble }
        }
        other => OperatorError::Store(other),
    }
}

fn name_of(key: &Key) -> String {
    key.name().unwrap_or_else(|| key.as_str().to_owned())
}

fn row(key: &Key, operated: &Operated) -> FleetBreaker {
    FleetBreaker::of(key, FleetRecord::Read(Box::new(FleetSnapshot::of(operated.sight()))))
}

fn unreadable(name: &str, why: &Unreadable) -> OperatorError {
    OperatorError::Unreadable { name: name.to_owned(), trouble: RecordTrouble::of_record(why) }
}

fn refused(name: &str, why: Refusal) -> OperatorError {
    let name = name.to_owned();
    match why {
        Refusal::Overridden(order) => OperatorError::Overridden { name, order: StandingOverride::of(order) },
        Refusal::IsHeld(state) => OperatorError::Held { name, state },
    }
}

/// At random, and longer with each race that was lost.
fn wait(tries: u32) -> Duration {
    let most = Duration::from_millis(5 << tries.min(6)).min(MAX_WAIT);
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(1_000 + random() % most.max(1))
}
