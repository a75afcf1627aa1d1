//! What a detector decides by, in plain words.

use std::time::Duration;

use super::shape::Limit;
use super::{Detector, Over, Shape, Threshold};
use crate::explanation::percent;

/// When the circuit opens, a line for each part.
pub(crate) fn explain(detector: &dyn Detector, lines: &mut Vec<String>) {
    let shape = detector.shape();
    match &shape {
        Shape::Opaque => lines.push(format!("opens when its own detector says so: {}", detector.rule())),
        Shape::Threshold(threshold) => lines.push(format!("opens when {}", condition(threshold))),
        Shape::Any(parts) | Shape::All(parts) => {
            lines.push(format!("opens when {}:", together(&shape)));
            parts.iter().for_each(|part| nested(part, 1, lines));
        }
    }
    let mut asked = Asked::default();
    asked.look_at(&shape);
    if asked.may_wait {
        let bad = if asked.about_slowness { "has failed or was slow" } else { "has failed" };
        lines.push(format!(
            "  asked after each call that {bad}: a good one that completes the least number opens nothing"
        ));
    }
}

fn nested(shape: &Shape, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match shape {
        Shape::Opaque => lines.push(format!("{indent}- a detector of its own says so")),
        Shape::Threshold(threshold) => lines.push(format!("{indent}- {}", condition(threshold))),
        Shape::Any(parts) | Shape::All(parts) => {
            lines.push(format!("{indent}- {}:", together(shape)));
            parts.iter().for_each(|part| nested(part, depth + 1, lines));
        }
    }
}

const fn together(shape: &Shape) -> &'static str {
    if matches!(shape, Shape::All(_)) { "all of these hold" } else { "any of these holds" }
}

/// When a detector is asked, as far as that is not what a reader expects.
#[derive(Debug, Default)]
struct Asked {
    /// The least number of calls can be there with a good one.
    may_wait: bool,
    about_slowness: bool,
}

impl Asked {
    fn look_at(&mut self, shape: &Shape) {
        match shape {
            Shape::Opaque => {}
            Shape::Threshold(threshold) => {
                let at_once = match threshold.limit {
                    Limit::Count(n) => n,
                    Limit::Rate(_) => 1,
                };
                self.may_wait |= threshold.min_calls > at_once;
                self.about_slowness |= threshold.slower_than.is_some();
            }
            Shape::Any(parts) | Shape::All(parts) => parts.iter().for_each(|part| self.look_at(part)),
        }
    }
}

fn condition(threshold: &Threshold) -> String {
    let bad = threshold.slower_than.map_or_else(|| "failed".to_owned(), took);
    let calls = |n: u32| if n == 1 { "1 call".to_owned() } else { format!("{n} calls") };
    let mut text = match (threshold.limit, threshold.over) {
        (Limit::Count(1), Over::Row) => format!("a call {bad}"),
        (Limit::Count(n), Over::Row) => format!("{n} calls in a row {bad}"),
        (Limit::Count(n), Over::Calls(of)) => format!("at least {n} of the last {} {bad}", calls(of)),
        (Limit::Count(n), Over::Time(time)) => format!("at least {} within {time:?} {bad}", calls(n)),
        (Limit::Rate(share), Over::Row) => format!("at least {} of the calls in a row {bad}", percent(share)),
        (Limit::Rate(share), Over::Calls(of)) => format!("at least {} of the last {} {bad}", percent(share), calls(of)),
        (Limit::Rate(share), Over::Time(time)) => {
            format!("at least {} of the calls within {time:?} {bad}", percent(share))
        }
    };
    if threshold.min_calls > 1 {
        text += &format!(", not before {} calls", threshold.min_calls);
    }
    text
}

fn took(limit: Duration) -> String {
    format!("took {limit:?} or longer")
}
