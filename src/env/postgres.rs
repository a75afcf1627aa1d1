//! PostgreSQL, by URL or in the words of the older library.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

use super::env_store::{EnvStore, Kind};
use super::legacy_env::LegacyEnv;
use super::source::StoreSource;
use super::url;
use crate::error::ConfigError;
use crate::store::PostgresStore;

pub(super) async fn open_url(url: String) -> Result<EnvStore, ConfigError> {
    let store = PostgresStore::builder().url(&url).build().map_err(|_| url::unreadable(&url))?;
    Ok(looked_at(store, StoreSource::StoreUrl).await)
}

pub(super) async fn open(legacy: LegacyEnv) -> Result<EnvStore, ConfigError> {
    let LegacyEnv { host, port, name, user, password } = legacy;
    let options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(port)
        .database(&name)
        .username(&user)
        .password(&password);
    let store = PostgresStore::builder().options(options).build()?;
    Ok(looked_at(store, StoreSource::Highway).await)
}

async fn looked_at(store: PostgresStore, source: StoreSource) -> EnvStore {
    let degraded = store.check().await.err();
    EnvStore::new(Kind::Postgres, source, Arc::new(store), degraded)
}
