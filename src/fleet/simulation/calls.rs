//! What instances are for: calls, and what operators tell them.

use super::event::{At, Command, Event, MS, Who};
use super::world::{Running, World};
use crate::circuit::{Decision, Input, Outcome};
use crate::fleet::scheduler::MemberId;
use crate::time::nanos;

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
        let decision = self.instances[at].members[key].ask();
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

    pub(super) fn end(&mut self, at: usize, call: u64) {
        let Some(Running { key, permit, outcome }) = self.instances[at].calls.remove(&call) else {
            return;
        };
        self.checks.probe_ended(call);
        let member = self.instances[at].members[key].clone();
        let is_seen = permit.lease.is_none() && permit.generation == member.generation() && !member.is_overridden();
        if outcome == Outcome::Failure && is_seen {
            self.instances[at].failed[key] += 1;
        }
        let decision = member.report(permit, outcome);
        self.note(|| format!("{at}/{key} {outcome:?} {permit:?}: {decision:?}"));
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
