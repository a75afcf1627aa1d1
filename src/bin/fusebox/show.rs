//! `show`: everything that a record says.

use fusebox::State;
use fusebox::fleet::{FleetBreaker, FleetRecord, FleetSnapshot};

use crate::args::Options;
use crate::failure::Failure;
use crate::opened::operator;
use crate::terminal::{Lines, Paint, time};
use crate::{json, names, terminal};

pub(crate) async fn run(options: &Options, name: &str) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let Some(row) = operator.get(name).await? else {
        return Err(names::unknown(&operator, name, "").await);
    };
    let printed = if options.json { json::print(&row) } else { terminal::print(text(&row, Paint::new(options.color))) };
    match &row.record {
        FleetRecord::Unreadable(_) => Err(Failure::incomplete("the record cannot be read")),
        _ => printed,
    }
}

fn text(row: &FleetBreaker, paint: Paint) -> Lines {
    let mut lines = Lines::of(13);
    lines.add("name", &row.name);
    match &row.record {
        FleetRecord::Read(seen) => add_record(&mut lines, seen, paint),
        FleetRecord::Unreadable(trouble) => {
            lines.add("record", trouble.kind.as_str());
            lines.add("why", trouble);
        }
        _ => {}
    }
    lines.add("key", &row.key);
    lines
}

fn add_record(lines: &mut Lines, seen: &FleetSnapshot, paint: Paint) {
    let state = paint.state(&seen.state.to_string(), Some(seen.state), seen.overridden.is_some());
    lines.add_painted("state", &state);
    lines.add("for", time(seen.in_state_for));
    lines.add("since", humantime::format_rfc3339_seconds(seen.since));
    if let Some(reason) = &seen.reason {
        lines.add("reason", reason);
    }
    if let Some(order) = &seen.overridden {
        lines.add("override", order);
        lines.add(
            "ends",
            seen.override_ends_in.map_or_else(|| "when resumed".to_owned(), |left| format!("in {}", time(left))),
        );
    } else if seen.state == State::Open {
        let unknown = || "when the first instance says".to_owned();
        lines.add("retry", seen.retry_after.map_or_else(unknown, |left| format!("in {}", time(left))));
    }
    if let Some(cooldown) = seen.cooldown {
        lines.add("cooldown", time(cooldown));
    }
    lines.add("openings", seen.openings);
    if let Some(probes) = &seen.probes {
        let (running, succeeded, failed) = (probes.in_flight, probes.succeeded, probes.failed);
        lines.add("probes", format!("{running} on their way, {succeeded} succeeded, {failed} failed"));
    }
    lines.add("failures", seen.failures);
    if let Some(verdict) = &seen.verdict {
        lines.add("verdict", verdict);
    }
    if seen.suspected {
        lines.add("verdict", "on its way");
    }
    if seen.votes > 0 {
        lines.add("votes", seen.votes);
    }
    if seen.rules > 1 {
        lines.add("rules", format!("{}: instances go by different settings", seen.rules));
    }
    lines.add("generation", seen.generation);
    let age = seen
        .written_ago
        .map_or_else(|| "never, an older library left a row".to_owned(), |ago| format!("{} ago", time(ago)));
    lines.add("written", age);
    lines.add("bytes", seen.bytes);
}
