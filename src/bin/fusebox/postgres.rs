//! `migrate`, `prune` and the rights of roles: what only PostgreSQL has.

use std::time::Duration;

use fusebox::store::{PostgresStoreBuilder, Store};
use serde_json::json;

use crate::args::{Migrate, Options};
use crate::failure::{Failure, with_sources};
use crate::opened::named;
use crate::{json, terminal};

pub(crate) async fn migrate(options: &Options, migrate: &Migrate) -> Result<(), Failure> {
    let store = named(options);
    let store = if migrate.print { store } else { store.required() };
    let builder = migrate.grant_to.iter().fold(store.postgres()?, PostgresStoreBuilder::grant_to);
    if migrate.print {
        let script = builder.migration().map_err(|error| Failure::usage(with_sources(&error)))?;
        return terminal::print(script);
    }
    within(options, builder.migrate()).await?;
    if options.json {
        return json::print(&json!({ "migrated": true }));
    }
    terminal::print("the tables are there\n")
}

pub(crate) async fn prune(options: &Options, older_than: Duration) -> Result<(), Failure> {
    let builder = named(options).required().postgres()?.keep_closed(older_than);
    let store = within(options, builder.connect()).await?;
    let pruned = store.prune().await?;
    if options.json {
        return json::print(&json!({ "rows": pruned.rows, "events": pruned.events }));
    }
    terminal::print(format_args!("taken away: {} breakers, {} events\n", pruned.rows, pruned.events))
}

/// What a role lacks to use the store, which is another's to give.
pub(crate) async fn missing_rights(options: &Options, role: &str) -> Result<Vec<String>, Failure> {
    let builder = named(options).required().postgres()?;
    let place = builder.clone().build().map_err(|error| Failure::usage(with_sources(&error)))?.describe();
    let store = within(options, builder.connect()).await?;
    let missing = within(options, store.missing_rights(role)).await?;
    missing.ok_or_else(|| Failure::no(format!("no role {role:?} is in {place}")))
}

/// A migration may wait for locks, which it says itself; a server that is not there is given up.
async fn within<T>(
    options: &Options,
    asked: impl Future<Output = Result<T, fusebox::store::StoreError>>,
) -> Result<T, Failure> {
    let most = options.timeout.max(Duration::from_secs(35));
    match tokio::time::timeout(most, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::away(format!("the store did not answer within {most:?}"))),
    }
}
