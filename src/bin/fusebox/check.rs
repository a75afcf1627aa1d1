//! `check`: whether the store answers, and what it lets one do.

use fusebox::fleet::{Right, StoreCheck};
use serde::Serialize;

use crate::args::{Check, Options};
use crate::failure::Failure;
use crate::opened::operator;
use crate::terminal::Lines;
use crate::{json, postgres, terminal};

#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    store: StoreCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

/// Another role than the one that asks.
#[derive(Serialize)]
struct Role {
    name: String,
    /// What it lacks, each as `grant` takes it.
    missing: Vec<String>,
}

pub(crate) async fn run(options: &Options, check: &Check) -> Result<(), Failure> {
    let role = match &check.role {
        Some(name) => Some(Role { name: name.clone(), missing: postgres::missing_rights(options, name).await? }),
        None => None,
    };
    let operator = operator(options).await?;
    let store = if check.write { operator.check_writes().await? } else { operator.check().await? };
    let found = Checked { store, role };
    let printed = if options.json { json::print(&found) } else { terminal::print(text(&found)) };
    if !found.store.is_complete() {
        return Err(Failure::incomplete("something is missing"));
    }
    if let Some(role) = found.role.filter(|role| !role.missing.is_empty()) {
        let (name, missing) = (role.name, role.missing.len());
        return Err(Failure::incomplete(format!("role {name:?} lacks {missing} of the rights that it needs")));
    }
    if !found.store.unreadable.is_empty() {
        let (unread, all) = (found.store.unreadable.len(), found.store.breakers);
        return Err(Failure::incomplete(format!("{unread} of {all} breakers cannot be read")));
    }
    printed
}

fn text(found: &Checked) -> Lines {
    let Checked { store: found, role } = found;
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
    if let Some(role) = role {
        lines.add(
            "role",
            format_args!("{:?} {}", role.name, if role.missing.is_empty() { "lacks nothing" } else { "lacks" }),
        );
        for right in &role.missing {
            lines.add("", right);
        }
    }
    lines
}
