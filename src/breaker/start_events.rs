//! What there is to tell of a breaker when it is made.

use super::asked::Asked;
use super::cell::BreakerCell;
use super::events::EventKind;
use super::settings::Settings;
use crate::circuit::Advice;

/// What there is to tell of a breaker when it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartEvents {
    is_held: bool,
    pub(super) ignores_outcomes: bool,
}

impl StartEvents {
    /// What breakers of these settings have to tell, if they are made now.
    pub(super) fn of(settings: &Settings) -> Self {
        let has_outcomes = settings.outcomes.as_ref().is_some_and(|outcomes| !outcomes.is_empty());
        let is_asked = settings.asked.as_ref().is_some_and(Asked::is_marked);
        Self { is_held: settings.initial_override.is_some(), ignores_outcomes: has_outcomes && !is_asked }
    }

    /// Tells it, outside every lock: listeners are a user's code.
    pub(super) fn tell(self, cell: &'static BreakerCell) {
        if self.is_held {
            cell.tell_of_start();
        }
        if self.ignores_outcomes {
            cell.tell(EventKind::Advice { advice: Advice::OutcomesUnheeded });
        }
    }
}
