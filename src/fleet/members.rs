//! The breakers of an engine: which there are, by which key, and when to look at which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::keys::Keys;
use super::member::{Member, MemberId};
use crate::replica::{Replica, RestingStates, Turn};
use crate::time::Timestamp;

/// All members, in the order in which they have joined.
#[derive(Default)]
pub(super) struct Members {
    entries: BTreeMap<MemberId, Entry>,
    keys: Keys,
    /// When to look at which replica again.
    agenda: BTreeSet<(Timestamp, MemberId)>,
    resting: RestingStates,
}

/// A replica, as far as the engine need not ask it: small, since there may be very many.
pub(super) struct Entry {
    member: Arc<dyn Member>,
    /// Its place in the agenda; [`Timestamp::MAX`] where it has none.
    scheduled_at: Timestamp,
    /// The number of the last look at it.
    pub(super) look: u32,
    /// What it waits for.
    pub(super) asking: Option<Asking>,
    /// The next load asks for its key.
    pub(super) is_listed: bool,
    /// It changed while it was asked for something: the answer may be older.
    pub(super) is_stale: bool,
    /// How often in a row its key could not be loaded.
    pub(super) troubles: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Load,
    Commit,
}

impl Entry {
    pub(super) fn key(&self) -> &Arc<str> {
        self.member.key()
    }

    pub(super) const fn scheduled_at(&self) -> Timestamp {
        self.scheduled_at
    }
}

impl Members {
    /// Returns whether it is new.
    pub(super) fn join(&mut self, member: Arc<dyn Member>) -> bool {
        let id = member.id();
        if self.entries.contains_key(&id) {
            return false;
        }
        self.keys.insert(member.key(), id);
        let entry = Entry {
            member,
            scheduled_at: Timestamp::MAX,
            look: 0,
            asking: None,
            is_listed: false,
            is_stale: false,
            troubles: 0,
        };
        self.entries.insert(id, entry);
        true
    }

    /// Another one has its replica now.
    pub(super) fn replace(&mut self, by: Arc<dyn Member>) -> Option<&Entry> {
        let entry = self.entries.get_mut(&by.id())?;
        entry.member = by;
        Some(entry)
    }

    /// Returns whether it was there.
    pub(super) fn leave(&mut self, id: MemberId) -> bool {
        let Some(entry) = self.entries.remove(&id) else {
            return false;
        };
        self.keys.remove(entry.key(), id);
        self.agenda.remove(&(entry.scheduled_at, id));
        true
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(super) const fn entries(&self) -> &BTreeMap<MemberId, Entry> {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    pub(super) fn ids(&self) -> Vec<MemberId> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The members with this key.
    pub(super) fn with_key(&self, key: &str) -> Vec<MemberId> {
        self.keys.of(key, |id| self.get(id).is_some_and(|entry| **entry.key() == *key))
    }

    /// It is to be looked at then, and not at any other time.
    pub(super) fn schedule(&mut self, id: MemberId, at: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let before = std::mem::replace(&mut entry.scheduled_at, at);
            self.agenda.remove(&(before, id));
            if at < Timestamp::MAX {
                self.agenda.insert((at, id));
            }
        }
    }

    /// It need not be looked at.
    pub(super) fn unschedule(&mut self, id: MemberId) {
        self.schedule(id, Timestamp::MAX);
    }

    /// Which is to be looked at first, and when.
    pub(super) fn first(&self) -> Option<(Timestamp, MemberId)> {
        self.agenda.first().copied()
    }

    /// Has a turn at a replica, which is then as small as it can be.
    pub(super) fn visit(&mut self, id: MemberId, now: Timestamp, f: impl FnMut(&mut Replica, &mut Turn<'_>)) {
        if let Some(entry) = self.entries.get(&id) {
            visit(entry, &mut self.resting, now, f);
        }
    }

    /// Has a turn at each replica.
    pub(super) fn visit_all(&mut self, now: Timestamp, mut f: impl FnMut(&mut Replica, &mut Turn<'_>)) {
        self.entries.values().for_each(|entry| visit(entry, &mut self.resting, now, &mut f));
    }
}

fn visit(entry: &Entry, resting: &mut RestingStates, now: Timestamp, mut f: impl FnMut(&mut Replica, &mut Turn<'_>)) {
    entry.member.visit(now, &mut |replica, turn| {
        f(replica, turn);
        replica.rest(resting, now);
    });
}
