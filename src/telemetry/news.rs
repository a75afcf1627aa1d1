//! The family about news.

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::breaker::lost_news;

static LOST: Family = Family::counter(
    "news",
    "lost",
    Unit::One("event"),
    "Events that were lost on the way to listeners and readers that were too slow",
);

pub(super) fn tell_news(sink: &mut impl Sink) {
    sink.family(&LOST);
    sink.sample(&[], Value::Count(lost_news()));
}
