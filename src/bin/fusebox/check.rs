//! `check`: whether the store answers, and what it lets one do.

use fusebox::fleet::{Right, StoreCheck};

use crate::args::Options;
use crate::failure::Failure;
use crate::json;
use crate::opened::operator;
use crate::terminal::shown;

pub(crate) async fn run(options: &Options, writes: bool) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let found = if writes { operator.check_writes().await? } else { operator.check().await? };
    if options.json {
        json::print(&found)?;
    } else {
        print(&found);
    }
    if !found.is_complete() {
        return Err(Failure::incomplete("something is missing"));
    }
    if !found.unreadable.is_empty() {
        let (unread, all) = (found.unreadable.len(), found.breakers);
        return Err(Failure::incomplete(format!("{unread} of {all} breakers cannot be read")));
    }
    Ok(())
}

fn print(found: &StoreCheck) {
    let right = |right: &Right| match right {
        Right::Granted => "yes".to_owned(),
        Right::Missing { why, .. } => format!("no: {why}"),
        Right::Unsupported => "this store has no such thing".to_owned(),
        _ => "not tried, --write does".to_owned(),
    };
    let line = |what: &str, value: &str| println!("{what:<14} {}", shown(value));
    line("store", &found.store);
    line("answers", &format!("within {:.1?}", found.latency));
    line("clock", &format!("{:.1?} from this machine's, beyond the latency", found.clock_difference));
    line("reads", &right(&found.reads));
    line("lists", &right(&found.lists));
    line("tells changes", &right(&found.tells_changes));
    line("writes", &right(&found.writes));
    line("notices", &right(&found.notifies));
    line("breakers", &found.breakers.to_string());
    for row in &found.unreadable {
        line("cannot read", &row.to_string());
    }
}
