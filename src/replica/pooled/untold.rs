//! What an instance has seen of its calls and not told yet.

use std::collections::VecDeque;
use std::time::Duration;

use super::rule::{Class, Rule};
use super::telling::{Telling, Trip, fingerprint};
use super::told::{Stretch, ToldCalls};
use super::voices::{PROMISE_LASTS, Promised};
use crate::circuit::{Call, Detector, Run};
use crate::replica::clocks::{before, translate};
use crate::time::Timestamp;

/// The calls of the closed state that an instance has not told of, by its own clock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Untold {
    /// The detector's rule, as [`fingerprint`] names it: instances of one rule share evidence.
    pub(crate) rule: u64,
    shape: Option<Rule>,
    /// What an opaque detector says of itself.
    wants_good_calls: bool,
    runs: VecDeque<UntoldRun>,
    bad_runs: usize,
    /// What its own detector has tripped on in this generation.
    trip: Option<Trip>,
    trip_is_told: bool,
    /// By the store's clock: the time up to which was told. What comes next is not older, whatever became of the clocks.
    told_up_to: Timestamp,
    /// The rate that was promised, and since when.
    promise: Option<Promise>,
    /// Up to when it has told last, and what it promised then.
    before: Option<Promised>,
    dry_runs: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct UntoldRun {
    ended: Timestamp,
    class: Class,
    took: Option<Duration>,
    count: u64,
    retry_after: Option<Duration>,
}

/// Calls a second, decaying.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    good: f64,
    bad: f64,
    at: Timestamp,
    /// When a call last ended.
    newest: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Promise {
    rate: f64,
    made_at: Timestamp,
    /// Since when it is counted whether it is kept.
    since: Timestamp,
    /// Good calls since.
    kept: f64,
}

/// How a telling comes about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// By the breaker's clock.
    pub(crate) here: Timestamp,
    /// The same by the store's.
    pub(crate) there: Timestamp,
    /// The suspicion that is answered, and whether its cut has passed by any clock.
    pub(crate) answers: Option<u64>,
    pub(crate) up_to: Timestamp,
    pub(crate) clock_error: Duration,
    pub(crate) has_push: bool,
    /// Calls older than this beyond the horizon need not be told.
    pub(crate) kept_for: Duration,
}

/// Runs that are kept, at most; the oldest are forgotten.
const MAX_RUNS: usize = 4_096;
/// While nothing is told, what is too old, or need not be so exact, is looked for each time that so many more runs are kept.
const TRIM_EVERY: usize = 512;
/// Calls of one quarter of a second, where a rule counts calls, not time.
const SETTLED_BITS: u8 = 28;
/// And is too old then if it lies so far behind what the rule looks back.
const KEPT_WHILE_AWAY: Duration = Duration::from_secs(15);
/// Rates below this are no promise: their absence would show too late.
const LEAST_PROMISE: f64 = 4.0;
/// Such a part of the calls may be bad where more good ones are promised unasked.
const MOST_BAD: f64 = 0.03;
/// At such a part of what was promised, a promise is broken.
const BROKEN_AT: f64 = 0.25;

impl Rates {
    /// Goes on to `now`.
    pub(crate) fn decay(&mut self, now: Timestamp) {
        let factor = (-now.since(self.at).as_secs_f64()).exp();
        (self.good, self.bad) = (self.good * factor, self.bad * factor);
        self.at = self.at.max(now);
    }

    /// So many calls have ended.
    pub(crate) fn count(&mut self, is_bad: bool, count: u64, now: Timestamp) {
        self.decay(now);
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        if is_bad {
            self.bad += count;
        } else {
            self.good += count;
        }
        self.newest = self.newest.max(Some(now));
    }

    /// Tells whether there were calls in the last two seconds.
    pub(crate) fn is_active(&self, here: Timestamp) -> bool {
        self.newest.is_some_and(|newest| here.since(newest) < Duration::from_secs(2))
    }

    /// Tells whether a bad call is an exception: there is no second one in a second, or they are few among the good ones.
    fn are_good(&self) -> bool {
        self.bad <= (MOST_BAD * self.good).max(1.5)
    }
}

impl Untold {
    pub(crate) fn new(detector: &dyn Detector) -> Self {
        Self {
            rule: fingerprint(&detector.rule()),
            shape: Rule::new(&detector.shape()),
            wants_good_calls: detector.horizon().wants_successes(),
            runs: VecDeque::new(),
            bad_runs: 0,
            trip: None,
            trip_is_told: false,
            told_up_to: Timestamp::ZERO,
            promise: None,
            before: None,
            dry_runs: 0,
        }
    }

    pub(crate) const fn is_opaque(&self) -> bool {
        self.shape.is_none()
    }

    /// Tells whether all calls that ended before a moment of the store's clock have been told.
    pub(crate) fn is_told_up_to(&self, cut: Timestamp) -> bool {
        self.before.is_some_and(|before| before.since >= cut)
    }

    /// Over how many of the newest calls the rule looks, where its shape is known.
    pub(crate) fn newest_calls(&self) -> u64 {
        self.shape.as_ref().map_or(0, |rule| rule.horizon().calls)
    }

    /// Tells whether good calls are evidence that others must see.
    pub(crate) fn wants_good_calls(&self) -> bool {
        self.shape.as_ref().map_or(self.wants_good_calls, |rule| !rule.counts_bad_only())
    }

    /// How many calls wait.
    pub(crate) fn count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.count))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Tells whether something waits that must be told at once: a failure, a slow call, a trip.
    pub(crate) const fn has_bad(&self) -> bool {
        self.bad_runs > 0 || self.has_trip()
    }

    /// Tells whether the detector has tripped, and the fleet does not know.
    pub(crate) const fn has_trip(&self) -> bool {
        self.trip.is_some() && !self.trip_is_told
    }

    fn class(&self, run: &Run) -> Class {
        let unjudged = if run.failed { Class::FAILED } else { Class::GOOD };
        self.shape.as_ref().map_or(unjudged, |rule| rule.class(run.failed, run.took))
    }

    /// Tells whether the rule counts a call against the dependency.
    pub(crate) fn is_bad(&self, run: &Run) -> bool {
        self.class(run).is_bad() || run.took.is_some() && self.is_opaque()
    }

    /// Tells whether a call would leave no trace here.
    pub(crate) fn ignores(&self, run: &Run) -> bool {
        !self.is_bad(run) && !self.wants_good_calls() && self.promise.is_none()
    }

    /// Calls have ended. Returns how many had to be forgotten.
    pub(crate) fn saw(&mut self, run: Run, retry_after: Option<Duration>) -> u64 {
        let (class, is_bad) = (self.class(&run), self.is_bad(&run));
        if let Some(promise) = self.promise.as_mut().filter(|_| !is_bad) {
            promise.kept += f64::from(u32::try_from(run.count).unwrap_or(u32::MAX));
        }
        if !is_bad && !self.wants_good_calls() {
            return 0;
        }
        let took = run.took.filter(|_| self.is_opaque());
        match self.runs.back_mut() {
            Some(last) if !is_bad && (last.class, last.took, last.ended) == (class, None, run.ended) => {
                last.count = last.count.saturating_add(run.count);
            }
            _ => {
                self.bad_runs += usize::from(is_bad);
                self.runs.push_back(UntoldRun { ended: run.ended, class, took, count: run.count, retry_after });
            }
        }
        if !self.runs.len().is_multiple_of(TRIM_EVERY) {
            return 0;
        }
        self.trim(run.ended, KEPT_WHILE_AWAY);
        self.make_room(run.ended)
    }

    /// Joins calls that are judged already if their evidence came in time, and that no rule tells apart any more;
    /// forgets the oldest where that is not enough. Returns how many it forgets.
    fn make_room(&mut self, now: Timestamp) -> u64 {
        let settled = before(now, KEPT_WHILE_AWAY / 2);
        let bits = self.shape.as_ref().map_or(SETTLED_BITS, |rule| rule.coarsest_bits().unwrap_or(SETTLED_BITS));
        let cell = |at: Timestamp| at.as_nanos() >> bits;
        let mut joined: VecDeque<UntoldRun> = VecDeque::with_capacity(self.runs.len());
        for run in std::mem::take(&mut self.runs) {
            match joined.back_mut() {
                Some(last)
                    if run.ended < settled
                        && (last.class, last.took, cell(last.ended)) == (run.class, run.took, cell(run.ended)) =>
                {
                    last.count = last.count.saturating_add(run.count);
                    last.retry_after = last.retry_after.max(run.retry_after);
                }
                _ => joined.push_back(run),
            }
        }
        let over = if joined.len() > MAX_RUNS { joined.len() - MAX_RUNS * 3 / 4 } else { 0 };
        let forgotten = joined.drain(..over).fold(0, |sum: u64, run| sum.saturating_add(run.count));
        self.runs = joined;
        self.count_bad();
        forgotten
    }

    fn count_bad(&mut self) {
        self.bad_runs = self.runs.iter().filter(|run| run.class.is_bad() || run.took.is_some()).count();
    }

    /// The detector has tripped here; only the first time in a generation counts.
    pub(crate) fn note_trip(&mut self, trip: Trip) {
        self.trip.get_or_insert(trip);
    }

    pub(crate) const fn tripped(&self) -> Option<&Trip> {
        self.trip.as_ref()
    }

    /// Forgets calls that nothing can depend on any more: beyond the horizon, and `kept_for` before that. They were good, or
    /// they are evidence of what is long over.
    pub(crate) fn trim(&mut self, here: Timestamp, kept_for: Duration) {
        let Some(rule) = &self.shape else {
            return;
        };
        let reach = rule.horizon();
        let recent = before(here, kept_for);
        let oldest = before(recent, reach.time);
        let mut older = 0_u64;
        let kept = self.runs.iter().rev().take_while(|run| {
            let is_recent = run.ended >= recent || run.ended >= oldest && reach.time > Duration::ZERO;
            let keep = is_recent || older < reach.calls;
            if run.ended < recent {
                older = older.saturating_add(run.count);
            }
            keep
        });
        let over = self.runs.len() - kept.count();
        if over > 0 {
            self.runs.drain(..over);
            self.count_bad();
        }
    }

    /// Forgets calls that belong to an earlier generation.
    pub(crate) fn forget_calls(&mut self) {
        self.runs.clear();
        self.bad_runs = 0;
        self.trip = None;
        self.trip_is_told = false;
        self.promise = None;
    }

    /// Forgets calls that ended before a moment of the breaker's clock, and a trip of then. Returns whether there were any.
    pub(crate) fn forget_before(&mut self, here: Timestamp) -> bool {
        let before = self.runs.len();
        self.runs.retain(|run| run.ended >= here);
        self.count_bad();
        self.trip = self.trip.filter(|trip| trip.at >= here);
        self.runs.len() < before
    }

    /// Shows a detector the calls that wait, in their order.
    pub(crate) fn show(&self, detector: &mut dyn Detector) {
        for run in &self.runs {
            let call = if run.class.failed() { Call::failure(run.ended) } else { Call::success(run.ended) };
            let took = self.shape.as_ref().map_or(run.took, |rule| rule.least_time(run.class));
            Run::new(&call.took(took), run.count).show(detector);
        }
    }

    /// The fleet has counted so many dry runs that would have opened the circuit. Returns whether that is news.
    pub(crate) fn note_dry_runs(&mut self, dry_runs: u32) -> bool {
        let is_news = self.dry_runs != dry_runs;
        if is_news {
            self.dry_runs = dry_runs;
            self.trip = None;
            self.trip_is_told = false;
        }
        is_news
    }

    /// Tells whether this instance would have something to say if it were asked: it has calls that it has not told, or it
    /// has told lately, and had calls in the last two seconds.
    pub(crate) fn has_an_answer(&self, is_active: bool, told_lately: bool) -> bool {
        !self.runs.is_empty() || self.has_trip() || told_lately && is_active
    }

    /// When it must be seen whether a promise is kept.
    pub(crate) fn promise_due(&self) -> Option<Timestamp> {
        let promise = self.promise.as_ref()?;
        Some(promise.since + Self::period(promise.rate))
    }

    /// Every 200 ms, or ten calls' time: of ten calls that come by chance, one in four hundred times two or fewer do.
    fn period(rate: f64) -> Duration {
        Duration::from_secs_f64((10.0 / rate.max(LEAST_PROMISE)).clamp(0.2, 1.0))
    }

    /// Tells whether what was promised has failed to come: then this is to be told.
    pub(crate) fn breaks_promise(&mut self, here: Timestamp) -> bool {
        let Some(promise) = self.promise.as_mut().filter(|promise| here.since(promise.made_at) < PROMISE_LASTS) else {
            self.promise = None;
            return false;
        };
        let period = Self::period(promise.rate);
        let waited = here.since(promise.since);
        if waited < period {
            return false;
        }
        let broken = promise.kept <= BROKEN_AT * promise.rate * waited.as_secs_f64();
        if !broken {
            (promise.since, promise.kept) = (here, 0.0);
        }
        broken
    }

    /// The bad calls that wait, by the store's clock.
    pub(crate) fn bad_calls(&self, here: Timestamp, there: Timestamp) -> Vec<ToldCalls> {
        self.calls(here, there).into_iter().filter(|told| told.calls.class.is_bad()).collect()
    }

    /// The calls that wait, by the store's clock.
    pub(crate) fn calls(&self, here: Timestamp, there: Timestamp) -> Vec<ToldCalls> {
        let told = |run: &UntoldRun| ToldCalls {
            at: translate(run.ended, here, there),
            calls: Stretch::new(run.class, run.count),
            retry_after: run.retry_after,
        };
        self.runs.iter().map(told).collect()
    }

    /// Takes out all that waits. `rates` are those of this moment.
    pub(crate) fn take(&mut self, writer: u64, rates: &Rates, moment: &Moment) -> Telling {
        self.trim(moment.here, moment.kept_for);
        let rate = (rates.good - rates.bad).max(0.0);
        let promises = (moment.answers.is_some() || rates.are_good()) && rate >= LEAST_PROMISE;
        let promise = if promises { rate } else { 0.0 };
        self.promise =
            (promise > 0.0).then_some(Promise { rate: promise, made_at: moment.here, since: moment.here, kept: 0.0 });
        let on_stores_clock = |at: Timestamp| translate(at, moment.here, moment.there);
        let mut newest = self.told_up_to;
        let (mut calls, mut took) = (Vec::with_capacity(self.runs.len()), Vec::new());
        for run in self.runs.drain(..) {
            newest = newest.max(on_stores_clock(run.ended));
            calls.push(ToldCalls {
                at: newest,
                calls: Stretch::new(run.class, run.count),
                retry_after: run.retry_after,
            });
            took.extend(self.shape.is_none().then_some(run.took));
        }
        self.bad_runs = 0;
        self.told_up_to = newest;
        let trip = self.trip.map(|trip| Trip { at: on_stores_clock(trip.at), ..trip });
        self.trip_is_told = trip.is_some();
        let up_to = moment.up_to.max(newest);
        let before = self.before.replace(Promised { since: up_to, rate: promise });
        Telling {
            writer,
            rule: self.rule,
            shape: self.shape.clone(),
            dry_runs: self.dry_runs,
            calls,
            took,
            up_to,
            rate,
            promise,
            before,
            answers: moment.answers,
            trip,
            clock_error: moment.clock_error,
            has_push: moment.has_push,
        }
    }

    /// The trip was in a telling that no record has taken in: it is to be told again.
    pub(crate) fn trip_is_lost(&mut self) {
        self.trip_is_told = false;
    }
}
