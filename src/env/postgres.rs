//! PostgreSQL, by URL or in the words of the older library.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

use super::env_store::{EnvStore, Kind};
use super::legacy_env::LegacyEnv;
use super::place::Place;
use super::source::StoreSource;
use crate::error::ConfigError;
use crate::store::{PostgresStore, PostgresStoreBuilder, check_encryption};

pub(super) async fn open_url(url: String, place: &Place) -> Result<EnvStore, ConfigError> {
    let store = at(of_url(url), place)?.build().map_err(|error| place.named(&error))?;
    Ok(looked_at(store, StoreSource::StoreUrl).await)
}

pub(super) async fn open(legacy: LegacyEnv, place: &Place) -> Result<EnvStore, ConfigError> {
    let store = at(of_legacy(legacy)?, place)?.build().map_err(|error| place.named(&error))?;
    Ok(looked_at(store, StoreSource::Highway).await)
}

pub(super) fn of_url(url: String) -> PostgresStoreBuilder {
    PostgresStore::builder().url(url)
}

/// The same at its place.
pub(super) fn at(builder: PostgresStoreBuilder, place: &Place) -> Result<PostgresStoreBuilder, ConfigError> {
    let Place { namespace, schema, table } = place;
    let builder = namespace.iter().fold(builder, |builder, given| builder.namespace(&given.value));
    let builder = schema.iter().fold(builder, |builder, given| builder.schema(&given.value));
    let builder = table.iter().fold(builder, |builder, given| builder.table(&given.value));
    // What is wrong is told here, where it has its name.
    builder.check().map_err(|error| place.named(&error))?;
    Ok(builder)
}

pub(super) fn of_legacy(legacy: LegacyEnv) -> Result<PostgresStoreBuilder, ConfigError> {
    let LegacyEnv { host, port, name, user, password } = legacy;
    let options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(port)
        .database(&name)
        .username(&user)
        .password(&password);
    check_encryption("PGSSLMODE", &options)?;
    Ok(PostgresStore::builder().options(options))
}

async fn looked_at(store: PostgresStore, source: StoreSource) -> EnvStore {
    let degraded = store.check().await.err();
    EnvStore::new(Kind::Postgres, source, Arc::new(store), degraded)
}
