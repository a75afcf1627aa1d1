//! The engine without its thread: what happened goes in, what to ask the store comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::store_health::{Change, StoreHealth, is_there};
use super::token_bucket::TokenBucket;
use crate::backoff::draw;
use crate::replica::{Announcement, POLL_INTERVAL, Polled, Replica, Request, Response, Turn, WakeUp};
use crate::store::{Changes, Commit, Committed, Notice, StoreError, StoreTrouble, Stored};
use crate::time::Timestamp;

/// Which member of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

/// A breaker, to the engine: a replica that can be reached, for as long as the breaker is there.
pub(crate) trait Member: Send + Sync + 'static {
    /// The key of its record.
    fn key(&self) -> &Arc<str>;

    /// Lets `f` have a turn at the replica, under the breaker's lock, and does what the breaker must do after that.
    /// `now` is the engine's time. Where the breaker is gone, `f` is not called.
    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>));
}

/// When to look at which replica of one store, and what is on its way to the store: without thread, clock or I/O.
pub(crate) struct Scheduler {
    members: BTreeMap<MemberId, Entry>,
    by_key: HashMap<Arc<str>, Vec<MemberId>>,
    /// When to look at which replica again.
    agenda: BTreeSet<(Timestamp, MemberId)>,
    /// What replicas asked for in the turn in which they were told something.
    ready: VecDeque<Ask>,
    health: StoreHealth,
    bucket: TokenBucket,
    poll_at: Timestamp,
    polls: u64,
    /// How it is found out which records have changed.
    feed: Feed,
    /// The store was asked what changed, and when.
    asking_changes: Option<Timestamp>,
    /// Replicas of which each poll loads the record, because something goes on.
    followed: BTreeSet<MemberId>,
    followed_up_to: Option<MemberId>,
    /// When records are next loaded whatever the store says of changes, and after which.
    reread_at: Timestamp,
    reread_up_to: Option<MemberId>,
    /// Notices were missed since all replicas loaded last, and from when on they do so at once.
    has_lagged: bool,
    /// The store no longer knew what had changed, soon after all had been loaded for that.
    must_reload: bool,
    reload_after: Timestamp,
    /// Whose keys the next loads ask for: those without trouble, and those with.
    to_load: [Listed; 2],
    /// The loads on their way, of each kind: what is wrong with some keys holds up no others.
    loading: [Option<Loading>; 2],
    /// Operations on their way.
    in_flight: usize,
    /// What listeners have heard of the store's side steps, and when.
    impairments: Vec<(Timestamp, Arc<StoreTrouble>)>,
    /// Flushes that are over, for one breaker each.
    flushed: Vec<u64>,
    /// For how many breakers flushes wait that are not about one.
    waits_for: HashMap<u64, usize>,
    seed: u64,
    draws: u64,
}

/// How it is found out which records have changed.
#[derive(Debug)]
enum Feed {
    /// The store has not said yet whether it can tell; nothing is loaded before, so that nothing is missed between.
    Unknown,
    /// It could not be asked: all records are loaded until it can.
    Lost,
    /// It cannot tell: all records are loaded.
    Unsupported,
    /// It tells from there on.
    From(Bytes),
}

/// Whose keys the next load asks for.
#[derive(Debug, Default)]
struct Listed {
    ids: VecDeque<MemberId>,
    /// It waits so long for company, unless there is enough.
    wait_until: Timestamp,
    /// A caller waits for it.
    is_pressing: bool,
}

/// A load on its way.
#[derive(Clone, Copy, Debug)]
struct Loading {
    asked_at: Timestamp,
    /// It asks for as many keys as it can, to see whether the store is there.
    is_ping: bool,
}

/// A replica, as far as the scheduler need not ask it.
struct Entry {
    member: Arc<dyn Member>,
    /// Its place in the agenda.
    scheduled_at: Option<Timestamp>,
    /// What it waits for.
    asking: Option<Asking>,
    /// The next load asks for its key.
    is_listed: bool,
    /// How often in a row its key could not be loaded.
    troubles: u32,
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

/// Which loads wait for each other: those of keys without trouble, or those of keys with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Calm,
    Troubled,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Calm, Self::Troubled];
}

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Ask {
    Load(Lane, Vec<MemberId>, Vec<String>),
    /// What changed since then?
    Changes(Option<Bytes>),
    Commit(MemberId, String, Box<Commit>),
}

/// Keys in one load.
const MAX_KEYS_IN_LOAD: usize = 256;
/// A load waits so long after the one before for others that are to be loaded.
const COMPANY: Duration = Duration::from_millis(5);
/// Keys in one poll.
const MAX_KEYS_IN_POLL: usize = 4 * MAX_KEYS_IN_LOAD;
/// Each record is loaded this often whatever the store says of changes, as far as one load a poll does that.
const REREAD_INTERVAL: Duration = Duration::from_secs(60);
/// Operations on their way at once.
const MAX_IN_FLIGHT: usize = 64;
/// A key that cannot be loaded is asked for in each poll, then in every second, fourth, and at the end in every 16th.
const LONGEST_TROUBLE: u32 = 4;
/// Of a store's side steps listeners hear at most so often within this time, and of the same trouble once.
const MAX_IMPAIRMENTS: usize = 16;
const IMPAIRMENT_KNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// Replicas that must all load again do so spread over this time.
const RELOAD_SPREAD: Duration = Duration::from_millis(200);

impl Scheduler {
    pub(crate) fn new(store: Arc<str>, seed: u64, now: Timestamp) -> Self {
        Self {
            members: BTreeMap::new(),
            by_key: HashMap::new(),
            agenda: BTreeSet::new(),
            ready: VecDeque::new(),
            health: StoreHealth::new(store, now),
            bucket: TokenBucket::full(now),
            poll_at: now + POLL_INTERVAL,
            polls: 0,
            feed: Feed::Unknown,
            asking_changes: None,
            followed: BTreeSet::new(),
            followed_up_to: None,
            reread_at: now + REREAD_INTERVAL,
            reread_up_to: None,
            has_lagged: false,
            must_reload: false,
            reload_after: now,
            to_load: Default::default(),
            loading: [None; 2],
            in_flight: 0,
            impairments: Vec::new(),
            flushed: Vec::new(),
            waits_for: HashMap::new(),
            seed,
            draws: 0,
        }
    }

    fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        draw(self.seed, self.draws)
    }

    pub(crate) fn join(&mut self, id: MemberId, member: Arc<dyn Member>, now: Timestamp) {
        if self.members.contains_key(&id) {
            return;
        }
        if let Some(down) = self.health.down() {
            member.visit(now, &mut |replica, turn| replica.go_without_store(&down.outage, turn));
        }
        self.by_key.entry(Arc::clone(member.key())).or_default().push(id);
        let entry = Entry {
            member,
            scheduled_at: None,
            asking: None,
            is_listed: false,
            troubles: 0,
            asked_at: now,
            look: 0,
            waiters: Vec::new(),
        };
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
        let key = entry.member.key();
        if let Some(ids) = self.by_key.get_mut(key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(key);
            }
        }
        if let Some(at) = entry.scheduled_at {
            self.agenda.remove(&(at, id));
        }
        self.followed.remove(&id);
        self.flushed.extend(entry.waiters);
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

    /// A caller waits until that is so of all breakers.
    pub(crate) fn flush_all(&mut self, waiter: u64, now: Timestamp) {
        let ids: Vec<_> = self.members.keys().copied().collect();
        self.waits_for.insert(waiter, ids.len());
        if ids.is_empty() {
            self.flushed.push(waiter);
        }
        ids.into_iter().for_each(|id| self.flush(id, waiter, now));
    }

    /// The flushes that are over.
    pub(crate) fn flushed(&mut self) -> Vec<u64> {
        let mut over = Vec::new();
        for waiter in std::mem::take(&mut self.flushed) {
            // One that waits for several is over with the last of them.
            let left = self.waits_for.get_mut(&waiter).map(|left| {
                *left = left.saturating_sub(1);
                *left
            });
            if left.is_none_or(|left| left == 0) {
                self.waits_for.remove(&waiter);
                over.push(waiter);
            }
        }
        over
    }

    /// All that was on its way is lost: what was asked is asked again.
    pub(crate) fn begin_again(&mut self, now: Timestamp) {
        (self.in_flight, self.loading, self.asking_changes) = (0, [None; 2], None);
        self.ready.clear();
        for entry in self.members.values_mut() {
            entry.asking = None;
        }
        self.for_each(now, |replica, _| replica.ask_again());
        self.reload_all(now);
    }

    /// From its next batch on each replica has another number.
    pub(crate) fn renew_writers(&mut self, random: impl Fn() -> u64, now: Timestamp) {
        self.for_each(now, |replica, _| replica.renew_writer(random()));
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
        let is_loading = self.is_loading(Lane::Calm);
        if self.in_flight >= MAX_IN_FLIGHT || self.health.is_down() && (is_loading || self.all_are_asking()) {
            return None;
        }
        if let Some(down) = self.health.down() {
            // While it is down, replicas have nothing to do but wait for the load that finds it back.
            return Some(down.retry_at);
        }
        let ping_at = self.health.ping_at().filter(|_| !is_loading && !self.all_are_asking());
        let first = self.agenda.first().map(|(at, _)| *at);
        let loads = Lane::ALL.map(|lane| self.load_at(lane));
        Some([first, ping_at].into_iter().chain(loads).flatten().fold(self.poll_at, Timestamp::min))
    }

    /// What to ask the store now; `None` when there is nothing more.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Ask> {
        if let Some(ask) = self.ready.pop_front() {
            return Some(ask);
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        if matches!(self.feed, Feed::Unknown) && self.asking_changes.is_none() && !self.members.is_empty() {
            return Some(self.ask_for_changes(now));
        }
        if self.health.is_down() {
            return self.look_whether_it_is_back(now);
        }
        if self.health.ping_at().is_some_and(|at| at <= now)
            && let Some(ping) = self.ping(now)
        {
            return Some(ping);
        }
        if now >= self.poll_at {
            self.poll(now);
            // Where all records are loaded anyway, what changed is among them.
            let is_in_doubt = self.followed.len() < self.members.len() || matches!(self.feed, Feed::Lost);
            if is_in_doubt && self.asking_changes.is_none() && !matches!(self.feed, Feed::Unsupported) {
                return Some(self.ask_for_changes(now));
            }
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
        Lane::ALL.into_iter().find_map(|lane| self.load_listed(lane, now))
    }

    fn is_loading(&self, lane: Lane) -> bool {
        self.loading[lane as usize].is_some()
    }

    /// Lists a key for the next load.
    fn list(&mut self, id: MemberId) {
        if let Some(entry) = self.members.get_mut(&id).filter(|entry| !entry.is_listed) {
            entry.is_listed = true;
            let lane = if entry.troubles > 0 { Lane::Troubled } else { Lane::Calm };
            let listed = &mut self.to_load[lane as usize];
            listed.ids.push_back(id);
            listed.is_pressing |= !entry.waiters.is_empty();
        }
    }

    fn load_listed(&mut self, lane: Lane, now: Timestamp) -> Option<Ask> {
        if self.load_at(lane).is_none_or(|at| at > now) {
            return None;
        }
        let listed = &mut self.to_load[lane as usize];
        (listed.wait_until, listed.is_pressing) = (now + COMPANY, false);
        let mut ids = Vec::new();
        while ids.len() < MAX_KEYS_IN_LOAD
            && let Some(id) = self.to_load[lane as usize].ids.pop_front()
        {
            if let Some(entry) = self.members.get_mut(&id) {
                entry.is_listed = false;
                ids.push(id);
            }
        }
        (!ids.is_empty()).then(|| self.load(lane, ids, false, now))
    }

    /// When the next load of those that are listed is due.
    fn load_at(&self, lane: Lane) -> Option<Timestamp> {
        let listed = &self.to_load[lane as usize];
        if listed.ids.is_empty() || self.is_loading(lane) || matches!(self.feed, Feed::Unknown) {
            return None;
        }
        let is_full = listed.ids.len() >= MAX_KEYS_IN_LOAD;
        Some(if is_full || listed.is_pressing { Timestamp::ZERO } else { listed.wait_until })
    }

    fn load(&mut self, lane: Lane, ids: Vec<MemberId>, is_ping: bool, now: Timestamp) -> Ask {
        self.loading[lane as usize] = Some(Loading { asked_at: now, is_ping });
        self.in_flight += 1;
        let keys =
            ids.iter().filter_map(|id| self.members.get(id)).map(|entry| entry.member.key().to_string()).collect();
        Ask::Load(lane, ids, keys)
    }

    /// Asks for as many keys as it can. A load of no keys needs no store: its answer would say nothing of it.
    fn ping(&mut self, now: Timestamp) -> Option<Ask> {
        if self.is_loading(Lane::Calm) {
            return None;
        }
        let idle = |troubled: bool| {
            let is_idle = move |entry: &Entry| entry.asking.is_none() && (entry.troubles > 0) == troubled;
            self.members.iter().filter(move |(_, entry)| is_idle(entry)).map(|(id, _)| *id)
        };
        let ids: Vec<_> = idle(false).chain(idle(true)).take(MAX_KEYS_IN_LOAD).collect();
        (!ids.is_empty()).then(|| self.load(Lane::Calm, ids, true, now))
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
        let Polled { request, wake_at, flushed, departed, follows, look } = polled;
        if follows {
            self.followed.insert(id);
        } else {
            self.followed.remove(&id);
        }
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
                self.list(id);
                None
            }
            Some(Request::Commit(commit)) => {
                entry.asking = Some(Asking::Commit);
                entry.asked_at = now;
                self.in_flight += 1;
                Some(Ask::Commit(id, entry.member.key().to_string(), commit))
            }
        };
        if let Some(at) = wake_at {
            self.schedule(id, at);
        }
        ask
    }

    fn ask_for_changes(&mut self, now: Timestamp) -> Ask {
        self.asking_changes = Some(now);
        self.in_flight += 1;
        Ask::Changes(if let Feed::From(cursor) = &self.feed { Some(cursor.clone()) } else { None })
    }

    /// Once a second: what goes on is loaded; the rest too where the store cannot tell what changed, and else now and then.
    fn poll(&mut self, now: Timestamp) {
        let spread = 0.8 + 0.4 * self.draw();
        self.poll_at = now + POLL_INTERVAL.mul_f64(spread);
        self.polls = self.polls.wrapping_add(1);
        if std::mem::take(&mut self.must_reload) {
            self.reload_all(now);
        } else if self.has_lagged {
            self.catch_up(now);
            self.poll_at = now + POLL_INTERVAL.mul_f64(spread);
        }
        // Of very many a part each time.
        let from = self.followed_up_to.take().map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<_> = self.followed.range((from, Bound::Unbounded)).copied().take(MAX_KEYS_IN_POLL).collect();
        if ids.len() == MAX_KEYS_IN_POLL {
            self.followed_up_to = ids.last().copied();
        }
        self.list_all(ids);
        match self.feed {
            Feed::Lost | Feed::Unsupported => self.reread(MAX_KEYS_IN_POLL),
            Feed::From(_) if now >= self.reread_at => {
                let loads = u32::try_from(self.members.len().div_ceil(MAX_KEYS_IN_LOAD)).unwrap_or(u32::MAX);
                self.reread_at = now + REREAD_INTERVAL / loads.max(1);
                self.reread(MAX_KEYS_IN_LOAD);
            }
            Feed::Unknown | Feed::From(_) => {}
        }
    }

    /// Loads the records that come next in their turn.
    fn reread(&mut self, most: usize) {
        let from = self.reread_up_to.take().map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.members.range((from, Bound::Unbounded)).map(|(id, _)| *id).take(most);
        let ids: Vec<_> = ids.collect();
        if ids.len() == most {
            self.reread_up_to = ids.last().copied();
        }
        self.list_all(ids);
    }

    /// Lists keys for the next load, but for those that are asked for already, or that had better be left alone.
    fn list_all(&mut self, ids: impl IntoIterator<Item = MemberId>) {
        for id in ids {
            let Some(Entry { asking, troubles, .. }) = self.members.get(&id) else {
                continue;
            };
            if asking.is_none() && self.polls.is_multiple_of(1 << (*troubles).min(LONGEST_TROUBLE)) {
                self.list(id);
            }
        }
    }

    /// The store has said what changed.
    pub(crate) fn changed(&mut self, answer: &Result<Changes, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.asking_changes = None;
        match answer {
            Ok(Changes::Unsupported) => self.feed = Feed::Unsupported,
            Ok(Changes::Restart { cursor }) => {
                let is_first = matches!(std::mem::replace(&mut self.feed, Feed::From(cursor.clone())), Feed::Unknown);
                self.answered(now);
                if !is_first && now >= self.reload_after {
                    self.reload_all(now);
                } else {
                    self.must_reload |= !is_first;
                }
            }
            Ok(Changes::Since { keys, cursor }) => {
                self.feed = Feed::From(cursor.clone());
                self.answered(now);
                let ids: Vec<_> =
                    keys.iter().filter_map(|key| self.by_key.get(key.as_str())).flatten().copied().collect();
                self.list_all(ids);
            }
            Err(error) => {
                let was_first = matches!(self.feed, Feed::Unknown);
                if is_there(error) {
                    self.answered(now);
                } else {
                    self.health.doubted(now);
                }
                // From a cursor it goes on later; all records are loaded meanwhile.
                if was_first {
                    self.feed = Feed::Lost;
                } else if !self.health.is_down() {
                    self.reread(MAX_KEYS_IN_POLL);
                }
            }
        }
    }

    fn all_are_asking(&self) -> bool {
        self.members.values().all(|entry| entry.asking.is_some())
    }

    fn look_whether_it_is_back(&mut self, now: Timestamp) -> Option<Ask> {
        let is_due = self.health.down().is_none_or(|down| down.retry_at <= now);
        if !is_due || self.is_loading(Lane::Calm) || self.all_are_asking() {
            return None;
        }
        // Replicas that were about to ask are asked for now, or ask again later.
        for id in self.to_load.iter_mut().flat_map(|listed| std::mem::take(&mut listed.ids)).collect::<Vec<_>>() {
            let Some(entry) = self.members.get_mut(&id) else {
                continue;
            };
            entry.is_listed = false;
            if entry.asking == Some(Asking::Load) {
                entry.asking = None;
                self.visit(id, now, |replica, _| replica.ask_again());
            }
        }
        self.ping(now)
    }

    /// The store has answered a load, for each key by itself.
    pub(crate) fn loaded(&mut self, lane: Lane, answers: &[(MemberId, Result<Stored, StoreError>)], now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let loading = self.loading[lane as usize].take();
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
            if let Some(entry) = self.members.get_mut(id) {
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
                for id in self.by_key.get(key.as_str()).cloned().unwrap_or_default() {
                    self.hand(id, Response::Changed { version: *version, announcement }, now, now);
                }
            }
            Notice::Impaired { why } => self.impaired(why, now),
            Notice::Lagged if now >= self.reload_after => self.catch_up(now),
            // The next poll does it: a notice that no store can read costs no more than that, however many there are.
            Notice::Lagged => self.has_lagged = true,
        }
    }

    /// Notices were missed: the store tells what changed, or whatever is known may be old.
    fn catch_up(&mut self, now: Timestamp) {
        match self.feed {
            Feed::From(_) => (self.has_lagged, self.reload_after, self.poll_at) = (false, now + POLL_INTERVAL, now),
            Feed::Unknown | Feed::Lost | Feed::Unsupported => self.reload_all(now),
        }
    }

    /// Tells of it, unless listeners know.
    fn impaired(&mut self, why: &str, now: Timestamp) {
        let is_known =
            |told: &(Timestamp, Arc<StoreTrouble>)| told.1.why() == why && now.since(told.0) < IMPAIRMENT_KNOWN_FOR;
        self.impairments.retain(|told| now.since(told.0) < IMPAIRMENT_KNOWN_FOR);
        // A store that is away has been told of.
        if self.health.is_down() || self.impairments.len() >= MAX_IMPAIRMENTS || self.impairments.iter().any(is_known) {
            return;
        }
        let trouble = Arc::new(StoreTrouble::new(self.health.store().clone(), why.into()));
        self.for_each(now, |replica, turn| replica.hear_of_impairment(&trouble, turn));
        self.impairments.push((now, trouble));
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
        // Those whose records one load asks for together.
        for together in ids.chunks(MAX_KEYS_IN_LOAD) {
            let at = now + RELOAD_SPREAD.mul_f64(self.draw());
            together.iter().for_each(|id| self.schedule(*id, at));
        }
    }

    fn answered(&mut self, now: Timestamp) {
        if self.health.answered(now) == Change::Recovered {
            self.for_each(now, |replica, turn| replica.store_came_back(turn));
            self.schedule_all(now);
        }
    }

    fn ping_failed(&mut self, error: &StoreError, now: Timestamp) {
        let draw = self.draw();
        if self.health.ping_failed(error, now, draw) == Change::Degraded {
            let Some(outage) = self.health.down().map(|down| down.outage.clone()) else {
                return;
            };
            self.for_each(now, |replica, turn| replica.go_without_store(&outage, turn));
            self.end_flushes(now);
        }
    }

    /// Tells whether no breaker is left, and nothing is on its way.
    pub(crate) fn is_done(&self) -> bool {
        self.members.is_empty() && self.in_flight == 0
    }
}
