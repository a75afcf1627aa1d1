//! What instances are for: calls, and what operators tell them.

use super::event::{At, Command, Event, MS, Who, name};
use super::member::TestMember;
use super::world::{Running, World};
use crate::circuit::{Decision, Generation, Input, Outcome, RejectReason, State};
use crate::fleet::member::MemberId;
use crate::replica::{Record, WhenDown};
use crate::time::{Timestamp, nanos};

impl World {
    pub(super) fn call(&mut self, who: Who, key: usize) {
        let at = who.instance;
        if !self.traffic {
            return;
        }
        let every = nanos(self.setup.every);
        let next = every / 2 + self.chance.below(every);
        self.later(next, who, Event::Call { key });
        let took = self.chance.below(60 * MS) + MS;
        let (draw, kind) = (self.chance.below(1_000), self.chance.below(1_000));
        let hangs = self.setup.hangs.filter(|_| kind < 5).map(nanos);
        self.ask(at, key, draw, kind, hangs.unwrap_or(took));
    }

    /// A call asks; if it is let through it takes so long.
    pub(super) fn ask(&mut self, at: usize, key: usize, draw: u64, kind: u64, took: At) -> Decision {
        self.set_clock(at);
        let fails = self.setup.bad == Some(at) || draw < self.health.failing_permille();
        let outcome = match (kind, fails) {
            (5..10, _) => Outcome::Cancelled,
            (10..15, _) => Outcome::Ignored,
            (_, true) => Outcome::Failure,
            (_, false) => Outcome::Success,
        };
        let could_probe = self.could_probe(at, key);
        let decision = self.instances[at].members[key].ask();
        self.checks.calls += 1;
        if let Decision::Rejected { reason, until } = decision {
            self.rejected(at, key, reason, until);
        }
        if could_probe {
            self.checks.recovering.tried(key, at, self.setup.needed);
        }
        if let Decision::Admitted(permit) = decision {
            self.instances[at].passed[key] += 1;
            self.next += 1;
            let call = self.next;
            if let Some(lease) = permit.lease {
                self.note(|| format!("{at}/{key} probes with lease {lease}"));
                self.probing(at, key, call, lease);
            }
            self.instances[at].calls.insert(call, Running { key, permit, outcome });
            let who = self.who(at);
            self.later(took, who, Event::End { call });
        }
        decision
    }

    /// Tells whether a call that comes now should bring a circuit nearer to its closing.
    fn could_probe(&self, at: usize, key: usize) -> bool {
        let out = self.checks.probes.values().filter(|probe| probe.key == key).count();
        let all_are_out = out >= self.setup.concurrent.min(self.setup.needed) as usize;
        let is_closed = self.instances[at].members[key].state() == State::Closed;
        let recovering = &self.checks.recovering;
        recovering.counts && !all_are_out && !is_closed && !recovering.is_early(key, at, self.now)
    }

    fn rejected(&mut self, at: usize, key: usize, reason: RejectReason, until: Option<Timestamp>) {
        // By itself an instance does not know when its own probes will have ended.
        let is_alone = !self.instances[at].members[key].is_led();
        let is_unknown = reason == RejectReason::ForcedOpen || is_alone && reason == RejectReason::ProbesBusy;
        assert!(until.is_some() || is_unknown, "{at}/{key}: {reason:?} does not say when to come back");
        let here = self.instances[at].here();
        let wait = until.map_or(0, |until| nanos(until.since(here)));
        self.checks.recovering.told_to_wait(key, at, self.now.saturating_add(wait));
    }

    pub(super) fn end(&mut self, at: usize, call: u64) {
        let Some(Running { key, permit, outcome }) = self.instances[at].calls.remove(&call) else {
            return;
        };
        self.checks.probe_ended(call);
        let member = self.instances[at].members[key].clone();
        let is_judged = matches!(outcome, Outcome::Failure | Outcome::Success);
        if permit.lease.is_some() && !is_judged {
            self.checks.recovering.is_unfinished(key);
        }
        let is_seen = permit.lease.is_none() && permit.generation == member.generation() && !member.is_overridden();
        if outcome == Outcome::Failure && is_seen {
            self.instances[at].failed[key] += 1;
        }
        // An instance that is without its store, and lets calls through or rejects them, takes no notice of how they end.
        let is_noted = self.setup.when_down == WhenDown::Local || member.status().away.is_none();
        if is_judged && is_seen && is_noted && self.is_of_fleets_generation(&member, key) {
            let who = (at, self.checks.lives[at]);
            self.checks.histories[key].ended(self.now, who, outcome == Outcome::Failure);
        }
        let decision = member.report(permit, outcome);
        self.note(|| format!("{at}/{key} {outcome:?} {permit:?}: {decision:?}"));
    }

    /// Tells whether what an instance sees now is of the generation that the record has.
    fn is_of_fleets_generation(&self, member: &TestMember, key: usize) -> bool {
        let generation = self.checks.record(&name(key)).map_or(Generation::new(1), Record::generation);
        // One that has not heard of the fleet yet may tell what it saw when it does.
        member.status().generation.is_none_or(|known| known == generation)
    }

    pub(super) fn command(&mut self, at: usize, key: usize, command: &Command) {
        self.set_clock(at);
        let member = self.instances[at].members[key].clone();
        let stands = member.is_overridden();
        let decision = match command {
            Command::Trip => member.step(Input::Trip),
            Command::Reset => member.step(Input::Reset),
            Command::Override(order) => member.step(Input::Override(order)),
            Command::Resume => member.step(Input::Resume),
            Command::Flush => {
                self.next += 1;
                let instance = &mut self.instances[at];
                instance.flushing.push(self.next);
                instance.scheduler.flush(MemberId(key as u64), self.next, instance.engine_time());
                Decision::Done
            }
        };
        self.note(|| format!("{at}/{key} is told to {command:?}: {decision:?}"));
        if matches!(command, Command::Trip | Command::Reset) {
            assert_eq!(decision == Decision::Overridden, stands, "{at}/{key}: {command:?} while an override stands");
        }
    }
}
