//! `list`.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use fusebox::State;
use fusebox::fleet::{FleetBreaker, FleetFilter, FleetRecord, Operator};
use serde::Serialize;

use crate::args::{Condition, List, Options, Sort};
use crate::failure::Failure;
use crate::opened::operator;
use crate::terminal::{Paint, shown, time};
use crate::{json, names, terminal};

#[derive(Serialize)]
struct Listed<'a> {
    breakers: &'a [FleetBreaker],
}

pub(crate) async fn run(options: &Options, list: &List) -> Result<(), Failure> {
    let operator = operator(options).await?;
    if list.watch {
        return again(&operator, options, list).await;
    }
    let rows = rows(&operator, list).await?;
    // Whether it is read or not, the exit code tells the same.
    let printed = if options.json {
        json::print(&Listed { breakers: &rows })
    } else {
        terminal::print(table(&rows, Paint::new(options.color)))
    };
    if list.fail_if_open && rows.iter().any(|row| row.state() == Some(State::Open)) {
        let open = rows.iter().filter(|row| row.state() == Some(State::Open)).count();
        return Err(Failure::no(format!("{open} of {} listed are open", rows.len())));
    }
    let unread = rows.iter().filter(|row| row.state().is_none()).count();
    if unread > 0 && !list.state.contains(&Condition::Unreadable) {
        return Err(Failure::incomplete(format!("{unread} of {} breakers cannot be read", rows.len())));
    }
    printed
}

async fn rows(operator: &Operator, list: &List) -> Result<Vec<FleetBreaker>, Failure> {
    let filter = list.pattern.as_ref().map_or_else(FleetFilter::all, FleetFilter::named);
    let filter = list.state.iter().fold(filter, |filter, condition| match condition {
        Condition::Closed => filter.state(State::Closed),
        Condition::Open => filter.state(State::Open),
        Condition::HalfOpen => filter.state(State::HalfOpen),
        Condition::Overridden => filter.overridden(),
        Condition::Unreadable => filter.unreadable(),
    });
    let mut rows = operator.list(&filter).await?;
    if let (Some(pattern), true) = (&list.pattern, rows.is_empty()) {
        names::expect_some(operator, pattern).await?;
    }
    match list.sort {
        Sort::Name => {}
        Sort::Trouble => rows.sort_by_key(|row| (trouble(row), row.name.clone())),
        Sort::Since => {
            let since = |row: &FleetBreaker| row.snapshot().map_or(Duration::MAX, |seen| seen.in_state_for);
            rows.sort_by_key(|row| (since(row), row.name.clone()));
        }
    }
    Ok(rows)
}

/// The worse, the smaller.
fn trouble(row: &FleetBreaker) -> u32 {
    let Some(seen) = row.snapshot() else { return 3 };
    match (seen.overridden.is_some(), seen.state) {
        (true, _) => 0,
        (false, State::Open) => 1,
        (false, State::HalfOpen) => 2,
        (false, State::Closed) if seen.suspected || seen.failures > 0 => 4,
        (false, State::Closed) => 5,
    }
}

/// Lists again each second. On a terminal in place of the list before.
async fn again(operator: &Operator, options: &Options, list: &List) -> Result<(), Failure> {
    let (paint, is_terminal) = (Paint::new(options.color), stdout().is_terminal());
    loop {
        let text = match rows(operator, list).await {
            Ok(rows) if options.json => {
                json::print(&Listed { breakers: &rows })?;
                String::new()
            }
            Ok(rows) => table(&rows, paint),
            Err(failure) => {
                failure.tell(false);
                String::new()
            }
        };
        let (begin, end) = if is_terminal { ("\u{1b}[H\u{1b}[J", "") } else { ("", "\n") };
        if !options.json {
            terminal::print(format_args!("{begin}{text}{end}"))?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

const HEAD: [&str; 5] = ["NAME", "STATE", "FOR", "RETRY", "WHY"];

/// A line for each breaker, in columns that are as wide as they must be, with a head; nothing where there is none.
fn table(rows: &[FleetBreaker], paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells: Vec<[String; 5]> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = cells.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut out = String::new();
    let mut line = |cells: [&str; 5], state: &dyn Fn(&str) -> String| {
        let [name, kind, age, retry, why] = cells;
        let [first, second, third, fourth] = widths;
        let kind = state(&format!("{kind:second$}"));
        let text = format!("{name:first$}  {kind}  {age:third$}  {retry:fourth$}  {why}");
        // Writing to a string cannot fail.
        writeln!(out, "{}", text.trim_end()).ok();
    };
    line(HEAD, &str::to_owned);
    for (row, cells) in rows.iter().zip(&cells) {
        let is_overridden = row.snapshot().is_some_and(|seen| seen.overridden.is_some());
        line(cells.each_ref().map(String::as_str), &|cell| paint.state(cell, row.state(), is_overridden));
    }
    out
}

fn cells(row: &FleetBreaker) -> [String; 5] {
    let name = shown(&row.name);
    let seen = match &row.record {
        FleetRecord::Read(seen) => seen,
        FleetRecord::Unreadable(trouble) => {
            return [name, "?".to_owned(), "-".to_owned(), "-".to_owned(), shown(&trouble.why)];
        }
        _ => return [name, "?".to_owned(), "-".to_owned(), "-".to_owned(), String::new()],
    };
    let why = match (&seen.overridden, &seen.reason) {
        (Some(order), _) => match seen.override_ends_in {
            Some(left) => format!("{order}, ends in {}", time(left)),
            None => order.to_string(),
        },
        (None, Some(reason)) => reason.to_string(),
        (None, None) => String::new(),
    };
    let failures = match seen.failures {
        0 => None,
        1 => Some("1 failure now".to_owned()),
        failures => Some(format!("{failures} failures now")),
    };
    let is_open = seen.state == State::Open;
    let parts = [Some(why).filter(|why| !why.is_empty()), failures.filter(|_| !is_open)];
    let why: Vec<_> = parts.into_iter().flatten().collect();
    let retry = match seen.retry_after {
        Some(left) => time(left),
        None if seen.awaits_cooldown() => "?".to_owned(),
        None => "-".to_owned(),
    };
    [name, seen.state.to_string(), time(seen.in_state_for), retry, shown(&why.join(", "))]
}
