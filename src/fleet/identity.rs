//! Who an instance is, to the others of its fleet.

use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// A number that no other process has drawn, nor this one before: from the operating system each time, so that neither
/// a fork nor a restored snapshot hands out one twice.
pub(crate) fn random() -> u64 {
    // A system without randomness is none that this runs on; the seed of this process is the next best.
    getrandom::u64().unwrap_or_else(|_| crate::clock::fresh_seed())
}

/// The name of an instance where the user has given none: readable, and as unique as its number. The pod, the host, or
/// what the system calls the machine is in front: containers that are all the first process of a host of the same name
/// differ by the number.
pub(super) fn name(number: u64) -> Arc<str> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = set("POD_NAME").or_else(|| set("HOSTNAME"));
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host: String = host.as_deref().map_or("unknown", str::trim).chars().take(64).collect();
    format!("{host}-{number:016x}").into()
}

/// Notices that another process may have been made of this one, of a snapshot that was restored: each goes on under another
/// number.
#[derive(Debug)]
pub(super) struct Jumps {
    /// The time at the last look, by this process and by the wall.
    seen: (Timestamp, Timestamp),
}

/// So much further ahead is the wall clock of a process that was restored, which looks once a second.
const JUMP: Duration = Duration::from_secs(10);

impl Jumps {
    pub(super) const fn new(now: Timestamp, wall: Timestamp) -> Self {
        Self { seen: (now, wall) }
    }

    /// Tells whether the wall clock ran ahead since the last look. One that was merely set looks the same: a number
    /// more does no harm.
    pub(super) fn notice(&mut self, now: Timestamp, wall: Timestamp) -> bool {
        let (here, by_wall) = (now.since(self.seen.0), wall.since(self.seen.1));
        self.seen = (now, wall);
        by_wall > here + JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_snapshot_is_noticed_once_and_a_process_that_stood_still_is_none() {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let mut jumps = Jumps::new(at(5), at(1_000));
        assert!(!jumps.notice(at(6), at(1_001)));
        // Stopped for an hour: both clocks went on.
        assert!(!jumps.notice(at(3_606), at(4_601)));
        // Clocks are adjusted a little, and set back.
        assert!(!jumps.notice(at(3_607), at(4_612)) && !jumps.notice(at(3_608), at(10)));
        // Restored a day later: this process has seen a second of it.
        assert!(jumps.notice(at(3_609), at(86_411)));
        assert!(!jumps.notice(at(3_610), at(86_412)));
    }

    #[test]
    fn no_two_names_are_the_same() {
        let names: std::collections::HashSet<_> = (0..1_000).map(|_| name(random())).collect();
        assert_eq!(names.len(), 1_000);
        assert!(names.iter().all(|name| name.len() <= 255), "a record takes it");
    }
}
