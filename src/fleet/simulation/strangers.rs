//! Notices of a stranger: who may send them is not one of the fleet, and decides nothing by them.

use std::time::Duration;

use super::event::{At, Event, MS, Trouble, Who, name};
use super::network::Network;
use super::rng::Chance;
use super::world::World;
use crate::circuit::Generation;
use crate::replica::{Announcement, Record};
use crate::store::{Notice, Version};
use crate::time::Timestamp;

impl World {
    /// Writes down when a stranger will speak.
    pub(super) fn plan_strangers(&mut self, stormy: At) {
        // What else happens does not depend on how many of them there are.
        let mut chance = Chance::new(self.setup.seed ^ 0x0057_a96e);
        for _ in 0..self.setup.troubles.strangers {
            let (at, words) = (chance.below(stormy), chance.number());
            self.later(at, Who::WORLD, Event::Trouble(Trouble::Stranger(words)));
        }
    }

    /// A stranger tells all instances something, about what is there or what is not.
    pub(super) fn hear_stranger(&mut self, words: u64) {
        let mut chance = Chance::new(words);
        let key = name(chance.index(self.setup.keys));
        let notice = self.said_by_stranger(&key, &mut chance);
        for at in 0..self.instances.len() {
            if self.instances[at].alive && !self.instances[at].deaf {
                let who = self.who(at);
                self.later(1 + chance.below(5 * MS), who, Event::Noticed(notice.clone()));
            }
        }
    }

    fn said_by_stranger(&self, key: &str, chance: &mut Chance) -> Notice {
        let stored = self.network.peek(key);
        let known = self.checks.record(key);
        let rules: Vec<_> = known.iter().flat_map(|record| record.rules()).collect();
        let (rule, suspicions) = if rules.is_empty() { (chance.number(), 0) } else { chance.pick(&rules) };
        let number = (suspicions + chance.below(4)).saturating_sub(2);
        let now = Network::store_time(self.now);
        let version = Version(chance.pick(&[stored.version.0 + 1, stored.version.0 + 1, stored.version.0, u64::MAX]));
        let notice = match chance.below(6) {
            0 => {
                let generation = known.as_ref().map_or(1, |record| record.generation().get() + chance.below(1_000));
                let until = now + Duration::from_secs(365 * 86_400);
                Record::fresh(Generation::new(generation), now).opened(until, now).save()
            }
            1 | 2 => {
                let cut = Timestamp::from_nanos(now.as_nanos() + chance.below(400 * MS) - 100 * MS);
                Announcement::Suspected { rule, number, cut }.save()
            }
            3 => Announcement::Cleared { rule, number }.save(),
            4 => b"what no instance understands".to_vec(),
            _ => return Notice::Lagged,
        };
        Notice::changed(key.to_owned(), version, notice.into())
    }
}
