//! Between the instances and their store: what is sent may be late, lost, or there twice.

use std::task::{Context, Poll, Waker};

use super::checking::MAX_BYTES;
use super::event::{Answer, At, Event, MS, Request, S, Who};
use super::world::{Asked, World};
use crate::fleet::scheduler::Ask;
use crate::replica::calls_in;
use crate::store::{Committed, StoreError};
use crate::time::{Timestamp, nanos};

/// An operation that takes longer is given up.
const TIMEOUT: At = S;

impl World {
    fn delay(&mut self) -> At {
        let wire = self.setup.wire;
        if self.chance.permille(wire.very_slow) {
            S + self.chance.below(5 * S / 2)
        } else if self.chance.permille(wire.slow) {
            20 * MS + self.chance.below(900 * MS)
        } else {
            MS / 2 + self.chance.below(5 * MS / 2)
        }
    }

    /// The engine of an instance asks the store.
    pub(super) fn send(&mut self, at: usize, ask: Ask) {
        self.network.next += 1;
        let op = self.network.next;
        let (asked, request) = match ask {
            Ask::Load(lane, ids, keys) => (Asked::Load(lane, ids), Request::Load(keys)),
            Ask::Changes(since) => (Asked::Changes, Request::Changes(since)),
            Ask::Commit(id, key, commit) => {
                self.checks.commits += 1;
                if let Some((batch, bytes)) = &commit.batch {
                    assert!(bytes.len() <= MAX_BYTES, "a batch of {} bytes", bytes.len());
                    self.batches.entry(*batch).or_insert_with(|| calls_in(bytes));
                }
                (Asked::Commit(id), Request::Commit(key, commit))
            }
        };
        self.note(|| format!("{at} asks {op}: {}", brief(&request)));
        let instance = &mut self.instances[at];
        instance.ops += 1;
        instance.asked.insert(op, asked);
        let refused = instance.cut.or(self.network.outage);
        let who = self.who(at);
        self.later(TIMEOUT, who, Event::Timeout { op });
        let wire = self.setup.wire;
        let (lost, wanted) = (self.chance.permille(wire.request_lost), !self.chance.permille(wire.answer_lost));
        let (delay, again) = (self.delay(), self.delay());
        match refused {
            Some(true) => self.later(MS, who, Event::Answer { op, answer: Answer::Refused("no route") }),
            Some(false) => {}
            None => {
                if self.chance.permille(wire.duplicated) {
                    let request = request.clone();
                    self.later(delay + again, who, Event::Arrive { op, request, wanted: false });
                }
                if !lost {
                    self.later(delay, who, Event::Arrive { op, request, wanted });
                }
            }
        }
    }

    /// A request is at the store.
    pub(super) fn arrive(&mut self, who: Who, op: u64, request: &Request, wanted: bool) {
        if self.network.outage.is_some() {
            return;
        }
        let answer = self.network.ask(request);
        self.note(|| format!("the store has {} of {}: {}", op, who.instance, told(&answer)));
        if let Request::Commit(key, commit) = request {
            let accepted = matches!(
                &answer,
                Answer::Committed(Committed::Applied { .. } | Committed::Queued(_) | Committed::Combine(..))
            );
            if let Some((batch, _)) = &commit.batch
                && accepted
            {
                self.taken_in.insert(*batch);
            }
            self.check_store(key);
            self.network.remember(key);
        }
        if wanted {
            let delay = self.delay();
            self.later(delay, who, Event::Answer { op, answer });
        }
        self.spread_notices();
    }

    fn spread_notices(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(notice)) = self.network.notices.as_mut().poll_next(&mut context) {
            for at in 0..self.instances.len() {
                let copies = [true, self.chance.permille(self.setup.wire.duplicated)];
                for _ in copies.into_iter().filter(|copy| *copy) {
                    let delay = self.delay();
                    if self.chance.permille(self.setup.wire.notice_lost) {
                        self.instances[at].missed += 1;
                    } else if self.instances[at].alive {
                        let who = self.who(at);
                        self.later(delay, who, Event::Noticed(notice.clone()));
                    }
                }
            }
        }
    }

    /// An instance has its answer, or has waited long enough.
    pub(super) fn answered(&mut self, at: usize, op: u64, answer: Answer) {
        let is_none = matches!(answer, Answer::None);
        let instance = &mut self.instances[at];
        if instance.cut.is_some() && !is_none && !matches!(answer, Answer::Refused(_)) {
            return;
        }
        let Some(asked) = instance.asked.remove(&op) else {
            return;
        };
        let now = instance.engine_time();
        let error = |answer| match answer {
            Answer::Refused(why) => StoreError::unreachable(why),
            _ => StoreError::no_answer("in time"),
        };
        match (asked, answer) {
            (Asked::Load(lane, ids), Answer::Loaded(stored)) => {
                let answers: Vec<_> = ids.into_iter().zip(stored.into_iter().map(Ok)).collect();
                instance.scheduler.loaded(lane, &answers, now);
            }
            (Asked::Load(lane, ids), answer) => {
                let error = error(answer);
                let answers: Vec<_> = ids.into_iter().map(|id| (id, Err(error.again()))).collect();
                instance.scheduler.loaded(lane, &answers, now);
            }
            (Asked::Changes, Answer::Changes(changes)) => instance.scheduler.changed(&Ok(changes), now),
            (Asked::Changes, answer) => instance.scheduler.changed(&Err(error(answer)), now),
            (Asked::Commit(id), Answer::Committed(committed)) => instance.scheduler.committed(id, &Ok(committed), now),
            (Asked::Commit(id), answer) => instance.scheduler.committed(id, &Err(error(answer)), now),
        }
        self.note(|| format!("{at} has its answer to {op}{}", if is_none { ": none" } else { "" }));
    }

    /// Where a store has the same time as this, the wait until then.
    pub(super) fn until_store_time(&self, until: Timestamp) -> At {
        nanos(until.since(self.store_time()))
    }
}

fn brief(request: &Request) -> String {
    match request {
        Request::Load(keys) => format!("load {}", keys.len()),
        Request::Changes(_) => "what changed".to_owned(),
        Request::Commit(_, commit) => format!(
            "commit on {} {:?} g{} batch {:?}{}{}",
            commit.expected.0,
            commit.summary.state,
            commit.summary.generation,
            commit.batch.as_ref().map(|(id, _)| id.seq),
            if commit.may_queue { " may queue" } else { "" },
            commit.round.as_ref().map_or_else(String::new, |round| format!(" round of {}", round.batches.len())),
        ),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Loaded(stored) => format!("loaded {:?}", stored.iter().map(|s| s.version.0).collect::<Vec<_>>()),
        Answer::Committed(committed) => match committed {
            Committed::Applied { version, .. } => format!("applied as {}", version.0),
            Committed::Conflict(stored) => format!("conflict with {}", stored.version.0),
            Committed::Duplicate(_) => "duplicate".to_owned(),
            Committed::Queued(_) => "queued".to_owned(),
            Committed::Combine(stored, round) => format!("combine {} on {}", round.batches.len(), stored.version.0),
            Committed::Fenced(_) => "fenced".to_owned(),
        },
        Answer::Changes(changes) => format!("{changes:?}"),
        Answer::Refused(_) | Answer::None => "nothing".to_owned(),
    }
}
