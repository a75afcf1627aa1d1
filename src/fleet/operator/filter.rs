//! Which breakers of a fleet are of interest.

use super::row::{FleetBreaker, FleetRecord};
use crate::circuit::State;

/// Which breakers of a fleet to list.
///
/// Names and conditions both must fit; of several conditions one must.
///
/// ```
/// use fusebox::{State, fleet::FleetFilter};
///
/// let trouble = FleetFilter::all().state(State::Open).state(State::HalfOpen).overridden().unreadable();
/// let hosts = FleetFilter::named("api.*.example"); // `*` is any text, `?` any one character
/// let some = FleetFilter::named("pay"); // without either: every name in which that stands
/// assert!(some.takes_name("payments") && !hosts.takes_name("payments"));
/// # let _ = trouble;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetFilter {
    pattern: Option<String>,
    states: Vec<State>,
    overridden: bool,
    unreadable: bool,
}

impl FleetFilter {
    /// Every breaker.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Breakers whose names fit a pattern: `*` is any text, `?` any one character. A pattern without either fits every
    /// name in which it stands.
    #[must_use]
    pub fn named(pattern: impl Into<String>) -> Self {
        Self { pattern: Some(pattern.into()), ..Self::default() }
    }

    /// Takes those that are in that state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.states.push(state);
        self
    }

    /// Takes those on which an override stands.
    #[must_use]
    pub const fn overridden(mut self) -> Self {
        self.overridden = true;
        self
    }

    /// Takes those whose record this release cannot use.
    #[must_use]
    pub const fn unreadable(mut self) -> Self {
        self.unreadable = true;
        self
    }

    /// Tells whether the name fits.
    #[must_use]
    pub fn takes_name(&self, name: &str) -> bool {
        match self.pattern.as_deref() {
            None => true,
            Some(pattern) if pattern.contains(['*', '?']) => fits(pattern, name),
            Some(part) => name.contains(part),
        }
    }

    /// Tells whether a breaker fits.
    #[must_use]
    pub fn takes(&self, breaker: &FleetBreaker) -> bool {
        let any = self.states.is_empty() && !self.overridden && !self.unreadable;
        let has_it = match &breaker.record {
            FleetRecord::Read(seen) => {
                self.states.contains(&seen.state) || self.overridden && seen.overridden.is_some()
            }
            FleetRecord::Unreadable(_) => self.unreadable,
        };
        (any || has_it) && self.takes_name(&breaker.name)
    }
}

/// Tells whether a whole text fits a pattern. Where a star has taken too little, the last one takes one character more: no
/// earlier one need be asked again, so the time is bounded by the product of both lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(&c) if c == '?' || c == text[here] => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                here = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("pay*", "payments", true),
            ("pay*", "prepay", false),
            ("*pay", "prepay", true),
            ("p?y*", "payments", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?", "é", true),
            ("?", "", false),
            ("**", "x", true),
            ("a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert!(FleetFilter::named("men").takes_name("payments") && FleetFilter::all().takes_name("x"));
    }
}
