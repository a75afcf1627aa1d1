//! `show`: everything that a record says.

use std::fmt::Display;

use fusebox::State;
use fusebox::fleet::{FleetBreaker, FleetRecord, FleetSnapshot};

use crate::args::Options;
use crate::failure::Failure;
use crate::opened::operator;
use crate::terminal::{Paint, shown, time};
use crate::{json, names};

pub(crate) async fn run(options: &Options, name: &str) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let Some(row) = operator.get(name).await? else {
        return Err(names::unknown(&operator, name, "").await);
    };
    if options.json {
        json::print(&row)?;
    } else {
        print(&row, Paint::new(options.color));
    }
    match &row.record {
        FleetRecord::Unreadable(_) => Err(Failure::incomplete("the record cannot be read")),
        _ => Ok(()),
    }
}

fn line(what: &str, value: impl Display) {
    println!("{what:<13} {}", shown(&value.to_string()));
}

fn print(row: &FleetBreaker, paint: Paint) {
    line("name", &row.name);
    match &row.record {
        FleetRecord::Read(seen) => print_record(seen, paint),
        FleetRecord::Unreadable(trouble) => {
            line("record", trouble.kind.as_str());
            line("why", trouble);
        }
        _ => {}
    }
    line("key", &row.key);
}

fn print_record(seen: &FleetSnapshot, paint: Paint) {
    let state = paint.state(&seen.state.to_string(), Some(seen.state), seen.overridden.is_some());
    println!("{:<13} {state}", "state");
    line("for", time(seen.in_state_for));
    line("since", humantime::format_rfc3339_seconds(seen.since));
    if let Some(reason) = &seen.reason {
        line("reason", reason);
    }
    if let Some(order) = &seen.overridden {
        line("override", order);
        line(
            "ends",
            seen.override_ends_in.map_or_else(|| "when resumed".to_owned(), |left| format!("in {}", time(left))),
        );
    } else if seen.state == State::Open {
        let unknown = || "when the first instance says".to_owned();
        line("retry", seen.retry_after.map_or_else(unknown, |left| format!("in {}", time(left))));
    }
    if let Some(cooldown) = seen.cooldown {
        line("cooldown", time(cooldown));
    }
    line("openings", seen.openings);
    if let Some(probes) = &seen.probes {
        let (running, succeeded, failed) = (probes.in_flight, probes.succeeded, probes.failed);
        line("probes", format!("{running} on their way, {succeeded} succeeded, {failed} failed"));
    }
    line("failures", seen.failures);
    if let Some(verdict) = &seen.verdict {
        line("verdict", verdict);
    }
    if seen.suspected {
        line("verdict", "on its way");
    }
    if seen.votes > 0 {
        line("votes", seen.votes);
    }
    if seen.rules > 1 {
        line("rules", format!("{}: instances go by different settings", seen.rules));
    }
    line("generation", seen.generation);
    let age = seen
        .written_ago
        .map_or_else(|| "never, an older library left a row".to_owned(), |ago| format!("{} ago", time(ago)));
    line("written", age);
    line("bytes", seen.bytes);
}
