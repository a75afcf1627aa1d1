//! The engine without its thread: what happened goes in, what to ask the store comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::store_health::{Change, StoreHealth};
use super::token_bucket::TokenBucket;
use crate::backoff::draw;
use crate::replica::{Announcement, POLL_INTERVAL, Polled, Replica, Request, Response, Turn, WakeUp};
use crate::store::{Commit, Committed, Notice, StoreError, Stored};
use crate::time::Timestamp;

/// Which member of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

/// A breaker, to the engine: a replica that can be reached, for as long as the breaker is there.
pub(crate) trait Member: Send + Sync + 'static {
    /// Lets `f` have a turn at the replica, under the breaker's lock, and does what the breaker must do after that.
    /// `now` is the engine's time. Where the breaker is gone, `f` is not called.
    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>));
}

/// When to look at which replica of one store, and what is on its way to the store: without thread, clock or I/O.
pub(crate) struct Scheduler {
    members: BTreeMap<MemberId, Entry>,
    by_key: HashMap<String, Vec<MemberId>>,
    /// When to look at which replica again.
    agenda: BTreeSet<(Timestamp, MemberId)>,
    /// What replicas asked for in the turn in which they were told something.
    ready: VecDeque<Ask>,
    health: StoreHealth,
    bucket: TokenBucket,
    poll_at: Timestamp,
    /// Where the last poll ended, if there are too many keys for one.
    polled_up_to: Option<MemberId>,
    /// Notices were missed since all replicas loaded last, and from when on they do so at once.
    has_lagged: bool,
    reload_after: Timestamp,
    /// Whose keys the next load asks for.
    to_load: Vec<MemberId>,
    /// When the load was asked for that is on its way.
    loading: Option<Timestamp>,
    /// Operations on their way.
    in_flight: usize,
    /// Flushes that are over.
    flushed: Vec<u64>,
    seed: u64,
    draws: u64,
}

/// A replica, as far as the scheduler need not ask it.
struct Entry {
    member: Arc<dyn Member>,
    key: String,
    /// Its place in the agenda.
    scheduled_at: Option<Timestamp>,
    /// What it waits for.
    asking: Option<Asking>,
    /// When its last commit was asked for.
    asked_at: Timestamp,
    /// The number of the last look at it.
    look: u64,
    /// Flushes that wait for it.
    waiters: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Load,
    Commit,
}

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Ask {
    Load(Vec<MemberId>, Vec<String>),
    Commit(MemberId, String, Box<Commit>),
}

/// Keys in one load.
const MAX_KEYS_IN_LOAD: usize = 256;
/// Keys in one poll.
const MAX_KEYS_IN_POLL: usize = 4 * MAX_KEYS_IN_LOAD;
/// Operations on their way at once.
const MAX_IN_FLIGHT: usize = 64;
/// Replicas that must all load again do so spread over this time.
const RELOAD_SPREAD: Duration = Duration::from_millis(200);

impl Scheduler {
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            members: BTreeMap::new(),
            by_key: HashMap::new(),
            agenda: BTreeSet::new(),
            ready: VecDeque::new(),
            health: StoreHealth::default(),
            bucket: TokenBucket::full(now),
            poll_at: now + POLL_INTERVAL,
            polled_up_to: None,
            has_lagged: false,
            reload_after: now,
            to_load: Vec::new(),
            loading: None,
            in_flight: 0,
            flushed: Vec::new(),
            seed,
            draws: 0,
        }
    }

    fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        draw(self.seed, self.draws)
    }

    pub(crate) fn join(&mut self, id: MemberId, member: Arc<dyn Member>, key: String, now: Timestamp) {
        if let Some(down) = self.health.down() {
            member.visit(now, &mut |replica, turn| replica.go_without_store(Some(&down.why), false, turn));
        }
        self.by_key.entry(key.clone()).or_default().push(id);
        let entry =
            Entry { member, key, scheduled_at: None, asking: None, asked_at: now, look: 0, waiters: Vec::new() };
        self.members.insert(id, entry);
        self.schedule(id, now);
    }

    /// A breaker is dropped: what it has left to say is sent, if the store takes it soon. `departed` has the replica now.
    pub(crate) fn depart(&mut self, id: MemberId, departed: Arc<dyn Member>, now: Timestamp) {
        let Some(entry) = self.members.get_mut(&id) else {
            return;
        };
        entry.member = departed;
        let is_asking = entry.asking.is_some();
        self.visit(id, now, |replica, _| {
            if !is_asking {
                // An answer that came while the breaker was on its way out has reached nothing.
                replica.ask_again();
            }
            replica.depart(now);
        });
        if self.health.is_down() {
            self.leave(id);
        } else {
            self.schedule(id, now);
        }
    }

    fn leave(&mut self, id: MemberId) {
        let Some(entry) = self.members.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_key.get_mut(&entry.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&entry.key);
            }
        }
        if let Some(at) = entry.scheduled_at {
            self.agenda.remove(&(at, id));
        }
        self.flushed.extend(entry.waiters);
        self.to_load.retain(|other| *other != id);
    }

    /// A step of a breaker wants its replica looked at.
    pub(crate) fn wake(&mut self, id: MemberId, wake: WakeUp, now: Timestamp) {
        // A look since then has seen what it is about. One that is due already comes no later for it.
        let is_news = |entry: &Entry| entry.look == wake.look && entry.scheduled_at.is_none_or(|at| at > now);
        if self.members.get(&id).is_some_and(is_news) {
            self.schedule(id, wake.at);
        }
    }

    /// A caller waits until everything of a breaker's is sent and the newest is fetched.
    pub(crate) fn flush(&mut self, id: MemberId, waiter: u64, now: Timestamp) {
        match self.members.get_mut(&id) {
            Some(entry) => {
                entry.waiters.push(waiter);
                self.visit(id, now, |replica, _| replica.begin_flush());
            }
            None => self.flushed.push(waiter),
        }
        self.health.retry_now(now);
        self.schedule(id, now);
    }

    /// The flushes that are over.
    pub(crate) fn flushed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.flushed)
    }

    fn schedule(&mut self, id: MemberId, at: Timestamp) {
        if let Some(entry) = self.members.get_mut(&id) {
            if let Some(before) = entry.scheduled_at.replace(at) {
                self.agenda.remove(&(before, id));
            }
            self.agenda.insert((at, id));
        }
    }

    /// Has a turn at a replica.
    fn visit(&self, id: MemberId, now: Timestamp, mut f: impl FnMut(&mut Replica, &mut Turn<'_>)) {
        if let Some(entry) = self.members.get(&id) {
            entry.member.visit(now, &mut f);
        }
    }

    /// When to call [`next`](Self::next) again if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        if self.members.is_empty() {
            return None;
        }
        // Where an answer must come first, the answer wakes: a look before it would find nothing to do, over and over.
        if self.in_flight >= MAX_IN_FLIGHT || self.health.is_down() && (self.loading.is_some() || self.all_are_asking())
        {
            return None;
        }
        if let Some(down) = self.health.down() {
            // While it is down, replicas have nothing to do but wait for the load that finds it back.
            return Some(down.retry_at);
        }
        Some(self.agenda.first().map_or(self.poll_at, |(at, _)| self.poll_at.min(*at)))
    }

    /// What to ask the store now; `None` when there is nothing more.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Ask> {
        if let Some(ask) = self.ready.pop_front() {
            return Some(ask);
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        if self.health.is_down() {
            return self.look_whether_it_is_back(now);
        }
        if now >= self.poll_at {
            self.poll(now);
        }
        while let Some(&(at, id)) = self.agenda.first() {
            if at > now {
                break;
            }
            self.agenda.pop_first();
            if let Some(entry) = self.members.get_mut(&id) {
                entry.scheduled_at = None;
            }
            if let Some(ask) = self.look(id, now) {
                return Some(ask);
            }
        }
        if self.to_load.is_empty() || self.loading.is_some() {
            return None;
        }
        let ids: Vec<_> = self.to_load.drain(..MAX_KEYS_IN_LOAD.min(self.to_load.len())).collect();
        Some(self.load(ids, now))
    }

    fn load(&mut self, ids: Vec<MemberId>, now: Timestamp) -> Ask {
        self.loading = Some(now);
        self.in_flight += 1;
        let keys = ids.iter().filter_map(|id| self.members.get(id)).map(|entry| entry.key.clone()).collect();
        Ask::Load(ids, keys)
    }

    /// Looks at a replica.
    fn look(&mut self, id: MemberId, now: Timestamp) -> Option<Ask> {
        let bucket = &mut self.bucket;
        let mut polled = None;
        self.members.get(&id)?.member.visit(now, &mut |replica, turn| {
            polled = Some(replica.poll(turn, &mut |priority| bucket.take(priority, now)));
        });
        self.polled(id, polled?, now)
    }

    fn polled(&mut self, id: MemberId, polled: Polled, now: Timestamp) -> Option<Ask> {
        let Polled { request, wake_at, flushed, departed, look } = polled;
        let entry = self.members.get_mut(&id)?;
        entry.look = look;
        if flushed {
            self.flushed.append(&mut entry.waiters);
        }
        if departed {
            self.leave(id);
            return None;
        }
        let ask = match request {
            None => None,
            Some(Request::Load) => {
                entry.asking = Some(Asking::Load);
                if !self.to_load.contains(&id) {
                    self.to_load.push(id);
                }
                None
            }
            Some(Request::Commit(commit)) => {
                entry.asking = Some(Asking::Commit);
                entry.asked_at = now;
                self.in_flight += 1;
                Some(Ask::Commit(id, entry.key.clone(), commit))
            }
        };
        if let Some(at) = wake_at {
            self.schedule(id, at);
        }
        ask
    }

    /// Every key is looked at each second; where there are very many, a part of them.
    fn poll(&mut self, now: Timestamp) {
        let spread = 0.8 + 0.4 * self.draw();
        self.poll_at = now + POLL_INTERVAL.mul_f64(spread);
        if self.has_lagged {
            self.reload_all(now);
        }
        let from = self.polled_up_to.take().map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.members.range((from, Bound::Unbounded)).map(|(id, _)| *id).take(MAX_KEYS_IN_POLL);
        let ids: Vec<_> = ids.collect();
        if ids.len() == MAX_KEYS_IN_POLL {
            self.polled_up_to = ids.last().copied();
        }
        for id in ids {
            let Entry { asking, scheduled_at, .. } = &self.members[&id];
            if asking.is_none() && !self.to_load.contains(&id) {
                self.to_load.push(id);
            }
            // Outcomes that wake nothing are found by looking.
            if scheduled_at.is_none() {
                self.schedule(id, now);
            }
        }
    }

    fn all_are_asking(&self) -> bool {
        self.members.values().all(|entry| entry.asking.is_some())
    }

    fn look_whether_it_is_back(&mut self, now: Timestamp) -> Option<Ask> {
        let due = self.health.down().is_none_or(|down| down.retry_at <= now);
        // A load of no keys needs no store: its answer would say nothing of it.
        if !due || self.loading.is_some() || self.all_are_asking() {
            return None;
        }
        // Replicas that were about to ask are asked for now, or ask again later.
        for id in std::mem::take(&mut self.to_load) {
            if let Some(entry) = self.members.get_mut(&id)
                && entry.asking == Some(Asking::Load)
            {
                entry.asking = None;
                self.visit(id, now, |replica, _| replica.ask_again());
            }
        }
        let idle = self.members.iter().filter(|(_, entry)| entry.asking.is_none());
        let ids = idle.map(|(id, _)| *id).take(MAX_KEYS_IN_LOAD).collect();
        Some(self.load(ids, now))
    }

    /// The store has answered a load.
    pub(crate) fn loaded(&mut self, ids: &[MemberId], answer: &Result<Vec<Stored>, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let asked_at = self.loading.take().unwrap_or(now);
        match answer {
            Ok(records) => {
                self.answered(false, now);
                let mut loaded: Vec<_> = ids.iter().copied().zip(records).collect();
                // In the order in which they would be looked at.
                loaded.sort_by_key(|(id, _)| *id);
                for (id, stored) in loaded {
                    self.hand(id, Response::Loaded(Ok(stored)), asked_at, now);
                }
            }
            Err(error) => {
                for id in ids {
                    self.hand(*id, Response::Loaded(Err(error)), asked_at, now);
                }
                self.failed(error, false, now);
                if self.health.is_down() {
                    self.end_flushes(now);
                }
            }
        }
    }

    /// The store has answered a commit.
    pub(crate) fn committed(&mut self, id: MemberId, answer: &Result<Committed, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer {
            Ok(committed) => {
                let wrote = !matches!(committed, Committed::Conflict(_) | Committed::Fenced(_));
                self.answered(wrote, now);
            }
            Err(error) => self.failed(error, true, now),
        }
        let asked_at = self.members.get(&id).map_or(now, |entry| entry.asked_at);
        self.hand(id, Response::Committed(answer.as_ref()), asked_at, now);
    }

    /// Brings a replica what the store has said. Where it would be the next to be looked at, it says in the same turn what
    /// to ask now, so that a commit costs two turns and not three.
    fn hand(&mut self, id: MemberId, response: Response<'_>, asked_at: Timestamp, now: Timestamp) {
        // What an error means for the store is decided before anything more is asked of it.
        let may_look = !matches!(response, Response::Loaded(Err(_))) && self.is_next(id, now);
        let (is_down, bucket) = (self.health.is_down(), &mut self.bucket);
        let Some(entry) = self.members.get_mut(&id) else {
            return;
        };
        let answers = match &response {
            Response::Loaded(_) => Some(Asking::Load),
            Response::Committed(_) => Some(Asking::Commit),
            Response::Changed { .. } => None,
        };
        entry.asking = entry.asking.filter(|asking| Some(*asking) != answers);
        let (mut response, mut polled) = (Some(response), None);
        entry.member.visit(now, &mut |replica, turn| {
            let Some(response) = response.take() else {
                return;
            };
            replica.handle(response, asked_at, turn);
            if may_look {
                polled = Some(replica.poll(turn, &mut |priority| bucket.take(priority, now)));
            } else if is_down && replica.end_flush(true) {
                self.flushed.append(&mut entry.waiters);
            }
        });
        let Some(polled) = polled else {
            return self.schedule(id, now);
        };
        if let Some(at) = entry.scheduled_at.take() {
            self.agenda.remove(&(at, id));
        }
        let ask = self.polled(id, polled, now);
        self.ready.extend(ask);
    }

    /// Tells whether a replica that is due now would be the next to be looked at.
    fn is_next(&self, id: MemberId, now: Timestamp) -> bool {
        let is_first = self.agenda.first().is_none_or(|first| *first > (now, id));
        is_first && !self.health.is_down() && self.in_flight < MAX_IN_FLIGHT && now < self.poll_at
    }

    /// The store tells of a change.
    pub(crate) fn noticed(&mut self, notice: &Notice, now: Timestamp) {
        match notice {
            Notice::Changed { key, version, notice, .. } => {
                let announcement = Announcement::load(notice);
                for id in self.by_key.get(key).cloned().unwrap_or_default() {
                    self.hand(id, Response::Changed { version: *version, announcement }, now, now);
                }
            }
            Notice::Lagged if now >= self.reload_after => self.reload_all(now),
            // The next poll does it: a notice that no store can read costs no more than that, however many there are.
            Notice::Lagged => self.has_lagged = true,
        }
    }

    /// Whatever is known may be old.
    fn reload_all(&mut self, now: Timestamp) {
        (self.has_lagged, self.reload_after) = (false, now + POLL_INTERVAL);
        self.for_each(now, |replica, _| replica.reload());
        self.schedule_all(now);
    }

    /// Has a turn at each replica.
    fn for_each(&mut self, now: Timestamp, mut f: impl FnMut(&mut Replica, &mut Turn<'_>)) {
        self.members.values().for_each(|entry| entry.member.visit(now, &mut f));
    }

    /// The store is away: those who wait for a flush need not wait any more.
    fn end_flushes(&mut self, now: Timestamp) {
        for entry in self.members.values_mut().filter(|entry| !entry.waiters.is_empty()) {
            entry.member.visit(now, &mut |replica, _| {
                if replica.end_flush(true) {
                    self.flushed.append(&mut entry.waiters);
                }
            });
        }
    }

    /// Looks at all replicas again, but not at all of them at once.
    fn schedule_all(&mut self, now: Timestamp) {
        let ids: Vec<_> = self.members.keys().copied().collect();
        for id in ids {
            let at = now + RELOAD_SPREAD.mul_f64(self.draw());
            self.schedule(id, at);
        }
    }

    fn answered(&mut self, wrote: bool, now: Timestamp) {
        if let Change::Recovered { is_news } = self.health.answered(wrote, now) {
            self.for_each(now, |replica, turn| replica.store_came_back(is_news, turn));
            self.schedule_all(now);
        }
    }

    fn failed(&mut self, error: &StoreError, wrote: bool, now: Timestamp) {
        let draw = self.draw();
        if let Change::Degraded { is_news } = self.health.failed(error, wrote, now, draw) {
            let why = self.health.down().map(|down| down.why.clone());
            self.for_each(now, |replica, turn| replica.go_without_store(why.as_ref(), is_news, turn));
            self.end_flushes(now);
        }
    }

    /// Tells whether no breaker is left, and nothing is on its way.
    pub(crate) fn is_done(&self) -> bool {
        self.members.is_empty() && self.in_flight == 0
    }
}
