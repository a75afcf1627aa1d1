//! Recent calls, kept by count or by time.

mod count;
mod time;

pub(crate) use count::CountWindow;
pub(super) use time::{TimeWindow, tick_shift};
