//! What a threshold over the newest calls sees of them, and what it makes of an order that is not known.

use super::cell::Writers;
use super::question::Question;
use super::rule::Leaf;
use super::told::Stretch;
use crate::circuit::detector::{Over, Threshold};
use crate::circuit::{CountWindow, Tally};

/// A threshold's view of the newest calls.
pub(super) struct Window<'a> {
    leaf: &'a Leaf,
    threshold: Threshold,
    calls: CountWindow,
    /// Bad calls in a row.
    row: u64,
    /// The newest calls whose order is known, because one instance had them or the clocks tell.
    ordered: u64,
    writer: Writers,
    has_margin: bool,
}

impl<'a> Window<'a> {
    pub(super) fn new(leaf: &'a Leaf, question: &Question<'_>) -> Self {
        let mut threshold = leaf.threshold;
        if question.is_possible() {
            // Good calls that are not told yet may complete it.
            threshold.min_calls = 1;
        }
        let size = match threshold.over {
            Over::Calls(calls) => calls,
            Over::Row | Over::Time(_) => 0,
        };
        Self {
            leaf,
            threshold,
            calls: CountWindow::new(size),
            row: 0,
            ordered: 0,
            writer: Writers::Several,
            has_margin: question.has_margin(),
        }
    }

    /// More calls than this, in one tick, show nothing else than as many of the same shares.
    pub(super) fn enough(&self) -> u64 {
        let row = if self.threshold.over == Over::Row { self.leaf.row() } else { 0 };
        4 * u64::from(self.calls.size()).max(u64::from(self.threshold.min_calls)).max(row).max(64)
    }

    /// The calls that come next are those of another tick.
    pub(super) fn meet(&mut self, writer: Writers, is_next_tick: bool) {
        let is_other = writer != self.writer && is_next_tick;
        if is_other || writer == Writers::Several {
            self.ordered = 0;
        }
        self.writer = writer;
    }

    pub(super) fn good(&mut self, count: u64) {
        if count > 0 {
            self.calls.push_good(count);
            self.row = 0;
        }
    }

    /// Takes in calls; returns the tally with which they reach the threshold, if that is asked and they do.
    pub(super) fn show(&mut self, calls: Stretch, is_judged: bool) -> Option<Tally> {
        let count = u64::from(calls.count);
        if self.writer != Writers::Several {
            self.ordered = self.ordered.saturating_add(count);
        }
        let is_bad = self.leaf.measure.is_bad(calls.class);
        if !calls.class.is_bad() {
            self.good(count);
            return None;
        }
        // The first of a row do not reach it.
        let first = if is_bad && self.threshold.over == Over::Row {
            self.leaf.row().saturating_sub(self.row + 1).min(count)
        } else {
            0
        };
        self.row = self.row.saturating_add(first);
        // When all that the window holds are of the same kind, one more changes nothing.
        let enough = first + self.calls.size().max(64) as u64;
        for nth in first..count.min(enough) {
            self.calls.push(is_bad);
            self.row = if is_bad { self.row + 1 } else { 0 };
            if is_judged && let Some(tally) = self.verdict(count - 1 - nth) {
                self.skip(count - 1 - nth, is_bad);
                return Some(tally);
            }
        }
        self.skip(count.saturating_sub(enough), is_bad);
        None
    }

    pub(super) fn skip(&mut self, count: u64, is_bad: bool) {
        if is_bad {
            (0..count.min(self.calls.size().into())).for_each(|_| self.calls.push(true));
            self.row = self.row.saturating_add(count);
        } else {
            self.good(count);
        }
    }

    /// What it holds: bad calls, and all.
    pub(super) fn counts(&self) -> (u64, u64) {
        match self.threshold.over {
            Over::Calls(_) => (self.calls.bad().into(), self.calls.len().into()),
            Over::Row | Over::Time(_) => (self.row, self.row),
        }
    }

    /// The tally, where it reaches the threshold although the order of some calls is not known. `to_come`: of the calls
    /// whose order is known, so many are still to be shown.
    pub(super) fn verdict(&self, to_come: u64) -> Option<Tally> {
        let ordered = self.ordered.saturating_sub(to_come);
        let (bad, calls) = self.counts();
        let is_certain = !self.has_margin || ordered >= calls;
        let counted = match self.threshold.over {
            // In another order, the last good call is one later.
            Over::Row if is_certain => bad,
            Over::Row => bad.saturating_sub(1),
            _ if is_certain || bad == calls => bad,
            _ => bad.saturating_sub(1),
        };
        self.threshold.holds(counted, calls).then(|| self.threshold.tally(bad, calls))
    }
}
