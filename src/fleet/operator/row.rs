//! A breaker as the record of its fleet has it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::circuit::{Generation, OverrideKind, StandingOverride, State, TransitionReason, Verdict};
use crate::one_line::OneLine;
use crate::replica::{Operated, Sight, Unreadable};
use crate::store::{Key, StoreError, Stored};
use crate::text::Soon;
use crate::time::Timestamp;

/// A breaker as its store has it, for an operator: a row of [`Operator::list`](super::Operator::list).
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{FleetFilter, FleetRecord, Operator};
/// use fusebox::{State, store::MemoryStore};
///
/// # tokio_test::block_on(async {
/// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
/// operator.trip_for("payments", std::time::Duration::from_secs(60)).await?;
/// let rows = operator.list(&FleetFilter::all()).await?;
/// match &rows[0].record {
///     FleetRecord::Read(seen) => assert_eq!(seen.state, State::Open),
///     FleetRecord::Unreadable(trouble) => println!("{}: {}", rows[0].name, trouble.why),
///     _ => {}
/// }
/// assert!(rows[0].to_string().starts_with("payments: open (tripped by command), retry in "));
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetBreaker {
    /// The name of the breaker. Of one that is too long to be kept, only the [key](Self::key).
    pub name: String,
    /// The name as the store has it: see [`Key`].
    pub key: String,
    /// What the store has under that key.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub record: FleetRecord,
}

/// What a store has of a breaker.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
#[non_exhaustive]
pub enum FleetRecord {
    /// A record, or what an older library left.
    Read(Box<FleetSnapshot>),
    /// Something that this release cannot use.
    Unreadable(RecordTrouble),
}

impl FleetRecord {
    /// Returns `read` or `unreadable`, as a label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// What the record of a breaker says, at one moment of the store's clock.
///
/// It is what the instances of the fleet say of themselves, as soon as each has heard of it, and no more: the record has no
/// rule. An override whose time is over is shown as over, as it is to the next call.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use fusebox::{State, circuit_breaker::TransitionReason, fleet::Operator, store::MemoryStore};
///
/// # tokio_test::block_on(async {
/// let operator = Operator::new(Arc::new(MemoryStore::new())).create_missing();
/// operator.trip_for("payments", Duration::from_secs(60)).await?;
/// let row = operator.get("payments").await?.unwrap();
/// let seen = row.snapshot().unwrap();
/// assert_eq!((seen.state, seen.reason), (State::Open, Some(TransitionReason::Tripped)));
/// assert!(seen.retry_after.is_some_and(|left| left <= Duration::from_secs(60)));
/// assert!(seen.overridden.is_none() && seen.probes.is_none() && seen.bytes > 0);
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetSnapshot {
    /// The state of the fleet.
    pub state: State,
    /// The fleet's generation, which grows with every transition.
    pub generation: Generation,
    /// Since when it is in this state, by the store's clock.
    #[cfg_attr(feature = "serde", serde(serialize_with = "rfc_3339"))]
    pub since: SystemTime,
    /// For how long it has been in this state.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub in_state_for: Duration,
    /// Why it came into this state; `None` when it never changed.
    pub reason: Option<TransitionReason>,
    /// How long until an open circuit lets a probe through, or until an override that forces it open ends by itself. `None`
    /// while it is not known: a circuit that was [tripped](super::Operator::trip) waits for the first instance to say it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub retry_after: Option<Duration>,
    /// How long the newest open period is or was.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub cooldown: Option<Duration>,
    /// How many times the circuit has opened since it was last healthy.
    pub openings: u32,
    /// The override that stands, if one does.
    pub overridden: Option<StandingOverride>,
    /// How long until it ends by itself; `None` where it does not.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub override_ends_in: Option<Duration>,
    /// Where the probes stand, while half-open.
    pub probes: Option<FleetProbes>,
    /// The failures in the evidence: calls of the closed state, of all instances.
    pub failures: u32,
    /// How many instances' votes stand, where the fleet votes.
    pub votes: u32,
    /// The verdict that the circuit was opened by, until it closes.
    pub verdict: Option<Verdict>,
    /// All instances are asked what they have seen: a verdict is on its way.
    pub suspected: bool,
    /// Of how many rules there is evidence: more than one while a deploy rolls.
    pub rules: usize,
    /// How long ago the record was written. `None`: it was not; an older library left a row.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub written_ago: Option<Duration>,
    /// The size of the record in bytes.
    pub bytes: usize,
}

/// The probes of a fleet, while half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetProbes {
    /// Probes that are on their way.
    pub in_flight: usize,
    /// Probes that succeeded in this half-open period.
    pub succeeded: u32,
    /// Probes that failed, or were slow where that counts.
    pub failed: u32,
}

/// Why a record cannot be used. Only one that is damaged is ever changed by a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RecordTrouble {
    /// What kind of trouble it is.
    #[cfg_attr(feature = "serde", serde(rename = "trouble"))]
    pub kind: RecordTroubleKind,
    /// The same in words, fit to be shown, never with a secret.
    pub why: String,
}

/// What is wrong with a record.
///
/// ```
/// use fusebox::fleet::RecordTroubleKind;
///
/// assert_eq!(RecordTroubleKind::Newer.as_str(), "newer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RecordTroubleKind {
    /// A newer release of this library wrote it.
    Newer,
    /// Its bytes are damaged. Instances that know what it said write it again; an operator's command replaces it.
    Damaged,
    /// It is not ours: another program uses the key.
    Foreign,
    /// The store refused to hand it out, or could not do it now.
    Refused,
}

impl RecordTroubleKind {
    /// Returns `newer`, `damaged`, `foreign` or `refused`, as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::Damaged => "damaged",
            Self::Foreign => "foreign",
            Self::Refused => "refused",
        }
    }
}

impl RecordTrouble {
    pub(super) fn of_record(unreadable: &Unreadable) -> Self {
        let kind = match unreadable {
            Unreadable::Newer(_) => RecordTroubleKind::Newer,
            Unreadable::Corrupt(_) => RecordTroubleKind::Damaged,
        };
        Self { kind, why: unreadable.to_string() }
    }

    /// What is wrong with one key; an error where the store as a whole is away.
    pub(super) fn of_answer(error: StoreError) -> Result<Self, StoreError> {
        let kind = match error {
            StoreError::Unavailable { .. } => return Err(error),
            StoreError::Foreign { .. } | StoreError::TooLarge { .. } => RecordTroubleKind::Foreign,
            StoreError::Busy(_) | StoreError::Refused(_) => RecordTroubleKind::Refused,
        };
        Ok(Self { kind, why: error.explain() })
    }
}

impl FleetBreaker {
    /// What a store has under that key; `None`: nothing.
    pub(super) fn read(key: &Key, stored: &Stored) -> Option<Self> {
        let record = match Operated::read(stored).transpose()? {
            Ok(operated) => FleetRecord::Read(Box::new(FleetSnapshot::of(operated.sight()))),
            Err(unreadable) => FleetRecord::Unreadable(RecordTrouble::of_record(&unreadable)),
        };
        Some(Self::of(key, record))
    }

    pub(super) fn of(key: &Key, record: FleetRecord) -> Self {
        let key_text = key.as_str().to_owned();
        Self { name: key.name().unwrap_or_else(|| key_text.clone()), key: key_text, record }
    }

    /// Returns what the record says; `None` where it cannot be read.
    #[must_use]
    pub fn snapshot(&self) -> Option<&FleetSnapshot> {
        match &self.record {
            FleetRecord::Read(snapshot) => Some(snapshot),
            FleetRecord::Unreadable(_) => None,
        }
    }

    /// Returns the state; `None` where the record cannot be read.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.snapshot().map(|snapshot| snapshot.state)
    }
}

impl FleetSnapshot {
    pub(super) fn of(sight: Sight) -> Self {
        let now = sight.now;
        let left = sight.until.map(|until| until.since(now));
        let is_shut = sight.state == State::Open;
        let override_ends_in = left.filter(|_| sight.standing.is_some());
        Self {
            state: sight.state,
            generation: sight.generation,
            since: wall(sight.since),
            in_state_for: now.since(sight.since),
            reason: sight.reason,
            retry_after: left.filter(|_| is_shut),
            cooldown: sight.cooldown,
            openings: sight.openings,
            overridden: sight.standing.map(|standing| StandingOverride::of(standing.order)),
            override_ends_in,
            probes: sight.probes.map(|(in_flight, succeeded, failed)| FleetProbes { in_flight, succeeded, failed }),
            failures: sight.failures,
            votes: sight.votes,
            verdict: sight.verdict,
            suspected: sight.is_suspected,
            rules: sight.rules,
            written_ago: sight.written.map(|written| now.since(written)),
            bytes: sight.bytes,
        }
    }

    /// Tells whether the circuit is open and waits for the first instance to say for how long.
    #[must_use]
    pub fn awaits_cooldown(&self) -> bool {
        let is_forced = self.overridden.as_ref().is_some_and(|standing| standing.kind() == OverrideKind::ForcedOpen);
        self.state == State::Open && !is_forced && self.retry_after.is_none()
    }
}

/// A time of a store's clock as people have it. Nothing in a record is later than the year 9999, which is the last that
/// can be written.
fn wall(at: Timestamp) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    SystemTime::UNIX_EPOCH + at.since(Timestamp::ZERO).min(LAST)
}

#[cfg(feature = "serde")]
fn rfc_3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// One line, with all escaped that a terminal would obey.
impl fmt::Display for FleetBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", OneLine(&self.name))?;
        match &self.record {
            FleetRecord::Read(snapshot) => snapshot.fmt(f),
            FleetRecord::Unreadable(trouble) => trouble.fmt(f),
        }
    }
}

impl fmt::Display for FleetSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state)?;
        match (&self.overridden, self.reason) {
            (Some(order), _) => write!(f, " ({order})")?,
            (None, Some(reason)) => write!(f, " ({reason})")?,
            (None, None) => {}
        }
        match self.retry_after {
            Some(wait) if wait < Duration::from_millis(1) => write!(f, ", retry {}", Soon(wait))?,
            Some(wait) => write!(f, ", retry in {wait:.1?}")?,
            None if self.awaits_cooldown() => f.write_str(", for as long as the first instance says")?,
            None => {}
        }
        if let Some(ends_in) = self.override_ends_in.filter(|_| self.state != State::Open) {
            write!(f, ", ends in {ends_in:.1?}")?;
        }
        if let Some(FleetProbes { in_flight, succeeded, failed }) = self.probes {
            write!(f, ", probes: {in_flight} on their way, {succeeded} succeeded, {failed} failed")?;
        }
        // While open, they stand in the reason.
        match self.failures {
            1 if self.state == State::Closed => f.write_str(", 1 failure")?,
            2.. if self.state == State::Closed => write!(f, ", {} failures", self.failures)?,
            _ => {}
        }
        if self.suspected {
            f.write_str(", a verdict is on its way")?;
        }
        Ok(())
    }
}

impl fmt::Display for RecordTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OneLine(&self.why).fmt(f)
    }
}
