//! The store that the command line or the environment names.

use std::sync::Arc;

use fusebox::env::{self, StoreFromEnv};
use fusebox::fleet::Operator;
use fusebox::store::Store;

use crate::args::Options;
use crate::failure::Failure;

/// An operator over the store.
pub(crate) async fn operator(options: &Options) -> Result<Operator, Failure> {
    let opened = tokio::time::timeout(options.timeout, named(options).required());
    let store = match opened.await {
        Ok(store) => store?,
        Err(_) => return Err(Failure::away(format!("the store did not answer within {:?}", options.timeout))),
    };
    let store: Arc<dyn Store> = store.into();
    Ok(Operator::new(store).timeout(options.timeout))
}

/// The store that is named, at the place that is said.
pub(crate) fn named(options: &Options) -> StoreFromEnv {
    let store = env::store().dotenv();
    let store = options.store.iter().fold(store, StoreFromEnv::url);
    let store = options.namespace.iter().fold(store, StoreFromEnv::namespace);
    let store = options.schema.iter().fold(store, StoreFromEnv::schema);
    options.table.iter().fold(store, StoreFromEnv::table)
}
