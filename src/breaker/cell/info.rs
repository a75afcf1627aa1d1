//! What is known of a breaker without its lock and apart from its state.

use std::time::Duration;

/// A breaker's clock, and when a registry last gave the breaker out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info(pub(super) u32);

impl Info {
    /// How many bits a tick leaves out of a timestamp; 0: ticks do not matter. A tick of 2 s is long enough.
    const TICK: u32 = 0x1f;
    /// When successes end always matters, not only for a recovery.
    pub(super) const ALWAYS_DATED: u32 = 1 << 5;
    /// The coarse clock is exact enough.
    pub(super) const COARSE: u32 = 1 << 6;
    /// The breaker has a clock of its own, behind the lock.
    pub(super) const OWN_CLOCK: u32 = 1 << 7;
    /// No rule asks when, or for how long, calls of the closed state went on.
    pub(super) const NEVER_TIMED: u32 = 1 << 8;
    /// Above that, the seconds of the last use: they come round after a quarter of a year.
    const USED: u32 = 9;

    /// Ticks by which times are known so exactly.
    pub(super) fn ticks_of(resolution: Duration) -> u32 {
        crate::time::nanos(resolution).max(2).ilog2().min(Self::TICK)
    }

    pub(super) const fn tick_bits(self) -> u32 {
        self.0 & Self::TICK
    }

    pub(super) const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// The same, used at this second.
    pub(super) const fn used_at(self, second: u32) -> Self {
        Self(second << Self::USED | self.0 & ((1 << Self::USED) - 1))
    }

    /// For how many seconds the breaker has not been used.
    pub(super) const fn unused_for(self, second: u32) -> u32 {
        (second << Self::USED).wrapping_sub(self.0 & !((1 << Self::USED) - 1)) >> Self::USED
    }
}
