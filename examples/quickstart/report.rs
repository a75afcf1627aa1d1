//! The table at the end.

use std::time::Duration;

use fusebox::{BoxError, State};

use crate::client::{Call, End};
use crate::screen::Style;
use crate::{REQUESTS, RUN, SICK, Side};

/// Everything that happened.
pub(crate) struct Report {
    /// With the breaker, without it.
    calls: [Vec<Call>; 2],
    opened: bool,
}

/// What the calls of one client come to.
struct Sum {
    errors: usize,
    rejected: usize,
    /// How long those waited who called while the servers were sick, sorted.
    waits: Vec<Duration>,
    /// From the server's recovery to the last error.
    recovery: Duration,
    /// Whether errors ended before the load did.
    is_over: bool,
}

impl Report {
    pub(crate) const fn new() -> Self {
        Self { calls: [Vec::new(), Vec::new()], opened: false }
    }

    pub(crate) fn add(&mut self, side: Side, call: Call) {
        self.calls[side as usize].push(call);
    }

    pub(crate) fn changed(&mut self, to: State) {
        self.opened |= to == State::Open;
    }

    /// Tells whether calls are still on their way.
    pub(crate) fn is_running(&self) -> bool {
        self.calls.iter().any(|calls| calls.len() < REQUESTS as usize)
    }

    pub(crate) fn print(&self, reached_with: u32, reached_without: u32) {
        let style = Style::of_stdout();
        let [with, without] = self.calls.each_ref().map(|calls| Sum::of(calls));
        let row = |label: &str, with: &dyn ToString, without: &dyn ToString| {
            println!("  {label:<50}{:>12}{:>14}", with.to_string(), without.to_string());
        };
        println!("{}", style.bold(&format!("  {:<50}{:>12}{:>14}", "", "with breaker", "without")));
        row("requests sent by callers", &self.calls[0].len(), &self.calls[1].len());
        row("errors seen by callers", &with.errors, &without.errors);
        row("  of those rejected at once", &with.rejected, &without.rejected);
        row("requests that reached the server while sick", &reached_with, &reached_without);
        row("wait of a caller while sick, median", &ms(with.wait(50)), &ms(without.wait(50)));
        row("  99th percentile", &ms(with.wait(99)), &ms(without.wait(99)));
        row("  of all callers, added up", &s(with.waits.iter().sum()), &s(without.waits.iter().sum()));
        row("time to recover (server well, to last error)", &with.recovered(), &without.recovered());

        println!("\nThe breaker let {reached_with} of {} requests through to the sick server.", without.waits.len());
        let [fast, slow] = [&with, &without].map(|sum| ms(sum.wait(50)).replace('<', "less than"));
        println!("Half of the callers meanwhile had their error in {fast}, not in {slow}.");
        let least = if without.is_over { "" } else { "at least " };
        match without.recovery.checked_sub(with.recovery) {
            Some(sooner) => {
                println!(
                    "Service was back {least}{} sooner, as no old requests had piled up at the server.",
                    s(sooner)
                );
            }
            None => println!("Service was back later than without it: the price of the cooldown."),
        }
    }

    /// Says whether the breaker did its work.
    pub(crate) fn verdict(&self, state: State) -> Result<(), BoxError> {
        match (self.opened, state) {
            (true, State::Closed) => Ok(()),
            (true, _) => Err(format!("the breaker opened, but it is {state} at the end instead of closed").into()),
            (false, _) => Err("the breaker never opened".into()),
        }
    }
}

impl Sum {
    fn of(calls: &[Call]) -> Self {
        let errors = || calls.iter().filter(|call| call.end != End::Served);
        let recovery = errors().map(|call| call.ended.saturating_sub(SICK.end)).max().unwrap_or_default();
        let while_sick = calls.iter().filter(|call| SICK.contains(&call.sent));
        let mut waits: Vec<_> = while_sick.map(|call| call.ended.saturating_sub(call.sent)).collect();
        waits.sort_unstable();
        Self {
            errors: errors().count(),
            rejected: errors().filter(|call| call.end == End::Rejected).count(),
            waits,
            recovery,
            is_over: SICK.end + recovery + Duration::from_millis(100) < RUN,
        }
    }

    fn wait(&self, percent: usize) -> Duration {
        self.waits.get(self.waits.len() * percent / 100).copied().unwrap_or_default()
    }

    fn recovered(&self) -> String {
        format!("{}{}", if self.is_over { "" } else { "> " }, s(self.recovery))
    }
}

fn ms(wait: Duration) -> String {
    if wait < Duration::from_millis(1) { "< 1 ms".to_owned() } else { format!("{} ms", wait.as_millis()) }
}

fn s(wait: Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}
