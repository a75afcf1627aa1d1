//! What happens to a breaker, as a list that is drawn by chance and made shorter where it shows a difference.

use std::ops::Range;
use std::time::Duration;

use super::super::rng::Chance;
use crate::circuit::Outcome;

/// Something that is done to a breaker, and the time since what was done before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// A call that ends in the moment in which it asks.
    Call(Ending),
    /// A call that ends later, or never.
    Begin,
    /// The dependency has answered the call on its way that began so many before the newest, after that time, and the
    /// response goes on.
    Head(usize, Option<Duration>),
    /// Of the calls on their way, the one that began so many before the newest.
    End(usize, Ending),
    /// Calls that ask in one moment and end in one, and leave no time between them.
    Burst(usize, u32),
    Trip,
    Reset,
    Hold(Hold),
    Resume,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) took: Option<Duration>,
}

/// An order of an operator's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hold {
    pub(super) kind: u64,
    pub(super) expires_in: Option<Duration>,
}

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

/// How a schedule is drawn: what its calls are like, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Of a thousand calls.
    fail: u64,
    /// Of a thousand steps.
    tied: u64,
    gap: Duration,
    operators: bool,
}

impl Style {
    pub(super) fn random(chance: &mut Chance) -> Self {
        Self {
            fail: chance.pick(&[100, 300, 500, 800]),
            tied: chance.pick(&[0, 300, 700]),
            gap: chance.pick(&[MS, 15 * MS, 200 * MS, 2_000 * MS, 20_000 * MS, DAY / 24]),
            operators: chance.permille(400),
        }
    }

    pub(super) fn draw(self, steps: usize, chance: &mut Chance) -> Vec<Step> {
        (0..steps).map(|_| Step { after: self.gap(chance), event: self.event(chance) }).collect()
    }

    /// In whole milliseconds, which a store's microseconds hold exactly.
    fn gap(self, chance: &mut Chance) -> Duration {
        if chance.permille(self.tied) {
            return Duration::ZERO;
        }
        let most = if chance.permille(30) { chance.pick(&[MS, 6_000 * MS, 40_000 * MS, DAY]) } else { self.gap };
        let ms = u64::try_from(most.as_millis()).unwrap_or(1);
        MS * u32::try_from(1 + chance.below(ms)).unwrap_or(1)
    }

    fn event(self, chance: &mut Chance) -> Event {
        if self.operators && chance.permille(120) {
            return self.command(chance);
        }
        match chance.below(20) {
            0..3 => Event::Begin,
            3..6 => Event::End(chance.index(4), self.ending(chance)),
            6 => Event::Burst(2 + chance.index(6), u32::try_from(chance.below(256)).unwrap_or(0)),
            _ => Event::Call(self.ending(chance)),
        }
    }

    fn command(self, chance: &mut Chance) -> Event {
        match chance.below(6) {
            0 | 1 => Event::Trip,
            2 => Event::Reset,
            3 => Event::Resume,
            _ => {
                let long = chance.pick(&[20, 1_000, 7_000, 60_000]);
                let expires_in = chance.permille(600).then_some(MS * long);
                Event::Hold(Hold { kind: chance.below(3), expires_in })
            }
        }
    }

    fn ending(self, chance: &mut Chance) -> Ending {
        let fails = chance.permille(self.fail);
        let outcome = match (chance.below(40), fails) {
            (0, _) => Outcome::Cancelled,
            (1, _) => Outcome::Ignored,
            (2, true) => Outcome::FailureAfter(MS * chance.pick(&[1, 3_000, 8_000])),
            (_, true) => Outcome::Failure,
            (_, false) => Outcome::Success,
        };
        let took = chance.permille(300).then(|| MS * chance.pick(&[1, 49, 50, 400]));
        Ending { outcome, took }
    }
}

/// The same, where the dependency answers some of the calls before they end. After that there is time for the rest of a
/// response to be judged without its end, or just not.
pub(super) fn with_heads(steps: Vec<Step>, chance: &mut Chance) -> Vec<Step> {
    let mut all = Vec::new();
    for step in steps {
        all.push(step);
        if step.event == Event::Begin && chance.permille(600) {
            let took = chance.permille(800).then(|| MS * chance.pick(&[1, 49, 50, 400]));
            let ending = Ending { outcome: Outcome::Success, took: None };
            let next = chance.pick(&[Event::Call(ending), Event::End(0, ending), Event::Begin]);
            all.push(Step { after: MS * chance.pick(&[0, 1, 50]), event: Event::Head(0, took) });
            all.push(Step { after: MS * chance.pick(&[0, 499, 500, 501]), event: next });
        }
    }
    all
}

/// The shortest schedule that is easily found in one that shows a difference, and what it shows.
pub(super) fn shorten(mut steps: Vec<Step>, shows: impl Fn(&[Step]) -> Option<String>) -> (Vec<Step>, String) {
    let mut said = shows(&steps).unwrap_or_default();
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let without = except(&steps, at..(at + size).min(steps.len()));
            match shows(&without) {
                Some(why) => (steps, said) = (without, why),
                None => at += size,
            }
        }
        size /= 2;
    }
    (steps, said)
}

fn except(steps: &[Step], range: Range<usize>) -> Vec<Step> {
    [&steps[..range.start], &steps[range.end..]].concat()
}
