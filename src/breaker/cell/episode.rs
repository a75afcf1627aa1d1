//! A circuit's troubles, as logs tell of them.

use crate::breaker::control::Control;
use crate::breaker::events::{Details, EventKind, Item, Occurrence};
use crate::circuit::{Fact, Override, StandingOverride, State, TransitionReason};
use crate::guard::guarded;
#[cfg(feature = "fleet")]
use crate::store::Hearer;
use crate::time::Timestamp;

/// What is kept of one event so that a later one can be told with it.
#[derive(Debug, Default)]
pub(super) struct Episode {
    /// When the circuit was last closed, while it is not, and how many calls had been rejected by then.
    left_closed: Option<(Timestamp, Option<u64>)>,
    /// The override that stands.
    order: Option<Override>,
}

impl Episode {
    pub(super) const fn is_over(&self) -> bool {
        self.left_closed.is_none() && self.order.is_none()
    }

    /// Adds to an event what only logs tell of it. Under the breaker's lock, in the order of events.
    /// `rejections`: how many calls the breaker has rejected, where that is counted.
    pub(super) fn complete(&mut self, what: Occurrence, control: &Control, rejections: Option<u64>) -> Item {
        let details = match what.kind {
            EventKind::StateChanged { from, to, reason } => {
                self.follow((from, to), reason, (what.at, rejections), control)
            }
            EventKind::WouldOpen { .. } | EventKind::DetectorPanicked => {
                Details { rule: rule(control), ..Details::default() }
            }
            #[cfg(feature = "fleet")]
            EventKind::RecordUnreadable => {
                let error = control.shared().and_then(|shared| shared.replica.away()).cloned();
                Details { error, ..Details::default() }
            }
            _ => return what.into(),
        };
        Item { what, details: Some(Box::new(details)) }
    }

    fn follow(
        &mut self,
        (from, to): (State, State),
        reason: TransitionReason,
        (now, rejections): (Timestamp, Option<u64>),
        control: &Control,
    ) -> Details {
        let machine = control.machine();
        if from == State::Closed && to != State::Closed {
            self.left_closed = Some((now, rejections));
        }
        let was_closed = self.left_closed.take_if(|_| to == State::Closed);
        let rejected = was_closed.and_then(|(_, before)| Some(rejections?.saturating_sub(before?)));
        let standing = machine.overridden();
        let order = match reason {
            TransitionReason::Overridden => {
                self.order = standing.cloned();
                self.order.clone()
            }
            TransitionReason::Resumed | TransitionReason::OverrideExpired => self.order.take(),
            _ => None,
        };
        // It may have ended unseen, while the store was away.
        self.order.take_if(|_| standing.is_none());
        let opens = to == State::Open && order.is_none();
        let history = machine.state.history();
        Details {
            rule: if opens { rule(control) } else { None },
            openings: opens.then_some(history.openings),
            cooldown: opens.then_some(history.cooldown),
            open_for: was_closed.map(|(since, _)| now.since(since)),
            rejected,
            order: order.map(StandingOverride::of),
            #[cfg(feature = "fleet")]
            error: None,
        }
    }
}

/// Tells whether logs are to hear of a fact. Of a store that is away they hear once, however many breakers use it.
pub(super) fn is_news_for_logs(control: &Control, fact: Fact) -> bool {
    #[cfg(feature = "fleet")]
    {
        let kind = EventKind::from(fact);
        let is_over = matches!(kind, EventKind::StoreRecovered | EventKind::StoreMended);
        control.trouble_of(kind).is_none_or(|trouble| !trouble.is_known_to(Hearer::Logs, is_over))
    }
    #[cfg(not(feature = "fleet"))]
    {
        let _ = (control, fact);
        true
    }
}

/// The rule in words. A detector is a user's code.
fn rule(control: &Control) -> Option<String> {
    guarded(|| control.machine().detector.rule())
}
