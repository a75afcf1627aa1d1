//! The engine without its thread: what happened goes in, what to ask the store comes out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flushes::Flushes;
use super::hearing::{self, Hearing};
use super::impairments::Impairments;
use super::loads::{Lane, Loading, Loads, MAX_KEYS_IN_LOAD};
use super::member::{Member, MemberId};
use super::members::{Asking, Entry, Members};
use super::polls::{Polls, Wanted};
use super::store_health::{StoreHealth, is_there};
use super::token_bucket::TokenBucket;
use crate::backoff::draw;
use crate::replica::{Announcement, Polled, Request, Response, WakeUp};
use crate::store::{Changes, Commit, Committed, Notice, StoreError, Stored};
use crate::time::Timestamp;

/// When to look at which replica of one store, and what is on its way to the store: without thread, clock or I/O.
pub(crate) struct Scheduler {
    pub(super) members: Members,
    /// What replicas asked for in the turn in which they were told something.
    ready: VecDeque<Ask>,
    /// When the commits that are on their way were asked for.
    asked_at: HashMap<MemberId, Timestamp>,
    pub(super) health: StoreHealth,
    bucket: TokenBucket,
    polls: Polls,
    pub(super) loads: Loads,
    /// Operations on their way.
    in_flight: usize,
    impairments: Impairments,
    hearing: Hearing,
    pub(super) flushes: Flushes,
    seed: u64,
    draws: u64,
}

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Ask {
    Load(Lane, Vec<MemberId>, Vec<String>),
    /// What changed since then?
    Changes(Option<Bytes>),
    Commit(MemberId, String, Box<Commit>),
}

/// Operations on their way at once.
const MAX_IN_FLIGHT: usize = 64;
/// A key that cannot be loaded is asked for in each poll, then in every second, fourth, and at the end in every 16th.
const LONGEST_TROUBLE: u8 = 4;
/// Replicas that must all load again do so spread over this time.
const RELOAD_SPREAD: Duration = Duration::from_millis(200);

impl Scheduler {
    pub(crate) fn new(store: Arc<str>, seed: u64, now: Timestamp) -> Self {
        Self {
            members: Members::default(),
            ready: VecDeque::new(),
            asked_at: HashMap::new(),
            health: StoreHealth::new(store, now),
            bucket: TokenBucket::full(now),
            polls: Polls::new(now),
            loads: Loads::default(),
            in_flight: 0,
            impairments: Impairments::default(),
            hearing: Hearing::default(),
            flushes: Flushes::default(),
            seed,
            draws: 0,
        }
    }

    /// The store never tells of anything, and says so.
    pub(crate) fn expect_no_notices(&mut self) {
        self.hearing.expect_nothing();
    }

    pub(super) fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        draw(self.seed, self.draws)
    }

    pub(crate) fn join(&mut self, member: Arc<dyn Member>, now: Timestamp) {
        let id = member.id();
        if self.members.join(member) {
            if let Some(down) = self.health.down() {
                self.members.visit(id, now, |replica, turn| replica.go_without_store(&down.outage, turn));
            }
            self.members.schedule(id, now);
        }
    }

    /// A breaker is dropped: what it has left to say is sent, if the store takes it soon. `departed` has the replica now.
    pub(crate) fn depart(&mut self, departed: Arc<dyn Member>, now: Timestamp) {
        let id = departed.id();
        let Some(entry) = self.members.replace(departed) else {
            return;
        };
        let is_asking = entry.asking.is_some();
        self.members.visit(id, now, |replica, _| {
            if !is_asking {
                // An answer that came while the breaker was on its way out has reached nothing.
                replica.ask_again();
            }
            replica.depart(now);
        });
        if self.health.is_down() {
            self.leave(id);
        } else {
            self.members.schedule(id, now);
        }
    }

    fn leave(&mut self, id: MemberId) {
        if self.members.leave(id) {
            self.asked_at.remove(&id);
            self.polls.follow(id, false);
            self.flushes.end(id);
        }
    }

    /// A step of a breaker wants its replica looked at.
    pub(crate) fn wake(&mut self, id: MemberId, wake: WakeUp, now: Timestamp) {
        // A look since then has seen what it is about. One that is due already comes no later for it.
        let is_news = |entry: &Entry| entry.look == wake.look && entry.scheduled_at() > now;
        if self.members.get(id).is_some_and(is_news) {
            self.members.schedule(id, wake.at);
        }
    }

    /// A caller waits until everything of a breaker's is sent and the newest is fetched.
    pub(crate) fn flush(&mut self, id: MemberId, waiter: u64, now: Timestamp) {
        if self.members.get(id).is_some() {
            self.flushes.begin(id, waiter);
            self.members.visit(id, now, |replica, _| replica.begin_flush());
        } else {
            self.flushes.end_at_once(waiter);
        }
        self.health.retry_now(now);
        self.members.schedule(id, now);
    }

    /// A caller waits until that is so of all breakers.
    pub(crate) fn flush_all(&mut self, waiter: u64, now: Timestamp) {
        let ids = self.members.ids();
        self.flushes.wait_for(waiter, ids.len());
        ids.into_iter().for_each(|id| self.flush(id, waiter, now));
    }

    /// The flushes that are over.
    pub(crate) fn flushed(&mut self) -> Vec<u64> {
        self.flushes.take()
    }

    /// All that was on its way is lost: what was asked is asked again.
    pub(crate) fn begin_again(&mut self, now: Timestamp) {
        self.in_flight = 0;
        self.ready.clear();
        self.asked_at.clear();
        self.polls.ask_again();
        self.hearing.miss();
        for lane in Lane::ALL {
            self.loads.end(lane);
        }
        for entry in self.members.entries_mut() {
            entry.asking = None;
        }
        self.members.visit_all(now, |replica, _| replica.ask_again());
        self.reload_all(now);
    }

    /// From its next batch on each replica has another number.
    pub(crate) fn renew_writers(&mut self, random: impl Fn() -> u64, now: Timestamp) {
        self.members.visit_all(now, |replica, _| replica.renew_writer(random()));
    }

    /// When to call [`next`](Self::next) again if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        if self.members.is_empty() {
            return None;
        }
        // Where an answer must come first, the answer wakes: a look before it would find nothing to do, over and over.
        let is_loading = self.loads.is_out(Lane::Calm);
        if self.in_flight >= MAX_IN_FLIGHT || self.health.is_down() && (is_loading || self.all_are_asking()) {
            return None;
        }
        if let Some(down) = self.health.down() {
            // While it is down, replicas have nothing to do but wait for the load that finds it back.
            return Some(down.retry_at);
        }
        let ping_at = self.health.ping_at().filter(|_| !is_loading && self.has_witness());
        let first = self.members.first().map(|(at, _)| at);
        let loads = Lane::ALL.map(|lane| self.loads.due_at(lane).filter(|_| !self.polls.is_unknown()));
        Some([first, ping_at].into_iter().chain(loads).flatten().fold(self.polls.at(), Timestamp::min))
    }

    /// What to ask the store now; `None` when there is nothing more.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Ask> {
        if let Some(ask) = self.ready.pop_front() {
            return Some(ask);
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        if self.polls.is_unknown()
            && !self.members.is_empty()
            && let Some(question) = self.ask_what_changed()
        {
            return Some(question);
        }
        if self.health.is_down() {
            return self.look_whether_it_is_back(now);
        }
        if self.health.ping_at().is_some_and(|at| at <= now)
            && self.has_witness()
            && let Some(ping) = self.ping(now)
        {
            return Some(ping);
        }
        if now >= self.polls.at()
            && let Some(question) = self.poll(now)
        {
            return Some(question);
        }
        while let Some((at, id)) = self.members.first() {
            if at > now {
                break;
            }
            self.members.unschedule(id);
            if let Some(ask) = self.look(id, now) {
                return Some(ask);
            }
        }
        Lane::ALL.into_iter().find_map(|lane| self.load_listed(lane, now))
    }

    /// Lists a key for the next load.
    fn list(&mut self, id: MemberId) {
        if let Some(entry) = self.members.get_mut(id).filter(|entry| !entry.is_listed) {
            (entry.is_listed, entry.is_stale) = (true, false);
            let lane = if entry.troubles > 0 { Lane::Troubled } else { Lane::Calm };
            self.loads.list(lane, id, self.flushes.awaits(id));
        }
    }

    /// Lists keys for the next load, but for those that are asked for already, or that had better be left alone.
    fn list_all(&mut self, ids: impl IntoIterator<Item = MemberId>) {
        for id in ids {
            let Some(Entry { asking, troubles, .. }) = self.members.get(id) else {
                continue;
            };
            if asking.is_none() && self.polls.count().is_multiple_of(1 << (*troubles).min(LONGEST_TROUBLE)) {
                self.list(id);
            }
        }
    }

    fn load_listed(&mut self, lane: Lane, now: Timestamp) -> Option<Ask> {
        if self.polls.is_unknown() || self.loads.due_at(lane).is_none_or(|at| at > now) {
            return None;
        }
        let mut ids = self.loads.take(lane, now);
        ids.retain(|id| self.members.get_mut(*id).is_some_and(|entry| std::mem::take(&mut entry.is_listed)));
        (!ids.is_empty()).then(|| self.load(lane, ids, false, now))
    }

    pub(super) fn load(&mut self, lane: Lane, ids: Vec<MemberId>, is_ping: bool, now: Timestamp) -> Ask {
        self.loads.begin(lane, Loading { asked_at: now, is_ping });
        self.in_flight += 1;
        let keys = ids.iter().filter_map(|id| self.members.get(*id)).map(|entry| entry.key().to_string()).collect();
        Ask::Load(lane, ids, keys)
    }

    /// Looks at a replica.
    fn look(&mut self, id: MemberId, now: Timestamp) -> Option<Ask> {
        let bucket = &mut self.bucket;
        let mut polled = None;
        self.members.visit(id, now, |replica, turn| {
            polled = Some(replica.poll(turn, &mut |priority| bucket.take(priority, now)));
        });
        self.polled(id, polled?, now)
    }

    fn polled(&mut self, id: MemberId, polled: Polled, now: Timestamp) -> Option<Ask> {
        let Polled { request, wake_at, flushed, departed, follows, look } = polled;
        self.polls.follow(id, follows);
        let entry = self.members.get_mut(id)?;
        entry.look = look;
        if flushed {
            self.flushes.end(id);
        }
        if departed {
            self.leave(id);
            return None;
        }
        let ask = match request {
            None => None,
            Some(Request::Load) => {
                entry.asking = Some(Asking::Load);
                self.list(id);
                None
            }
            Some(Request::Commit(commit)) => {
                entry.asking = Some(Asking::Commit);
                self.asked_at.insert(id, now);
                if commit.notice.is_some() {
                    self.hearing.ask(id, entry.key());
                }
                self.in_flight += 1;
                Some(Ask::Commit(id, entry.key().to_string(), commit))
            }
        };
        if let Some(at) = wake_at {
            self.members.schedule(id, at);
        }
        ask
    }

    fn ask_what_changed(&mut self) -> Option<Ask> {
        let since = self.polls.ask()?;
        self.in_flight += 1;
        Some(Ask::Changes(since))
    }

    /// Once a second.
    fn poll(&mut self, now: Timestamp) -> Option<Ask> {
        let spread = 0.8 + 0.4 * self.draw();
        let Wanted { reload_all, load, changes } = self.polls.poll(self.members.entries(), spread, now);
        if reload_all {
            self.reload_all(now);
        }
        self.list_all(load);
        match self.hearing.look(self.health.heard_at(), self.impairments.is_any()) {
            Some(hearing::Change::Deaf) => self.impaired(hearing::DEAF, now),
            Some(hearing::Change::Hears) => self.mended(hearing::DEAF, now),
            None => {}
        }
        if changes { self.ask_what_changed() } else { None }
    }

    /// The store has said what changed.
    pub(crate) fn changed(&mut self, answer: &Result<Changes, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer {
            Ok(changes) => {
                let reload_all = self.polls.hear(changes, now);
                if !matches!(changes, Changes::Unsupported) {
                    self.answered(now);
                }
                if reload_all {
                    self.reload_all(now);
                }
                if let Changes::Since { keys, .. } = changes {
                    let ids: Vec<_> = keys.iter().flat_map(|key| self.members.with_key(key)).collect();
                    for id in &ids {
                        if let Some(entry) = self.members.get_mut(*id) {
                            entry.is_stale = true;
                        }
                    }
                    self.list_all(ids);
                }
            }
            Err(error) => {
                let instead = self.polls.hear_nothing(self.members.entries());
                if is_there(error) {
                    self.answered(now);
                } else {
                    self.health.doubted(now);
                }
                if !self.health.is_down() {
                    self.list_all(instead);
                }
            }
        }
    }

    /// The store has answered a load, for each key by itself.
    pub(crate) fn loaded(&mut self, lane: Lane, answers: &[(MemberId, Result<Stored, StoreError>)], now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let loading = self.loads.end(lane);
        let asked_at = loading.map_or(now, |loading| loading.asked_at);
        let failure = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).find(|error| !is_there(error));
        let is_there = answers.iter().any(|(_, answer)| answer.as_ref().err().is_none_or(is_there));
        if is_there {
            self.answered(now);
        }
        // In the order in which they would be looked at.
        let mut answers: Vec<_> = answers.iter().collect();
        answers.sort_by_key(|(id, _)| *id);
        for (id, answer) in answers {
            if let Some(entry) = self.members.get_mut(*id) {
                entry.troubles = if answer.is_err() { entry.troubles.saturating_add(1) } else { 0 };
            }
            self.hand(*id, Response::Loaded(answer.as_ref()), asked_at, now);
        }
        if let Some(error) = failure.filter(|_| !is_there) {
            match loading {
                Some(Loading { is_ping: true, .. }) => self.ping_failed(error, now),
                _ => self.health.doubted(now),
            }
            if self.health.is_down() {
                self.end_flushes(now);
            }
        }
    }

    /// The store has answered a commit.
    pub(crate) fn committed(&mut self, id: MemberId, answer: &Result<Committed, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if answer.as_ref().err().is_none_or(is_there) {
            self.answered(now);
        } else {
            self.health.doubted(now);
        }
        self.hearing
            .answer(id, if let Ok(Committed::Applied { version, .. }) = answer { Some(*version) } else { None });
        let asked_at = self.asked_at.remove(&id).unwrap_or(now);
        self.hand(id, Response::Committed(answer.as_ref()), asked_at, now);
    }

    /// Brings a replica what the store has said. Where it would be the next to be looked at, it says in the same turn what
    /// to ask now, so that a commit costs two turns and not three.
    fn hand(&mut self, id: MemberId, response: Response<'_>, asked_at: Timestamp, now: Timestamp) {
        // What an error means for the store is decided before anything more is asked of it.
        let may_look = !matches!(response, Response::Loaded(Err(_))) && self.is_next(id, now);
        let (is_down, bucket) = (self.health.is_down(), &mut self.bucket);
        let Some(entry) = self.members.get_mut(id) else {
            return;
        };
        let answers = match &response {
            Response::Loaded(_) => Some(Asking::Load),
            Response::Committed(_) => Some(Asking::Commit),
            Response::Changed { .. } => None,
        };
        entry.asking = entry.asking.filter(|asking| Some(*asking) != answers);
        let (mut response, mut polled) = (Some(response), None);
        self.members.visit(id, now, |replica, turn| {
            let Some(response) = response.take() else {
                return;
            };
            replica.handle(response, asked_at, turn);
            if may_look {
                polled = Some(replica.poll(turn, &mut |priority| bucket.take(priority, now)));
            } else if is_down && replica.end_flush(true) {
                self.flushes.end(id);
            }
        });
        if self.members.get(id).is_some_and(|entry| entry.is_stale && entry.asking.is_none()) {
            self.list(id);
        }
        let Some(polled) = polled else {
            return self.members.schedule(id, now);
        };
        self.members.unschedule(id);
        let ask = self.polled(id, polled, now);
        self.ready.extend(ask);
    }

    /// Tells whether a replica that is due now would be the next to be looked at.
    fn is_next(&self, id: MemberId, now: Timestamp) -> bool {
        let is_first = self.members.first().is_none_or(|first| first > (now, id));
        is_first && !self.health.is_down() && self.in_flight < MAX_IN_FLIGHT && now < self.polls.at()
    }

    /// The store tells of a change.
    pub(crate) fn noticed(&mut self, notice: &Notice, now: Timestamp) {
        match notice {
            Notice::Changed { key, version, notice, .. } => {
                self.hearing.notice(key, *version);
                let announcement = Announcement::load(notice);
                for id in self.members.with_key(key) {
                    self.hand(id, Response::Changed { version: *version, announcement }, now, now);
                }
            }
            Notice::Impaired { why } => self.impaired(why, now),
            Notice::Mended { why } => self.mended(why, now),
            Notice::Lagged => {
                self.hearing.miss();
                if self.polls.catch_up(now) {
                    self.reload_all(now);
                }
            }
        }
    }

    /// Tells of it, unless listeners know, or have been told that the store is away.
    fn impaired(&mut self, why: &str, now: Timestamp) {
        if !self.health.is_down()
            && let Some(trouble) = self.impairments.news(self.health.store(), why, now)
        {
            self.members.visit_all(now, |replica, turn| replica.hear_of_impairment(&trouble, false, turn));
        }
    }

    /// It is over, as listeners are to hear that were told of it.
    fn mended(&mut self, why: &str, now: Timestamp) {
        if let Some(trouble) = self.impairments.end(why) {
            self.hearing.miss();
            self.members.visit_all(now, |replica, turn| replica.hear_of_impairment(&trouble, true, turn));
        }
    }

    /// Whatever is known may be old.
    fn reload_all(&mut self, now: Timestamp) {
        self.members.visit_all(now, |replica, _| replica.reload());
        self.schedule_all(now);
    }

    /// Looks at all replicas again, but not at all of them at once.
    pub(super) fn schedule_all(&mut self, now: Timestamp) {
        let ids = self.members.ids();
        // Those whose records one load asks for together.
        for together in ids.chunks(MAX_KEYS_IN_LOAD) {
            let at = now + RELOAD_SPREAD.mul_f64(self.draw());
            together.iter().for_each(|id| self.members.schedule(*id, at));
        }
    }

    /// Tells whether no breaker is left, and nothing is on its way.
    pub(crate) fn is_done(&self) -> bool {
        self.members.is_empty() && self.in_flight == 0
    }
}
