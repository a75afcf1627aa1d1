//! The engine without its thread: what happened goes in, what to ask the store comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::bucket::Bucket;
use super::health::{Change, Health};
use super::link::{Link, Plan};
use super::member::{Member, MemberId, News};
use crate::backoff::draw;
use crate::circuit::Record;
use crate::store::{Commit, Committed, Notice, StoreError, Stored};
use crate::time::Timestamp;

/// The engine of one store, without thread, clock or I/O.
pub(crate) struct Core {
    links: BTreeMap<MemberId, Link>,
    by_key: HashMap<String, Vec<MemberId>>,
    /// When to look at which line again.
    agenda: BTreeSet<(Timestamp, MemberId)>,
    at: HashMap<MemberId, Timestamp>,
    health: Health,
    bucket: Bucket,
    poll_at: Timestamp,
    /// Where the last poll ended, if there are too many keys for one.
    polled: Option<MemberId>,
    /// Keys that are to be asked for, each with the lines that want it.
    to_load: Vec<MemberId>,
    loading: bool,
    in_flight: usize,
    flushed: Vec<u64>,
    seed: u64,
    draws: u64,
}

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Ask {
    Load(Vec<MemberId>, Vec<String>),
    Commit(MemberId, String, Box<Commit>),
}

/// The log of changes is looked at this often, whether or not the store tells of them.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Keys in one load.
const CHUNK: usize = 256;
/// Operations on their way at once.
const MOST: usize = 64;

impl Core {
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            links: BTreeMap::new(),
            by_key: HashMap::new(),
            agenda: BTreeSet::new(),
            at: HashMap::new(),
            health: Health::default(),
            bucket: Bucket::full(now),
            poll_at: now + POLL,
            polled: None,
            to_load: Vec::new(),
            loading: false,
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

    pub(crate) fn join(
        &mut self,
        id: MemberId,
        (member, key): (Arc<dyn Member>, String),
        (writer, flush_interval): (u64, Duration),
        now: Timestamp,
    ) {
        if let Some(why) = self.health.why() {
            member.set_reachable(Some(why));
        }
        self.by_key.entry(key.clone()).or_default().push(id);
        self.links.insert(id, Link::new(member, key, writer, flush_interval, now));
        self.schedule(id, now);
    }

    /// A member leaves: what it has left to say is sent, if the store takes it soon.
    pub(crate) fn depart(&mut self, id: MemberId, departed: Arc<dyn Member>, now: Timestamp) {
        if let Some(link) = self.links.get_mut(&id) {
            link.depart(departed, now);
            if self.health.is_down() {
                self.leave(id);
            } else {
                self.schedule(id, now);
            }
        }
    }

    pub(crate) fn leave(&mut self, id: MemberId) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_key.get_mut(&link.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&link.key);
            }
        }
        if let Some(at) = self.at.remove(&id) {
            self.agenda.remove(&(at, id));
        }
        self.to_load.retain(|other| *other != id);
    }

    /// A member has something to say, or wants something.
    pub(crate) fn ring(&mut self, id: MemberId, now: Timestamp) {
        self.schedule(id, now);
    }

    /// Somebody waits until everything of a member's is sent and the newest is fetched.
    pub(crate) fn flush(&mut self, id: MemberId, waiter: u64, now: Timestamp) {
        match self.links.get_mut(&id) {
            Some(link) => link.flush(waiter),
            None => self.flushed.push(waiter),
        }
        self.health.retry_now(now);
        self.schedule(id, now);
    }

    /// Who need not wait any more.
    pub(crate) fn flushed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.flushed)
    }

    fn schedule(&mut self, id: MemberId, at: Timestamp) {
        if !self.links.contains_key(&id) {
            return;
        }
        if let Some(before) = self.at.insert(id, at) {
            self.agenda.remove(&(before, id));
        }
        self.agenda.insert((at, id));
    }

    /// When to call [`next`](Self::next) again if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        if self.links.is_empty() {
            return None;
        }
        // Where an answer must come first, the answer wakes: whoever looked again before would do so over and over.
        if self.in_flight >= MOST || self.health.is_down() && (self.loading || self.all_are_asking()) {
            return None;
        }
        if let Some(retry_at) = self.health.retry_at() {
            // While it is down, lines have nothing to do but wait for the one that looks.
            return Some(retry_at);
        }
        Some(self.agenda.first().map_or(self.poll_at, |(at, _)| self.poll_at.min(*at)))
    }

    /// What to ask the store now; `None` when there is nothing more.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Ask> {
        if self.in_flight >= MOST {
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
            self.at.remove(&id);
            if let Some(ask) = self.plan(id, now) {
                return Some(ask);
            }
        }
        if self.to_load.is_empty() || self.loading {
            return None;
        }
        self.loading = true;
        self.in_flight += 1;
        let ids: Vec<_> = self.to_load.drain(..CHUNK.min(self.to_load.len())).collect();
        Some(self.load(ids, now))
    }

    fn load(&mut self, ids: Vec<MemberId>, now: Timestamp) -> Ask {
        let mut keys = Vec::with_capacity(ids.len());
        for id in &ids {
            if let Some(link) = self.links.get_mut(id) {
                link.loading(now);
                keys.push(link.key.clone());
            }
        }
        Ask::Load(ids, keys)
    }

    fn plan(&mut self, id: MemberId, now: Timestamp) -> Option<Ask> {
        let link = self.links.get_mut(&id)?;
        let bucket = &mut self.bucket;
        let plan = link.plan(now, &mut |weight| bucket.take(weight, now));
        let ask = match plan {
            Plan::Wait(until) => {
                let flushed = link.flushed(false);
                self.flushed.extend(flushed);
                if link.has_departed(now) {
                    self.leave(id);
                    return None;
                }
                if let Some(until) = until {
                    // A line that would be looked at for ever in one moment has a bug, and must not stop the others.
                    self.schedule(id, until.max(now + Duration::from_micros(1)));
                }
                None
            }
            Plan::Load => {
                if !self.to_load.contains(&id) {
                    self.to_load.push(id);
                }
                None
            }
            Plan::Commit(commit) => {
                let key = link.key.clone();
                self.in_flight += 1;
                Some(Ask::Commit(id, key, commit))
            }
        };
        if ask.is_some()
            && let Some(link) = self.links.get_mut(&id)
            && let Plan::Wait(Some(until)) = link.plan(now, &mut |_| Err(now))
        {
            self.schedule(id, until);
        }
        ask
    }

    /// Every key is looked at each second; where there are very many, a part of them.
    fn poll(&mut self, now: Timestamp) {
        let spread = 0.8 + 0.4 * self.draw();
        self.poll_at = now + POLL.mul_f64(spread);
        let after = self.polled.take();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let ids: Vec<_> =
            self.links.range((from, std::ops::Bound::Unbounded)).map(|(id, _)| *id).take(4 * CHUNK).collect();
        if ids.len() == 4 * CHUNK {
            self.polled = ids.last().copied();
        }
        for id in ids {
            if self.links.get(&id).is_some_and(|link| !link.is_asking()) && !self.to_load.contains(&id) {
                self.to_load.push(id);
            }
            // Outcomes that nobody rings for are found by looking.
            if !self.at.contains_key(&id) {
                self.schedule(id, now);
            }
        }
    }

    fn all_are_asking(&self) -> bool {
        self.links.values().all(Link::is_asking)
    }

    fn look_whether_it_is_back(&mut self, now: Timestamp) -> Option<Ask> {
        let due = self.health.retry_at().is_none_or(|at| at <= now);
        // To ask for nothing needs no store: the answer would say nothing of it.
        if !due || self.loading || self.all_are_asking() {
            return None;
        }
        self.loading = true;
        self.in_flight += 1;
        // Lines that were about to ask are asked for now, or ask again later.
        for id in std::mem::take(&mut self.to_load) {
            if let Some(link) = self.links.get_mut(&id) {
                link.load_later();
            }
        }
        let ids = self.links.iter().filter(|(_, link)| !link.is_asking()).map(|(id, _)| *id).take(CHUNK).collect();
        Some(self.load(ids, now))
    }

    /// The store has answered a load.
    pub(crate) fn loaded(&mut self, ids: &[MemberId], answer: Result<Vec<Stored>, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.loading = false;
        match answer {
            Ok(records) => {
                self.answered(false, now);
                for (id, stored) in ids.iter().zip(&records) {
                    self.hand(*id, now, |link| link.loaded(Ok(stored), now));
                }
            }
            Err(error) => {
                for id in ids {
                    self.hand(*id, now, |link| link.loaded(Err(&error), now));
                }
                self.failed(&error, false, now);
                if self.health.is_down() {
                    let flushed = self.links.values_mut().flat_map(|link| link.flushed(true));
                    self.flushed.extend(flushed);
                }
            }
        }
    }

    /// The store has answered a commit.
    pub(crate) fn committed(&mut self, id: MemberId, answer: Result<Committed, StoreError>, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer {
            Ok(committed) => {
                let wrote = !matches!(committed, Committed::Conflict(_) | Committed::Fenced(_));
                self.answered(wrote, now);
                self.hand(id, now, |link| link.committed(Ok(committed), now));
            }
            Err(error) => {
                self.failed(&error, true, now);
                self.hand(id, now, |link| link.committed(Err(error), now));
            }
        }
    }

    fn hand(&mut self, id: MemberId, now: Timestamp, f: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(&id) {
            f(link);
            let flushed = if self.health.is_down() { link.flushed(true) } else { Vec::new() };
            self.flushed.extend(flushed);
            self.schedule(id, now);
        }
    }

    /// The store tells of a change.
    pub(crate) fn noticed(&mut self, notice: &Notice, now: Timestamp) {
        match notice {
            Notice::Changed { key, version, notice, .. } => {
                let record = Record::load(notice).ok();
                for id in self.by_key.get(key).cloned().unwrap_or_default() {
                    let record = record.clone();
                    self.hand(id, now, |link| link.noticed(*version, record, now));
                }
            }
            Notice::Lagged => {
                let ids: Vec<_> = self.links.keys().copied().collect();
                for id in ids {
                    let at = now + Duration::from_millis(200).mul_f64(self.draw());
                    if let Some(link) = self.links.get_mut(&id) {
                        link.reload();
                        self.schedule(id, at);
                    }
                }
            }
        }
    }

    fn answered(&mut self, wrote: bool, now: Timestamp) {
        if let Change::Recovered { is_news } = self.health.answered(wrote, now) {
            let ids: Vec<_> = self.links.keys().copied().collect();
            for id in ids {
                let at = now + Duration::from_millis(200).mul_f64(self.draw());
                if let Some(link) = self.links.get_mut(&id) {
                    if is_news {
                        link.member.tell(News::StoreRecovered);
                    }
                    link.reload();
                    self.schedule(id, at);
                }
            }
        }
    }

    fn failed(&mut self, error: &StoreError, wrote: bool, now: Timestamp) {
        let draw = self.draw();
        if let Change::Degraded { is_news } = self.health.failed(error, wrote, now, draw) {
            for link in self.links.values_mut() {
                link.go_alone(self.health.why());
                if is_news {
                    link.member.tell(News::StoreDegraded);
                }
                let flushed = link.flushed(true);
                self.flushed.extend(flushed);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}
