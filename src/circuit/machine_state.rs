//! What a breaker is, apart from what its detector has seen: the part that a fleet keeps in its record.

use std::time::Duration;

#[cfg(feature = "fleet")]
use super::Override;
#[cfg(feature = "fleet")]
use super::codec::{LoadError, Reader, Writer};
#[cfg(feature = "fleet")]
use super::detector::{Counted, Tally};
use super::overrides::Standing;
use super::probe_round::ProbeRound;
use super::recovery::Recovery;
use super::window::CountWindow;
use super::{Generation, State, TransitionReason};
use crate::time::Timestamp;

/// A breaker's state with all that decides how it goes on. A machine steps it; a record is one that is written down.
#[derive(Clone, Debug)]
pub(crate) struct MachineState {
    pub(crate) generation: Generation,
    pub(crate) state: State,
    /// When the generation began.
    pub(crate) since: Timestamp,
    /// Absent in a breaker that never changed its state, which saves most breakers most of their memory.
    past: Option<Box<Past>>,
}

#[derive(Clone, Debug)]
struct Past {
    history: History,
    /// The execution log, where one is kept apart from the detector's window. It is one machine's own, and no record has it.
    log: Option<CountWindow>,
    /// What is seen of a recovery that is not over: only where cooldowns grow. As the log, it is one machine's own.
    recovery: Option<Box<Recovery>>,
}

/// What the transitions so far have left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// When the newest open period is over.
    pub(crate) open_until: Timestamp,
    /// How long that period is.
    pub(crate) cooldown: Duration,
    /// Openings since the breaker was last healthy.
    pub(crate) openings: u32,
    /// Why the generation began; `None` in the first.
    pub(crate) reason: Option<TransitionReason>,
    /// The newest half-open period.
    pub(crate) round: Option<ProbeRound>,
    /// The circuit was opened by the round, so the round's log tells why.
    pub(crate) opened_by_round: bool,
    /// Slow calls have opened the circuit, or kept it open: slow probes have failed.
    pub(crate) slowness_counts: bool,
    /// An operator has opened the circuit who knows none of its rules: how long it stays open is for the first breaker to say
    /// that goes on from here. Until then the cooldown is a guess.
    pub(crate) awaits_cooldown: bool,
    /// The override that stands.
    pub(crate) standing: Option<Standing>,
}

impl History {
    pub(crate) const NONE: Self = Self {
        open_until: Timestamp::ZERO,
        cooldown: Duration::ZERO,
        openings: 0,
        reason: None,
        round: None,
        opened_by_round: false,
        slowness_counts: false,
        awaits_cooldown: false,
        standing: None,
    };
}

impl MachineState {
    /// A closed breaker without a history.
    pub(crate) const fn closed(generation: Generation, now: Timestamp) -> Self {
        Self { generation, state: State::Closed, since: now, past: None }
    }

    /// The same with an execution log of so many calls.
    pub(super) fn with_log(mut self, calls: u32) -> Self {
        self.made_past().log = Some(CountWindow::new(calls));
        self
    }

    pub(crate) fn history(&self) -> &History {
        static NONE: History = History::NONE;
        self.past.as_ref().map_or(&NONE, |past| &past.history)
    }

    pub(crate) fn history_mut(&mut self) -> &mut History {
        &mut self.made_past().history
    }

    /// The history, unless there is none yet.
    pub(crate) fn past_mut(&mut self) -> Option<&mut History> {
        self.past.as_mut().map(|past| &mut past.history)
    }

    pub(super) fn log(&self) -> Option<&CountWindow> {
        self.past.as_ref()?.log.as_ref()
    }

    pub(super) fn log_mut(&mut self) -> Option<&mut CountWindow> {
        self.past.as_mut()?.log.as_mut()
    }

    /// The circuit will have recovered when it has been closed and healthy for so long; `None`: it makes no difference.
    pub(super) fn recovers_after(&mut self, period: Option<Duration>) {
        let Some(period) = period else {
            if let Some(recovery) = self.recovery_mut() {
                recovery.end();
            }
            return;
        };
        // Its memory is kept from one opening to the next.
        match &mut self.made_past().recovery {
            Some(recovery) => **recovery = Recovery::new(period),
            none => *none = Some(Box::new(Recovery::new(period))),
        }
    }

    /// What is seen of a recovery, while there is one.
    pub(super) fn recovery(&self) -> Option<&Recovery> {
        self.past.as_ref()?.recovery.as_deref().filter(|recovery| recovery.goes_on())
    }

    pub(super) fn recovery_mut(&mut self) -> Option<&mut Recovery> {
        self.past.as_mut()?.recovery.as_deref_mut().filter(|recovery| recovery.goes_on())
    }

    fn made_past(&mut self) -> &mut Past {
        self.past.get_or_insert_with(|| Box::new(Past { history: History::NONE, log: None, recovery: None }))
    }

    pub(crate) fn standing(&self) -> Option<&Standing> {
        self.history().standing.as_ref()
    }
}

/// Equal where nothing that reads them could tell them apart.
impl PartialEq for MachineState {
    fn eq(&self, other: &Self) -> bool {
        (self.generation, self.state, self.since) == (other.generation, other.state, other.since)
            && self.history() == other.history()
    }
}

#[cfg(feature = "fleet")]
impl History {
    /// The same by another clock.
    pub(crate) fn move_times(&mut self, f: impl Fn(Timestamp) -> Timestamp) {
        self.open_until = f(self.open_until);
        self.round.iter_mut().for_each(|round| round.move_times(&f));
        self.standing.iter_mut().for_each(|standing| standing.until = f(standing.until));
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        TransitionReason::save(self.reason, out);
        out.time(self.open_until);
        out.duration(Some(self.cooldown));
        out.u32(self.openings);
        let [round, slow, awaits] = [self.opened_by_round, self.slowness_counts, self.awaits_cooldown].map(u8::from);
        out.u8(round | slow << 1 | awaits << 2);
        out.option(self.round.as_ref(), ProbeRound::save);
        out.option(self.standing.as_ref(), |Standing { order, until }, out| {
            order.save(out);
            out.time(*until);
        });
    }

    /// Reads what [`save`](Self::save) wrote; records of release 0.1 say less.
    pub(crate) fn load(from: &mut Reader<'_>, is_of_0_1: bool) -> Result<Self, LoadError> {
        let reason = TransitionReason::load(from)?;
        let (open_until, cooldown) = (from.time()?, Duration::from_nanos(from.u64()?));
        let (openings, opened_by) = (from.u32()?, from.u8()?);
        let is_slow = |tally: Tally| tally.counted() == Counted::SlowCalls;
        let by_slow_calls = matches!(reason, Some(TransitionReason::Detected(tally)) if is_slow(tally));
        let slowness_counts = if is_of_0_1 { by_slow_calls } else { opened_by & 2 != 0 };
        let round = from.option(|from| ProbeRound::load(from, is_of_0_1))?;
        let standing = from.option(|from| Ok(Standing { order: Override::load(from)?, until: from.time()? }))?;
        Ok(Self {
            open_until,
            cooldown,
            openings,
            reason,
            round,
            opened_by_round: opened_by & 1 != 0,
            slowness_counts,
            awaits_cooldown: !is_of_0_1 && opened_by & 4 != 0,
            standing,
        })
    }
}
