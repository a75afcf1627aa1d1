//! What can happen in a soak.

use super::draw::Draw;

/// What a fault is done to; each has one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Redis,
    Postgres,
    Processes,
    Dependency,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    RedisKilled,
    RedisFrozen,
    RedisCut,
    RedisClientsEnded,
    RedisWritesLocked,
    RedisHeld,
    RedisAnswersLost,
    RedisFailover,
    RedisLost,
    PostgresKilled,
    PostgresRestarted,
    PostgresFrozen,
    PostgresCut,
    PostgresClientsEnded,
    PostgresTableLocked,
    PostgresRowsLocked,
    PostgresHeld,
    PostgresAnswersLost,
    PostgresCrashed,
    ProcessFrozen,
    GuestKilled,
    DependencySick,
}

/// All of them, as they are printed; and whether what was acknowledged outlives them.
const KINDS: [(Kind, Target, &str, bool); 22] = [
    (Kind::RedisKilled, Target::Redis, "redis: killed, started again", true),
    (Kind::RedisFrozen, Target::Redis, "redis: stands still", true),
    (Kind::RedisCut, Target::Redis, "redis: connections cut", true),
    (Kind::RedisClientsEnded, Target::Redis, "redis: CLIENT KILL", true),
    (Kind::RedisWritesLocked, Target::Redis, "redis: writes locked", true),
    (Kind::RedisHeld, Target::Redis, "redis: answers held back", true),
    (Kind::RedisAnswersLost, Target::Redis, "redis: answers to commits lost", true),
    (Kind::RedisFailover, Target::Redis, "redis: planned failover", true),
    (Kind::RedisLost, Target::Redis, "redis: primary lost, failover", false),
    (Kind::PostgresKilled, Target::Postgres, "postgres: killed, started again", true),
    (Kind::PostgresRestarted, Target::Postgres, "postgres: shut down, started again", true),
    (Kind::PostgresFrozen, Target::Postgres, "postgres: stands still", true),
    (Kind::PostgresCut, Target::Postgres, "postgres: connections cut", true),
    (Kind::PostgresClientsEnded, Target::Postgres, "postgres: backends terminated", true),
    (Kind::PostgresTableLocked, Target::Postgres, "postgres: table locked", true),
    (Kind::PostgresRowsLocked, Target::Postgres, "postgres: rows locked", true),
    (Kind::PostgresHeld, Target::Postgres, "postgres: answers held back", true),
    (Kind::PostgresAnswersLost, Target::Postgres, "postgres: answers to commits lost", true),
    (Kind::PostgresCrashed, Target::Postgres, "postgres: killed, log not written", false),
    (Kind::ProcessFrozen, Target::Processes, "process: stands still", true),
    (Kind::GuestKilled, Target::Processes, "process: killed, another started", true),
    (Kind::DependencySick, Target::Dependency, "dependency: fails", true),
];

impl Kind {
    fn row(self) -> &'static (Self, Target, &'static str, bool) {
        KINDS.iter().find(|(kind, ..)| *kind == self).expect("all are there")
    }

    pub(crate) fn target(self) -> Target {
        self.row().1
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().2
    }

    /// All that a phase may have: without those that lose what was acknowledged, or with them.
    pub(crate) fn all(with_losses: bool) -> impl Iterator<Item = Self> {
        KINDS.iter().filter(move |(.., is_exact)| *is_exact || with_losses).map(|(kind, ..)| *kind)
    }

    /// One for a target. Where losses are asked for, half of the faults of servers are such.
    pub(crate) fn draw(target: Target, with_losses: bool, draw: &mut Draw) -> Self {
        let of_target = |loses: bool| {
            let kinds = KINDS.iter().filter(move |(_, of, _, is_exact)| *of == target && *is_exact != loses);
            kinds.map(|(kind, ..)| *kind).collect::<Vec<_>>()
        };
        let losses = of_target(true);
        let kinds = if with_losses && !losses.is_empty() && draw.below(2) == 0 { losses } else { of_target(false) };
        let at = draw.below(kinds.len() as u64);
        kinds[usize::try_from(at).expect("small")]
    }
}
