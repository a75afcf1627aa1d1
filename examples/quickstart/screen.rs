//! The timeline: one row a second, and what happened in between.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use fusebox::State;

use crate::client::End;
use crate::server::{ILL, WORKERS};
use crate::{PATIENCE, RATE, RUN, SICK, Side};

/// Cells of a bar.
const CELLS: usize = 17;
/// Cells of the line that shows how far it got.
const PROGRESS: u32 = 40;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";
const BOLD: &str = "1";

/// A terminal gets colours and a line that moves; a file or a pipe gets plain lines.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    lively: bool,
}

impl Style {
    pub(crate) fn of_stdout() -> Self {
        let refused = |name, value: fn(&str) -> bool| std::env::var(name).is_ok_and(|v| value(&v));
        let plain = refused("NO_COLOR", |v| !v.is_empty()) || refused("TERM", |v| v == "dumb");
        Self { lively: stdout().is_terminal() && !plain }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.lively && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What takes the line that moves away.
    const fn clear(self) -> &'static str {
        if self.lively { "\r\x1b[2K" } else { "" }
    }

    /// The colour and the cell of each kind of answer.
    const fn cell(self, end: End) -> (&'static str, char) {
        match (end, self.lively) {
            (End::Served, true) => (GREEN, '█'),
            (End::Served, false) => (GREEN, '#'),
            (End::Failed, true) => (RED, '▓'),
            (End::Failed, false) => (RED, 'x'),
            (End::Rejected, true) => (YELLOW, '░'),
            (End::Rejected, false) => (YELLOW, '.'),
        }
    }
}

/// What ended in the current second.
#[derive(Default)]
struct Counts {
    served: u32,
    failed: u32,
    rejected: u32,
}

impl Counts {
    const fn of(&mut self, end: End) -> &mut u32 {
        match end {
            End::Served => &mut self.served,
            End::Failed => &mut self.failed,
            End::Rejected => &mut self.rejected,
        }
    }

    /// A bar, filled up with spaces.
    fn bar(&self, style: Style) -> String {
        let ends = [(End::Served, self.served), (End::Failed, self.failed), (End::Rejected, self.rejected)];
        // Answers come in later than they were asked for, so some seconds have more of them than others.
        let most = ends.iter().map(|(_, count)| count).sum::<u32>().max(RATE);
        let (mut bar, mut sum, mut drawn) = (String::new(), 0, 0);
        for (end, count) in ends {
            sum += count;
            let until = (sum as usize * CELLS).div_ceil(most as usize);
            let (colour, cell) = style.cell(end);
            bar += &style.paint(colour, &cell.to_string().repeat(until - drawn));
            drawn = until;
        }
        bar + &" ".repeat(CELLS - drawn)
    }
}

pub(crate) struct Screen {
    style: Style,
    state: State,
    /// With the breaker, without it.
    counts: [Counts; 2],
    rows: u32,
    sick: bool,
    elapsed: Duration,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let style = Style::of_stdout();
        println!("{}\n", style.bold("fusebox quickstart: a dependency falls ill, with and without a circuit breaker"));
        println!("  Two equal servers get {RATE} requests a second each, for {} seconds.", RUN.as_secs());
        println!("  Callers give up on an answer after {} ms.\n", PATIENCE.as_millis());
        let key = |end, word| {
            let (colour, cell) = style.cell(end);
            format!("{} {word}", style.paint(colour, &cell.to_string().repeat(2)))
        };
        let (served, failed) = (key(End::Served, "answered"), key(End::Failed, "failed"));
        println!("  {served}   {failed}   {}\n", key(End::Rejected, "rejected by the breaker, at once"));
        let head = format!(
            "{:19}{:<17}{:>4}{:>5}{:>5}   {:<17}{:>4}{:>5}",
            "   time  state", "with breaker", "ok", "fail", "rej", "without", "ok", "fail"
        );
        println!("{}", style.paint(DIM, &head));
        Self { style, state: State::Closed, counts: Default::default(), rows: 0, sick: false, elapsed: Duration::ZERO }
    }

    pub(crate) const fn count(&mut self, side: Side, end: End) {
        *self.counts[side as usize].of(end) += 1;
    }

    pub(crate) fn changed(&mut self, at: Duration, from: State, to: State, line: &str) {
        self.state = to;
        let is_routine = to == State::HalfOpen || (from, to) == (State::HalfOpen, State::Open);
        self.happened(at, if is_routine { DIM } else { BOLD }, line);
    }

    /// Draws what is due.
    pub(crate) fn frame(&mut self, elapsed: Duration) {
        self.elapsed = elapsed.min(RUN);
        let sick = SICK.contains(&elapsed);
        if sick != self.sick {
            self.sick = sick;
            let ill = format!("the servers fall ill: {} ms, then an error; {WORKERS} at a time", ILL.as_millis());
            self.happened(elapsed, BOLD, if sick { &ill } else { "the servers are well again" });
        }
        while self.elapsed >= Duration::from_secs(1) * (self.rows + 1) {
            self.rows += 1;
            self.row();
        }
        self.progress();
    }

    /// Makes way for what follows.
    pub(crate) fn close(mut self, elapsed: Duration) {
        self.frame(elapsed);
        println!("{}", self.style.clear());
    }

    fn row(&mut self) {
        let [with, without] = std::mem::take(&mut self.counts);
        let (style, state) = (self.style, self.state);
        self.line(&format!(
            "{:>5.1} s  {}{}{:>4}{:>5}{:>5}   {}{:>4}{:>5}",
            f64::from(self.rows),
            style.paint(colour(state), &format!("{:<9} ", state.to_string())),
            with.bar(style),
            with.served,
            with.failed,
            with.rejected,
            without.bar(style),
            without.served,
            without.failed,
        ));
    }

    fn happened(&self, at: Duration, colour: &str, what: &str) {
        self.line(&format!("{:>5.1} s  {}", at.as_secs_f64(), self.style.paint(colour, what)));
    }

    /// Prints a line above the one that moves.
    fn line(&self, text: &str) {
        println!("{}{text}", self.style.clear());
        self.progress();
    }

    fn progress(&self) {
        if !self.style.lively {
            return;
        }
        let cell = RUN / PROGRESS;
        let mut bar = String::new();
        for n in 0..PROGRESS {
            let at = cell * n;
            let colour = if SICK.contains(&at) { RED } else { GREEN };
            bar += &if at < self.elapsed { self.style.paint(colour, "━") } else { self.style.paint(DIM, "─") };
        }
        let (state, seconds) =
            (self.style.paint(colour(self.state), &self.state.to_string()), self.elapsed.as_secs_f64());
        print!("{}{seconds:>5.1} s  {bar}  breaker {state}", self.style.clear());
        // A frame that cannot be drawn is not worth an end.
        stdout().flush().ok();
    }
}

const fn colour(state: State) -> &'static str {
    match state {
        State::Closed => GREEN,
        State::Open => RED,
        State::HalfOpen => YELLOW,
    }
}
