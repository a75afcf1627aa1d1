//! `check`: whether the store answers, and what it lets one do.

use fusebox::fleet::{Right, StoreCheck};

use crate::args::Options;
use crate::failure::Failure;
use crate::opened::operator;
use crate::terminal::Lines;
use crate::{json, terminal};

pub(crate) async fn run(options: &Options, writes: bool) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let found = if writes { operator.check_writes().await? } else { operator.check().await? };
    let printed = if options.json { json::print(&found) } else { terminal::print(text(&found)) };
    if !found.is_complete() {
        return Err(Failure::incomplete("something is missing"));
    }
    if !found.unreadable.is_empty() {
        let (unread, all) = (found.unreadable.len(), found.breakers);
        return Err(Failure::incomplete(format!("{unread} of {all} breakers cannot be read")));
    }
    printed
}

fn text(found: &StoreCheck) -> Lines {
    let right = |right: &Right| match right {
        Right::Granted => "yes".to_owned(),
        Right::Missing { why, .. } => format!("no: {why}"),
        Right::Unsupported => "this store has no such thing".to_owned(),
        _ => "not tried, --write does".to_owned(),
    };
    let mut lines = Lines::of(14);
    lines.add("store", &found.store);
    lines.add("answers", format_args!("within {:.1?}", found.latency));
    lines.add("clock", format_args!("{:.1?} from this machine's, beyond the latency", found.clock_difference));
    lines.add("reads", right(&found.reads));
    lines.add("lists", right(&found.lists));
    lines.add("tells changes", right(&found.tells_changes));
    lines.add("writes", right(&found.writes));
    lines.add("notices", right(&found.notifies));
    lines.add("breakers", found.breakers);
    for row in &found.unreadable {
        lines.add("cannot read", row);
    }
    lines
}
