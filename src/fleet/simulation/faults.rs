//! What goes wrong, when, and how it is mended.

use std::time::Duration;

use super::event::{At, Command, Event, MS, S, Trouble, Who, name};
use super::setup::{Setup, Wire};
use super::world::World;
use crate::store::Notice;
use crate::time::nanos;

impl World {
    /// Writes down what will happen.
    pub(super) fn plan(&mut self) {
        for (at, health) in self.setup.healths.clone() {
            self.later(nanos(at), Who::WORLD, Event::Turn(health));
        }
        let stormy = nanos(self.setup.stormy);
        if stormy == 0 {
            return;
        }
        let troubles = self.setup.troubles;
        let any = |world: &mut Self| world.chance.index(world.setup.instances);
        for _ in 0..troubles.cuts {
            let (who, refused) = (any(self), self.chance.permille(500));
            self.pair(Trouble::Cut(who, refused), Trouble::Join(who), 30 * S);
        }
        for _ in 0..troubles.outages {
            let refused = self.chance.permille(500);
            self.pair(Trouble::Outage(refused), Trouble::Back, 30 * S);
        }
        for _ in 0..troubles.wipes {
            let at = self.chance.below(stormy);
            self.later(at, Who::WORLD, Event::Trouble(Trouble::Wipe));
        }
        for _ in 0..troubles.rollbacks {
            let at = self.chance.below(stormy);
            self.later(at, Who::WORLD, Event::Trouble(Trouble::Rollback));
        }
        for _ in 0..troubles.crashes {
            let who = any(self);
            self.pair(Trouble::Crash(who), Trouble::Start(who), 10 * S);
        }
        for _ in 0..troubles.freezes {
            let (who, at) = (any(self), self.chance.below(stormy));
            let long = self.chance.between(Duration::from_millis(100), Duration::from_secs(60));
            self.later(at, Who::WORLD, Event::Trouble(Trouble::Freeze(who, nanos(long))));
        }
        for _ in 0..troubles.deafness {
            let who = any(self);
            self.pair(Trouble::Deaf(who), Trouble::Hears(who), 60 * S);
        }
        for _ in 0..troubles.commands {
            let (who, key, at) = (any(self), self.chance.index(self.setup.keys), self.chance.below(stormy));
            let command = match self.chance.below(5) {
                0 => Command::Trip,
                1 => Command::Reset,
                2 => Command::Override(Setup::order(&mut self.chance)),
                3 => Command::Flush,
                _ => Command::Resume,
            };
            self.later(at, Who { instance: who, life: 0 }, Event::Command { key, command });
        }
        self.plan_strangers(stormy);
        self.later(stormy, Who::WORLD, Event::Mend);
    }

    fn pair(&mut self, begin: Trouble, end: Trouble, longest: At) {
        let begins = self.chance.below(nanos(self.setup.stormy));
        let long = self.chance.below(longest);
        self.later(begins, Who::WORLD, Event::Trouble(begin));
        self.later(begins + long, Who::WORLD, Event::Trouble(end));
    }

    pub(super) fn happen(&mut self, event: &Event) {
        self.note(|| format!("{event:?}"));
        match event {
            Event::Turn(health) => self.health = *health,
            Event::Trouble(trouble) => self.trouble(*trouble),
            Event::Mend => self.mend(),
            _ => {}
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Cut(at, refused) => self.instances[at].cut = Some(refused),
            Trouble::Join(at) => self.instances[at].cut = None,
            Trouble::Outage(refused) => self.network.outage = Some(refused),
            Trouble::Back => self.network.outage = None,
            Trouble::Wipe => {
                self.checks.wiped(self.now);
                self.network.memory.clear();
            }
            Trouble::Rollback => {
                self.checks.wiped(self.now);
                let back = self.chance.index(20);
                self.network.roll_back(back);
                (0..self.setup.keys).for_each(|key| self.check_store(&name(key)));
            }
            Trouble::Crash(at) => {
                let instance = &mut self.instances[at];
                instance.alive = false;
                instance.life += 1;
                instance.asked.clear();
                instance.flushing.clear();
                instance.calls.clear();
                self.checks.crashed(at);
            }
            Trouble::Start(at) if !self.instances[at].alive => self.start(at),
            Trouble::Start(_) => {}
            Trouble::Freeze(at, long) => {
                let until = self.now + long;
                self.instances[at].frozen_until = self.instances[at].frozen_until.max(until);
            }
            Trouble::Deaf(at) => self.instances[at].deaf = true,
            Trouble::Stranger(words) => self.hear_stranger(words),
            Trouble::Hears(at) => {
                self.instances[at].deaf = false;
                let who = self.who(at);
                self.later(MS, who, Event::Noticed(Notice::Lagged));
            }
        }
    }

    /// From now on all is well, or the dependency is sick and everything else is well.
    pub(super) fn mend(&mut self) {
        self.health = self.setup.at_last;
        self.setup.bad = None;
        self.setup.hangs = None;
        self.setup.wire = Wire::default();
        self.trouble(Trouble::Back);
        for at in 0..self.instances.len() {
            self.trouble(Trouble::Join(at));
            self.trouble(Trouble::Start(at));
            self.trouble(Trouble::Hears(at));
        }
        self.due.retain(|_, (who, event)| *who != Who::WORLD && !matches!(event, Event::Command { .. }));
    }
}
